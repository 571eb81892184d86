"""Sending mail to one person."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One mail. `id` becomes its `Message-ID`, so that a mail sent twice is seen to be one.

    `text` and `html` say the same.
    """

    id: str
    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)


class Mailer(Protocol):
    async def send(self, message: Message) -> None:
        """Hand the mail over. Raises `ProviderUnavailable` (try later), `ProviderRejected` (this address or
        mail is refused for good) or `OutcomeUnknown` (the answer was lost).
        """
        ...
