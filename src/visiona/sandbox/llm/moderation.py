"""A word list where the providers have a classifier: enough to make the refusing paths real."""

import re
from typing import Any, Final

_WORDS: Final[dict[str, str]] = {
    "harassment": r"bully|humiliat\w+",
    "harassment/threatening": r"threaten(?:ing)? to (?:kill|hurt)",
    "hate": r"nazi salute|swastika|racial slur|lynch\w*",
    "hate/threatening": r"ethnic cleansing|genocide of",
    "illicit": r"forged passport|counterfeit money|meth lab",
    "illicit/violent": r"pipe bomb|suicide vest",
    "self-harm": r"self-?harm|cutting (?:my|her|him)self",
    "self-harm/instructions": r"how to (?:kill|hang) (?:my|one)self",
    "self-harm/intent": r"(?:want|going) to kill myself",
    "sexual": r"nude|naked|porn\w*|topless|explicit sex|nsfw|erotic",
    "sexual/minors": r"(?:nude|naked|topless) (?:child|kid|girl|boy|teen)\w*",
    "violence": r"beheading|torture[sd]?|massacre|execution",
    "violence/graphic": r"gore|dismember\w*|disembowel\w*|mutilat\w+",
}
_IMAGE_TOO: Final = {
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "violence",
    "violence/graphic",
}
_PATTERNS: Final = {
    category: re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) for category, words in _WORDS.items()
}


def flagged_categories(text: str) -> frozenset[str]:
    """The categories whose words occur in `text`."""
    return frozenset(category for category, pattern in _PATTERNS.items() if pattern.search(text))


def moderation_result(text: str, *, with_image: bool = False) -> dict[str, Any]:
    """One entry of `results`, with every category of the moderation endpoint."""
    flagged = flagged_categories(text)
    return {
        "flagged": bool(flagged),
        "categories": {category: category in flagged for category in _WORDS},
        "category_scores": {category: 0.98 if category in flagged else 0.0001 for category in _WORDS},
        "category_applied_input_types": {
            category: ["text", "image"] if with_image and category in _IMAGE_TOO else ["text"]
            for category in _WORDS
        },
    }
