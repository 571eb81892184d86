"""Reading a mail as it came over the wire."""

import email
import email.policy
import re
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Final, Literal

import msgspec

_LINK: Final = re.compile(r"https?://[^\s<>\"']+")
_PREVIEW: Final = 140


class Kept(msgspec.Struct, frozen=True):
    """A mail as it is kept: the envelope, and the bytes that came. `number` grows with every mail."""

    number: int
    received_at: datetime
    sender: str
    recipients: list[str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as it is read. `html` is as it came, not to be shown before it is cleaned."""

    kept: Kept
    subject: str
    written_by: str
    message_id: str
    text: str
    html: str

    @property
    def preview(self) -> str:
        """How the text begins, on one line."""
        line = " ".join(self.text.split())
        return line if len(line) <= _PREVIEW else f"{line[:_PREVIEW].rstrip()}…"

    @property
    def links(self) -> list[str]:
        """Where the text leads, each once."""
        return list(dict.fromkeys(part for part, is_link in split_links(self.text) if is_link))

    @property
    def source(self) -> str:
        return self.kept.content.decode("utf-8", "replace").replace("\r\n", "\n")


def read_letter(kept: Kept) -> Letter:
    """Whatever was sent can be read; what is broken in it is left out."""
    # This policy reads into this class, which the signature does not say.
    mail = email.message_from_bytes(kept.content, _class=EmailMessage, policy=email.policy.default)
    return Letter(
        kept=kept,
        subject=_header(mail, "Subject") or "(no subject)",
        written_by=_header(mail, "From") or kept.sender,
        message_id=_header(mail, "Message-ID"),
        text=_body(mail, "plain"),
        html=_body(mail, "html"),
    )


def split_links(text: str) -> list[tuple[str, bool]]:
    """The text in pieces, and of each whether it is a link. Punctuation after an address is not its own."""
    pieces: list[tuple[str, bool]] = []
    end = 0
    for found in _LINK.finditer(text):
        link = found[0].rstrip(".,;:!?)]}")
        pieces += [(text[end : found.start()], False), (link, True)]
        end = found.start() + len(link)
    return [piece for piece in [*pieces, (text[end:], False)] if piece[0]]


def _header(mail: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(mail.get(name, "")).split())
    except (ValueError, IndexError, AttributeError):  # what the library raises over broken headers
        return ""


def _body(mail: EmailMessage, kind: Literal["plain", "html"]) -> str:
    part = mail.get_body((kind,))
    if part is None:
        return ""
    try:
        content = part.get_content()
    except (LookupError, ValueError):  # a character set that nobody knows
        return ""
    return str(content).replace("\r\n", "\n")
