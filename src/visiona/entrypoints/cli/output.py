"""What the person sees. Results go to standard output; progress, notes and errors to standard error."""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime

import typer
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from visiona.entrypoints.cli.errors import CommandFailed

results = Console(highlight=False)
notes = Console(stderr=True, highlight=False)

STATUS_STYLES = {
    "Ready": "green",
    "succeeded": "green",
    "Failed": "red",
    "failed": "red",
    "canceled": "yellow",
    "Processing": "cyan",
    "running": "cyan",
    "queued": "cyan",
}
# Control characters, and the surrogates that stand for bytes that are not text.
UNPRINTABLE = frozenset({"Cc", "Cs"})
RIGHT_ALIGNED = frozenset({"ID", "Size", "Photos", "Photo", "Clone", "Seed"})


def clean(text: str) -> str:
    """Without control characters: what a server or a file name says must not drive the terminal."""
    return "".join(" " if unicodedata.category(character) in UNPRINTABLE else character for character in text)


def say(message: str, style: str = "") -> None:
    """A result, on one line however narrow the terminal or wherever it is piped."""
    results.print(Text(clean(message), style), soft_wrap=True)


def note(message: str, style: str = "dim") -> None:
    notes.print(Text(clean(message), style), soft_wrap=True)


def quote(text: str) -> None:
    """Someone's words, set off from what is said about them; on one line where no person reads."""
    words = Text(clean(text), "italic")
    notes.print(Padding(words, (0, 2)) if notes.is_terminal else words, soft_wrap=not notes.is_terminal)


def fail(failure: CommandFailed) -> None:
    mark = Text("✗ ", "bold red")
    notes.print(mark + Text(clean(failure.message)), soft_wrap=True)
    for line in failure.notes:
        notes.print(Text(f"  {clean(line)}", "dim"), soft_wrap=True)


def print_json(body: bytes) -> None:
    """The answer as it came; coloured and indented for a person's eyes only."""
    text = body.decode()
    if results.is_terminal:
        results.print_json(text)
    else:
        typer.echo(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[RenderableType]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        right = column in RIGHT_ALIGNED
        table.add_column(column, justify="right" if right else "left", no_wrap=right)
    for row in rows:
        table.add_row(*row)
    results.print(table)


def print_facts(facts: Mapping[str, RenderableType]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in facts.items():
        table.add_row(cell(name, "dim"), value)
    results.print(table)


def print_more(command: str, next_cursor: str | None) -> None:
    """How to see the rest of a list that was cut."""
    if next_cursor:
        note(f"There are more: {command} --cursor {next_cursor}")


def cell(value: object, style: str = "") -> Text:
    return Text(clean("—" if value is None else str(value)), style)


def status_cell(status: str, progress: float | None = None) -> Text:
    running = STATUS_STYLES.get(status) == "cyan" and progress is not None
    said = f"{status} {percent(progress)}" if running else status
    return Text(clean(said), STATUS_STYLES.get(status, ""))


def size_cell(width: int | None, height: int | None) -> Text:
    return cell(f"{width} x {height}" if width and height else None)


def time_cell(instant: datetime | None) -> Text:
    """In the person's own time zone."""
    return cell(instant and instant.astimezone().strftime("%Y-%m-%d %H:%M"))


def excerpt_cell(text: str, length: int = 60) -> Text:
    return cell(text if len(text) <= length else text[: length - 1].rstrip() + "…")


def percent(fraction: float | None) -> str:
    return f"{(fraction or 0) * 100:.0f} %"


def in_words(codes: Sequence[str]) -> str:
    """`low_resolution, no_face` as a person would write it."""
    return ", ".join(code.replace("_", " ") for code in codes)
