"""Sending mail over SMTP.

One connection for each mail: mails are few, and a connection that was kept may be dead. What the server
says is never repeated, since it likes to quote addresses: errors and logs carry its codes only.
"""

import asyncio
import contextlib
import ipaddress
import logging
import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import SMTPUTF8 as SMTPUTF8_POLICY
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib
from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from visiona.core.guard import forbid_open_transaction
from visiona.ports.errors import OutcomeUnknown, ProviderError, ProviderRejected, ProviderUnavailable
from visiona.ports.mailer import Message

NAME: Final = "smtp"
QUIT_S: Final = 2.0
"""How long the server may take to say goodbye; the mail is its own by then."""

_LOCAL_PART: Final = re.compile(r"[^\s\x00-\x20\x7f<>()\[\],;:\\\"@]{1,64}")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpConfig:
    """With `implicit_tls` the connection begins encrypted; with `start_tls` it must become so before
    anything is said. One of them is always on, except towards this machine. `deadline_s` bounds the
    sending of one mail, however slowly the server answers.
    """

    host: str
    port: int
    sender: Address
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    implicit_tls: bool = False
    start_tls: bool = True
    deadline_s: float = 30.0

    @classmethod
    def parse(cls, url: str, sender: str) -> "SmtpConfig":
        """Of `smtp://user:password@host:587` or `smtps://…:465`, and `Visiona <hello@example.com>`.

        User name and password are percent-encoded. Raises `ValueError`, which does not repeat them.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("the SMTP URL cannot be read") from None
        if parts.scheme not in {"smtp", "smtps"} or not host or port == 0:
            raise ValueError("the SMTP URL is smtp://[user:password@]host[:port], or smtps:// for TLS")
        if parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise ValueError("the SMTP URL has nothing after the port; is a password not percent-encoded?")
        if (parts.username is None) != (parts.password is None):
            raise ValueError("the SMTP URL has a user name and a password, or neither")
        implicit = parts.scheme == "smtps"
        return cls(
            host=host,
            port=port or (465 if implicit else 587),
            sender=_read_sender(sender),
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            implicit_tls=implicit,
            start_tls=not implicit and not _is_loopback(host),
        )


class SmtpMailer:
    """Implements `visiona.ports.mailer.Mailer`."""

    def __init__(self, config: SmtpConfig) -> None:
        self._config = config

    async def send(self, message: Message) -> None:
        forbid_open_transaction("SMTP")
        to = _recipient(message.to)
        content = _written(message, to, self._config.sender)
        client = self._client()
        until = asyncio.get_running_loop().time() + self._config.deadline_s
        try:
            await self._announce(client, to, until)
            await self._hand_over(client, content, until)
            await _take_leave(client)
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        config = self._config
        return aiosmtplib.SMTP(
            hostname=config.host,
            port=config.port,
            username=config.username,
            password=config.password,
            local_hostname=config.sender.domain,
            timeout=config.deadline_s,
            use_tls=config.implicit_tls,
            start_tls=config.start_tls,
            validate_certs=True,
        )

    async def _announce(self, client: aiosmtplib.SMTP, to: Address, until: float) -> None:
        """Everything before the mail itself: whatever fails here has sent nothing."""
        international = not to.username.isascii()
        options = ["SMTPUTF8", "BODY=8BITMIME"] if international else []
        encoding = "utf-8" if international else "ascii"
        try:
            async with asyncio.timeout_at(until):
                await client.connect()
                if international and not await _supports_utf8(client):
                    raise _refused("the server cannot write to an address that is not ASCII", 553)
                await client.mail(self._config.sender.addr_spec, options=options, encoding=encoding)
                await client.rcpt(f"{to.username}@{to.domain}", encoding=encoding)
        # Without a cause: a trace of it would hold what the server said, and with it the address.
        except SMTPRecipientRefused as error:
            raise _recipient_trouble(error) from None
        except SMTPResponseException as error:
            raise _settings_or_later(error) from None
        except (SMTPNotSupported, TimeoutError, OSError, SMTPException) as error:
            raise _connection_trouble(error) from None

    async def _hand_over(self, client: aiosmtplib.SMTP, content: bytes, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await client.data(content)
        except SMTPResponseException as error:
            raise _content_trouble(error) from None
        except (TimeoutError, OSError, SMTPException) as error:
            raise OutcomeUnknown(NAME, f"no answer to the mail ({type(error).__name__})") from None


# Writing


def _written(message: Message, to: Address, sender: Address) -> bytes:
    """The mail as it travels: 7 bits, unless the address itself needs more. Header values with a line
    break are refused by the library.
    """
    if not _ID.fullmatch(message.id):
        raise ValueError("the id of a mail is letters, digits and hyphens")
    policy = SMTP_POLICY if to.username.isascii() else SMTPUTF8_POLICY
    mail = EmailMessage(policy=policy)
    mail["From"] = sender
    mail["To"] = to
    mail["Subject"] = message.subject
    mail["Date"] = datetime.now(UTC)
    mail["Message-ID"] = f"<{message.id}@{sender.domain}>"
    # So that nobody's absence notice answers a machine.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text, cte="quoted-printable")
    mail.add_alternative(message.html, subtype="html", cte="quoted-printable")
    return mail.as_bytes()


def _recipient(text: str) -> Address:
    """Raises `ProviderRejected` for what cannot stand in an envelope."""
    username, _, domain = text.rpartition("@")
    if not _LOCAL_PART.fullmatch(username) or not _DOMAIN.fullmatch(domain):
        raise _refused("the address cannot be written to", 553)
    return Address(username=username, domain=domain)


def _read_sender(text: str) -> Address:
    """Of `Name <name@example.com>` or the bare address. Raises `ValueError`."""
    complaint = "the sender is one address with an ASCII domain, like Visiona <hello@example.com>"
    try:
        header = SMTP_POLICY.header_factory("From", text)
    except ValueError:
        raise ValueError(complaint) from None
    addresses: tuple[Address, ...] = getattr(header, "addresses", ())
    if header.defects or len(addresses) != 1:
        raise ValueError(complaint)
    address = addresses[0]
    usable = _LOCAL_PART.fullmatch(address.username) and _DOMAIN.fullmatch(address.domain)
    if not usable or not address.username.isascii():
        raise ValueError(complaint)
    return address


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# Answers


async def _supports_utf8(client: aiosmtplib.SMTP) -> bool:
    if client.is_ehlo_or_helo_needed:
        await client.ehlo()
    return client.supports_extension("smtputf8")


async def _take_leave(client: aiosmtplib.SMTP) -> None:
    with contextlib.suppress(SMTPException, OSError):
        await client.quit(timeout=QUIT_S)


def _codes(error: SMTPResponseException) -> str:
    """`550 5.1.1`: what of an answer can be logged."""
    found = _ENHANCED.match(error.message)
    return f"{error.code} {found[0]}" if found else str(error.code)


def _is_permanent(error: SMTPResponseException) -> bool:
    return 500 <= error.code < 600


def _blames_us(error: SMTPResponseException) -> bool:
    """Whether it was refused for who sends it: not logged in, may not relay, a policy. A server to which
    mail is submitted says so of its customers, not of the address.
    """
    return _is_permanent(error) and (error.code in {530, 535} or error.message.startswith("5.7."))


def _recipient_trouble(error: SMTPRecipientRefused) -> ProviderError:
    if _blames_us(error):
        return _settings(f"the server does not let us send ({_codes(error)})")
    if _is_permanent(error):
        return _refused(f"the recipient was refused ({_codes(error)})", error.code)
    return _later(_codes(error))


def _content_trouble(error: SMTPResponseException) -> ProviderError:
    if _blames_us(error):
        return _settings(f"the server does not let us send ({_codes(error)})")
    if _is_permanent(error):
        return _refused(f"the mail was refused ({_codes(error)})", error.code)
    if 400 <= error.code < 500:
        return _later(_codes(error))
    return OutcomeUnknown(NAME, "an answer to the mail that cannot be understood")


def _settings_or_later(error: SMTPResponseException) -> ProviderError:
    """Of an answer to anything but the recipient and the mail."""
    if not _is_permanent(error):
        return _later(_codes(error))
    what = "this machine"
    if isinstance(error, SMTPAuthenticationError | SMTPSenderRefused):
        what = "the sender" if isinstance(error, SMTPSenderRefused) else "user name or password"
    return _settings(f"the server does not take {what} ({_codes(error)})")


def _connection_trouble(error: Exception) -> ProviderError:
    """Of what is no answer at all: the network, TLS, or an extension that is missing."""
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _settings(f"the server's certificate does not hold ({cause.verify_message or cause.reason})")
    if isinstance(cause, ssl.SSLError):
        return _settings(f"no encrypted connection ({cause.reason})")
    if type(error) in {SMTPException, SMTPNotSupported}:
        return _settings("the server offers no STARTTLS, or no way to log in that we know")
    return ProviderUnavailable(NAME, f"no connection to the mail server ({type(error).__name__})")


def _later(codes: str) -> ProviderUnavailable:
    return ProviderUnavailable(NAME, f"the mail server asks to come back later ({codes})")


def _settings(reason: str) -> ProviderUnavailable:
    """Every mail would fail alike, and none is lost: they wait until somebody has mended it."""
    logger.error("no mail can be sent: %s. Check VISIONA_SMTP_URL and VISIONA_MAIL_FROM.", reason)
    return ProviderUnavailable(NAME, reason)


def _refused(reason: str, status: int) -> ProviderRejected:
    return ProviderRejected(
        NAME, reason, status=status, message="This e-mail address does not accept our mail."
    )
