"""What the sandbox is told when it is made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

HOST: Final = "127.0.0.1"
USERNAME: Final = "visiona"


@dataclass(frozen=True, slots=True)
class MailSandboxConfig:
    """`public_url` is where the inbox is read, without a slash at the end; mail is taken on `smtp_port`,
    where 0 means any that is free.

    Mails lie in the folder `mail` under `data_dir`. `key` is the password of whoever sends, and opens the
    controls; the pages need none.
    """

    data_dir: Path
    public_url: str
    smtp_port: int
    key: str = field(repr=False)
    environment: str = "development"

    def __post_init__(self) -> None:
        if self.public_url.endswith("/"):
            raise ValueError("public_url does not end in a slash")
        if not self.key:
            raise ValueError("the sandbox needs a key")

    @property
    def smtp_url(self) -> str:
        """Where to send mail to, password included."""
        return f"smtp://{USERNAME}:{quote(self.key, safe='')}@{HOST}:{self.smtp_port}"
