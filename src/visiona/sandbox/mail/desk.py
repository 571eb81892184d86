"""What the sandbox consists of, as its handlers are given it."""

from dataclasses import dataclass

from litestar.di import NamedDependency

from visiona.sandbox.mail.config import MailSandboxConfig
from visiona.sandbox.mail.faults import FaultBook
from visiona.sandbox.mail.mailbox import Mailbox
from visiona.sandbox.mail.reception import Reception


@dataclass(frozen=True, slots=True)
class Desk:
    config: MailSandboxConfig
    mailbox: Mailbox
    faults: FaultBook
    reception: Reception

    @classmethod
    def furnished(cls, config: MailSandboxConfig) -> "Desk":
        mailbox, faults = Mailbox(config.data_dir / "mail"), FaultBook()
        return cls(config, mailbox, faults, Reception(config, mailbox, faults))


TheDesk = NamedDependency[Desk]
"""How a route handler asks for it."""
