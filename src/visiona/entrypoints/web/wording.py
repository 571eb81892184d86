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


def photo_warning(code: str) -> PhotoWarning:
    return PHOTO_WARNINGS.get(code, OTHER_PHOTO_WARNING)
