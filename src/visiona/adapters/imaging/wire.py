"""What the processor and its nursery say to each other: JSON lines over two pipes.

    > {…}                                                                 once, first: what it works with
    > {"job": 1, "kind": "photo", "source": "/…", "stem": "/…/3f2a"}      fork a child for this
    > {"kill": 1}                                                         end it now
    < {"ready": true}                                                     once, after the imports
    < {"job": 1, "result": {…}}  or  {"job": 1, "refused": code, "cause": …}  or  {"job": 1, "failed": …}

Every job is answered exactly once, and only after its child is gone.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

Kind = Literal["photo", "generated", "check"]

# Outputs are `stem` plus one of these.
CONTENT_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
THUMBNAIL_ENDING = "-thumbnail.webp"
# While they are being signed, with this behind it.
DRAFT_ENDING = ".signed"

# Replies are a few hundred bytes; a child that says more is not itself any more.
MAX_REPLY = 16_384


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use."""

    memory_mb: int
    cpu_seconds: int
    wall_seconds: float
    max_pixels: int

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        return cls(**json.loads(text))


def line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
