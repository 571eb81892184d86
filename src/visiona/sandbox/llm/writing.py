"""What the pretended model writes: the task found in a request, rewritten, or spoiled by a fault."""

import json
import re
from dataclasses import dataclass
from typing import Final, Literal

from visiona.sandbox.llm.checks import JsonObject
from visiona.sandbox.llm.faults import Fault, FaultKind
from visiona.sandbox.llm.moderation import flagged_categories
from visiona.sandbox.llm.rewriter import rewrite
from visiona.sandbox.llm.schema import conforming

Stop = Literal["done", "length", "refusal", "content_filter"]

REFUSAL_TEXT: Final = "I can't help with that picture. (Visiona sandbox)"
THOUGHT: Final = "Looking at what the idea leaves open: light, lens, surroundings. (Visiona sandbox)"
_LONG_TEXT_BYTES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Question:
    """What matters of a request, whichever dialect it came in."""

    system: str
    user: str
    schema: JsonObject | None
    max_tokens: int | None
    thinks: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says, before a dialect wraps it. Tokens are counted as four characters each."""

    text: str
    stop: Stop
    thought: str | None
    input_tokens: int
    output_tokens: int

    @property
    def thought_tokens(self) -> int:
        return count_tokens(self.thought or "")


def count_tokens(text: str) -> int:
    return -(-len(text) // 4)


def answer(question: Question, fault: Fault | None) -> Answer:
    """The model's answer to a question, under a fault where there is one."""
    kind = fault.kind if fault else None
    text, stop = (fault.text, "done") if fault and kind == "says" else _outcome(question, kind)
    thought = THOUGHT if question.thinks or kind == "reasoning_first" else None
    return Answer(
        text=text,
        stop=stop,
        thought=thought,
        input_tokens=count_tokens(question.system) + count_tokens(question.user),
        output_tokens=count_tokens(text) + count_tokens(thought or ""),
    )


def _outcome(question: Question, kind: FaultKind | None) -> tuple[str, Stop]:
    if kind == "content_filter":
        return "", "content_filter"
    if kind == "refusal" or flagged_categories(question.user):
        return REFUSAL_TEXT, "refusal"
    if kind == "empty":
        return "", "done"
    text = _worded(question, kind)
    if kind == "incomplete":
        return text[: len(text) // 2], "length"
    too_long = question.max_tokens is not None and count_tokens(text) > question.max_tokens
    if too_long and kind not in {"long_text", "leak_instructions"}:
        return text[: 4 * (question.max_tokens or 0)], "length"
    return text, "done"


def _worded(question: Question, kind: FaultKind | None) -> str:
    trigger_word, idea = find_task(question.user)
    prompt = _spoiled(rewrite(idea, trigger_word), trigger_word, question, kind)
    if question.schema is None:
        return prompt
    text = json.dumps(conforming(question.schema, prompt))
    return f"Sure, here it is: {text[:-2]}" if kind == "invalid_json" else text


def find_task(user: str) -> tuple[str, str]:
    """The trigger word and the idea: from a JSON object, or guessed from plain words."""
    try:
        task: object = json.loads(user)
    except (ValueError, RecursionError):
        task = None
    match task:
        case {"prompt": str(idea), "trigger_word": str(trigger_word)} if trigger_word.strip():
            return trigger_word, idea
        case {"prompt": str(idea)}:
            return _guessed_trigger(idea), idea
        case _:
            return _guessed_trigger(user), user


def _guessed_trigger(text: str) -> str:
    capitals = re.search(r"(?<!\w)[A-Z][A-Z0-9_]{2,}(?!\w)", text)
    return capitals[0] if capitals else "a person"


def _spoiled(prompt: str, trigger_word: str, question: Question, kind: FaultKind | None) -> str:
    """`prompt` as it comes back from a model that was talked into something."""
    match kind:
        case "drop_trigger":
            return f"{prompt.replace(trigger_word, 'a stranger')} The trigger word is not needed any more."
        case "markdown":
            return f"Sure! Here is your prompt:\n\n```text\n**{prompt}**\n```\n\nLet me know what you think!"
        case "long_text":
            return (f"{prompt} " * (_LONG_TEXT_BYTES // len(prompt) + 1))[:_LONG_TEXT_BYTES]
        case "control_characters":
            return f"\ufeff\x1b[31m{prompt[:10]}\x00\u202e{prompt[10:20]}\u200b\x07{prompt[20:]}\u2066\ud800"
        case "leak_instructions":
            return f"{prompt} {question.system}"
        case _:
            return prompt
