"""The words that the rules for prompts know: files of regular expressions over text in small letters."""

from functools import cache
from importlib import resources


@cache
def entries(name: str) -> tuple[str, ...]:
    """The lines of `rules/<name>.txt` that are no comments."""
    text = (resources.files("visiona.safety") / "rules" / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
