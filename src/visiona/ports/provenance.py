"""What an image tells about where it comes from."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Credentials(StrEnum):
    """The state of an image's signed Content Credentials (C2PA)."""

    NONE = "none"
    VALID = "valid"
    """Signed, and not one byte was changed since."""
    CHANGED = "changed"
    """Signed, and changed afterwards."""
    UNVERIFIABLE = "unverifiable"
    """There, but damaged, incomplete, or by a certificate that was not valid any more."""


class Signer(StrEnum):
    """Whose certificate signed valid credentials."""

    OURS = "ours"
    TRUSTED = "trusted"
    """Somebody else's, vouched for by an authority that this Visiona is set to trust."""
    UNKNOWN = "unknown"
    """Anybody can make such a certificate, under any name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in one image. `signer_name` and `generator` are the image's own claims, empty
    where it makes none.

    `signed_as_ai` is said by valid credentials, `labelled_as_ai` by metadata that anybody can write or
    remove; `watermarked` is for the pixels themselves.
    """

    credentials: Credentials
    signer: Signer | None
    signer_name: str
    generator: str
    signed_as_ai: bool
    labelled_as_ai: bool
    watermarked: bool

    @property
    def made_with_ai(self) -> bool:
        """Whether anything says so. If nothing does, that proves nothing."""
        return self.signed_as_ai or self.labelled_as_ai or self.watermarked


class ProvenanceChecker(Protocol):
    async def check_provenance(self, source: Path) -> Finding:
        """Read a stranger's JPEG, PNG, WebP or HEIC in a child process; nothing is kept, and nothing is
        fetched that the file points to. Raises `ImageRefused`.
        """
        ...
