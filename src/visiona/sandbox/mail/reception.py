"""The SMTP server: takes mail from whoever knows the key, on this machine only."""

import asyncio
import hmac
import logging
from typing import Any, Final, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from visiona.sandbox.mail.config import HOST, USERNAME, MailSandboxConfig
from visiona.sandbox.mail.faults import FaultBook
from visiona.sandbox.mail.mailbox import Mailbox

MAX_MAIL_BYTES: Final = 256 * 1024
_TAKEN: Final = "250 2.0.0 OK: kept in the sandbox, delivered to nobody"


class Reception:
    """Listens between `start` and `stop`."""

    def __init__(self, config: MailSandboxConfig, mailbox: Mailbox, faults: FaultBook) -> None:
        self._config = config
        self._handler = _Handler(mailbox, faults)
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens; 0 before it does."""
        return 0 if self._server is None else self._server.sockets[0].getsockname()[1]

    async def start(self) -> None:
        """Raises `OSError` where the port is taken."""
        # The library logs every command, addresses included, and warns of what it does itself.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, HOST, self._config.smtp_port)

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.hang_up()
        await self._server.wait_closed()
        self._server = None

    def _connection(self) -> "_Connection":
        return _Connection(self._connections, self._handler, self._knows)

    def _knows(self, _: SMTP, __: Session, ___: Envelope, ____: str, login: LoginPassword) -> AuthResult:
        key_fits = hmac.compare_digest(login.password, self._config.key.encode())
        name_fits = hmac.compare_digest(login.login, USERNAME.encode())
        return AuthResult(success=key_fits and name_fits, handled=False)


class _Connection(SMTP):
    """One client; known to `among` as long as it is there, so that the sandbox can stop."""

    def __init__(self, among: "set[_Connection]", handler: "_Handler", knows: Any) -> None:
        super().__init__(
            handler,
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
            hostname="mail.sandbox.localhost",
            ident="Visiona mail sandbox",
            timeout=120,
            auth_require_tls=False,
            authenticator=knows,
            loop=asyncio.get_running_loop(),
        )
        self._among = among

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._among.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._among.discard(self)
        super().connection_lost(error)

    def hang_up(self) -> None:
        """End the connection without a word."""
        if self.transport is not None:
            # Of whichever event loop it is; only some of their classes derive from asyncio's.
            cast("asyncio.WriteTransport", self.transport).abort()


class _Handler:
    """What the sandbox says to each command. The names are the library's."""

    def __init__(self, mailbox: Mailbox, faults: FaultBook) -> None:
        self._mailbox = mailbox
        self._faults = faults

    async def handle_MAIL(  # noqa: N802 - the library looks for this name
        self, _: _Connection, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not session.authenticated:
            return "530 5.7.0 Authentication required: the user is visiona, the password the sandbox's key"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 - the library looks for this name
        self, _: _Connection, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        fault = self._faults.strike("recipient", [address])
        if fault is not None:
            if fault.fault == "refuse_recipient":
                return f"550 5.1.1 <{address}>: there is no such address (a fault that was asked for)"
            return "451 4.3.0 Come back later (a fault that was asked for)"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - the library looks for this name
        self, connection: _Connection, _: Session, envelope: Envelope
    ) -> str:
        recipients = [str(address) for address in envelope.rcpt_tos]
        fault = self._faults.strike("data", recipients)
        if fault is not None and fault.fault == "temporary_failure":
            return "451 4.3.0 Come back later (a fault that was asked for)"
        if fault is None or fault.kept:
            self._mailbox.add(str(envelope.mail_from), recipients, envelope.original_content or b"")
        if fault is not None:
            if fault.fault == "slow":
                await asyncio.sleep(fault.wait_s(5))
                return _TAKEN
            if fault.fault == "hang":
                await asyncio.sleep(fault.wait_s(600))
            connection.hang_up()
            # The end of the connection ends this task too: nothing must be answered before.
            await asyncio.Event().wait()
        return _TAKEN
