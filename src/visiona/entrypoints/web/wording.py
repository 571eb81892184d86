"""What stable codes are called in front of people. Templates and browser modules read the same words."""

from typing import Final, TypedDict


class PhotoWarning(TypedDict):
    """`label` fits on a thumbnail; `advice` says what would be better."""

    label: str
    advice: str


PHOTO_WARNINGS: Final[dict[str, PhotoWarning]] = {
    "low_resolution": {
        "label": "Small picture",
        "advice": "This picture is small: a larger one shows more detail.",
    },
    "no_face": {
        "label": "No face found",
        "advice": "No face was found: use a photo that shows yours clearly.",
    },
    "several_faces": {
        "label": "Several faces",
        "advice": "There is more than one face: use a photo with only you in it.",
    },
    "blurry": {"label": "Looks blurry", "advice": "This looks blurry: a sharp photo works better."},
    "too_dark": {"label": "Quite dark", "advice": "This is quite dark: brighter, softer light works better."},
}
OTHER_PHOTO_WARNING: Final[PhotoWarning] = {
    "label": "May help less",
    "advice": "This photo may help less than others.",
}

ENHANCEMENTS: Final[dict[str, str]] = {
    "refused": "The writer declined to rework this prompt, so your words were used as you wrote them.",
    "unavailable": "The writer did not answer in time, so your words were used as you wrote them.",
    "off": "Prompt enhancement is not set up on this server, so your words were used as you wrote them.",
}
"""Why a prompt was not enhanced although that was asked for, by outcome."""


PROVIDERS: Final[dict[str, str]] = {"openai": "OpenAI", "anthropic": "Anthropic"}
"""What the writers call themselves."""

SANDBOX_PROVIDERS: Final[dict[str, str]] = dict.fromkeys(PROVIDERS, "the sandbox")
"""Who wrote where a simulation stands in for them: not they."""


class InvoiceWord(TypedDict):
    """`tone` is a badge's."""

    label: str
    tone: str


INVOICES: Final[dict[str, InvoiceWord]] = {
    "open": {"label": "Open", "tone": "busy"},
    "paid": {"label": "Paid", "tone": "good"},
    "partially_refunded": {"label": "Partly refunded", "tone": "plain"},
    "refunded": {"label": "Refunded", "tone": "plain"},
    "disputed": {"label": "Disputed", "tone": "bad"},
    "uncollectible": {"label": "Given up", "tone": "bad"},
    "void": {"label": "Void", "tone": "plain"},
}
"""States of invoices, as the API names them."""


def photo_warning(code: str) -> PhotoWarning:
    return PHOTO_WARNINGS.get(code, OTHER_PHOTO_WARNING)


def number(count: int) -> str:
    """`1,000`."""
    return f"{count:,}"


def counted(count: int, plural: str) -> str:
    """`1 image`, `1,000 images`; `plural` is the word for many, with an s."""
    return f"{number(count)} {plural.removesuffix('s') if count == 1 else plural}"


def sandbox_note(
    *,
    images: bool,
    prompts: bool,
    payments: bool,
    sells: bool,
    identity: bool | None = None,
    mail: bool | None = None,
) -> str | None:
    """What is simulated on this machine, and what is real; None where nothing is simulated. `identity` and
    `mail` are None where this server has none: they are not spoken of then.
    """
    kinds = {
        "trainings": images,
        "images": images,
        "enhanced prompts": prompts,
        "payments": payments if sells else None,
        "sign-in": identity,
        "mails": mail,
    }
    simulated = [kind for kind, is_simulated in kinds.items() if is_simulated]
    real = [kind for kind, is_simulated in kinds.items() if is_simulated is False]
    if not simulated:
        return None
    note = f"{_enumerated(simulated)} are simulated on this machine"
    if real:
        money = ": no money moves" if payments else ""
        are = "is" if real == ["sign-in"] else "are"
        return f"{note}{money}. {_enumerated(real).capitalize()} {are} real."
    return f"{note}: no money moves, and nothing leaves it." if payments else f"{note}; nothing leaves it."


def _enumerated(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def size(count: int) -> str:
    """`1.4 MB`, of bytes."""
    value, unit = float(count), "bytes"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
