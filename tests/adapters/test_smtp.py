"""The SMTP adapter against servers on loopback: one that follows a script, and aiosmtpd with TLS."""

import asyncio
import datetime as dt
import email
import email.policy
import ipaddress
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from visiona.adapters.smtp import SmtpConfig, SmtpMailer
from visiona.core.guard import TransactionOpenError, transaction_marker
from visiona.ports.errors import OutcomeUnknown, ProviderError, ProviderRejected, ProviderUnavailable
from visiona.ports.mailer import Message

SENDER = "Visiona <hello@visiona.example>"
PASSWORD = "orchid-password"
SECRET_WORDS = ("alice", "orchid-subject", "orchid-text", "orchid-html", PASSWORD)
MESSAGE = Message(
    id="0f8fad5b-d9cb-469f-a165-70867728950e",
    to="alice@example.com",
    subject="orchid-subject",
    text="orchid-text\n",
    html="<p>orchid-html</p>",
)

Answer = str | None
"""None ends the connection; `...` as an answer says nothing, for ever."""


class ScriptedSmtp:
    """Answers each command as `answers` says by its first word, or as a server that takes everything."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.commands: list[str] = []
        self.mails: list[bytes] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._usual: Mapping[str, Answer] = {
            "CONNECT": "220 ready",
            "EHLO": "250-visiona.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN",
            "AUTH": "235 2.7.0 hello",
            "DATA": "354 go on",
            "MAIL-DATA": "250 2.0.0 queued",
            "QUIT": "221 bye",
        }

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if await self._say(writer, "CONNECT"):
                while line := await reader.readline():
                    await self._hear(line.decode().rstrip("\r\n"), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _hear(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.commands.append(line)
        word = line.partition(" ")[0].upper()
        said = await self._say(writer, word)
        if said is not None and said.startswith("354"):
            mail = b""
            while (part := await reader.readuntil(b"\r\n")) != b".\r\n":
                mail += part.removeprefix(b".")
            self.mails.append(mail)
            await self._say(writer, "MAIL-DATA")

    async def _say(self, writer: asyncio.StreamWriter, word: str) -> Answer:
        answer = self.answers.get(word, self._usual.get(word, "250 2.1.0 ok"))
        if answer is None:
            raise ConnectionResetError
        if answer == "...":
            await asyncio.Event().wait()
        writer.write(f"{answer}\r\n".encode())
        await writer.drain()
        return answer

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncGenerator[ScriptedSmtp]:
    scripted = ScriptedSmtp()
    listener = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.port = listener.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        listener.close()
        await scripted.stop()
        await listener.wait_closed()


def mailer(server: ScriptedSmtp, **changes: Any) -> SmtpMailer:
    config = SmtpConfig.parse(server.url, SENDER)
    values = {name: getattr(config, name) for name in config.__slots__} | changes
    return SmtpMailer(SmtpConfig(**values))


def read(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content.replace(b"\r\n", b"\n"), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


async def failure(mailer: SmtpMailer, message: Message = MESSAGE) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await mailer.send(message)
    return caught.value


# What is sent


async def test_a_mail_arrives_as_text_and_as_html(server: ScriptedSmtp) -> None:
    await mailer(server).send(MESSAGE)
    assert server.commands == [
        "EHLO visiona.example",
        "MAIL FROM:<hello@visiona.example>",
        "RCPT TO:<alice@example.com>",
        "DATA",
        "QUIT",
    ]
    mail = read(server.mails[0])
    assert mail["From"] == SENDER
    assert mail["To"] == "alice@example.com"
    assert mail["Subject"] == "orchid-subject"
    assert mail["Message-ID"] == f"<{MESSAGE.id}@visiona.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    age = dt.datetime.now(dt.UTC) - mail["Date"].datetime
    assert abs(age) < dt.timedelta(minutes=1)
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert text.get_content() == MESSAGE.text
    assert html is not None
    assert html.get_content().strip() == MESSAGE.html


async def test_the_same_mail_has_the_same_id_again(server: ScriptedSmtp) -> None:
    for _ in range(2):
        await mailer(server).send(MESSAGE)
    first, second = (read(content)["Message-ID"] for content in server.mails)
    assert first == second


async def test_subjects_and_texts_are_in_any_language(server: ScriptedSmtp) -> None:
    subject, text = "Grüße aus Zürich " * 12 + "\N{SNOWFLAKE}", "für dich\n.\n..\nein Punkt\n"
    await mailer(server).send(
        Message(id="a1", to="alice@example.com", subject=subject, text=text, html=f"<p>{text}</p>" * 200)
    )
    mail = read(server.mails[0])
    assert server.mails[0].isascii()
    assert max(map(len, server.mails[0].split(b"\r\n"))) < 999
    assert mail["Subject"] == subject
    body = mail.get_body(("plain",))
    assert body is not None
    assert body.get_content() == text


async def test_an_address_need_not_be_ascii(server: ScriptedSmtp) -> None:
    await mailer(server).send(Message(id="a1", to="jürgen@example.com", subject="Hallo", text="x", html="x"))
    assert server.commands[1:3] == [
        "MAIL FROM:<hello@visiona.example> SMTPUTF8 BODY=8BITMIME",
        "RCPT TO:<jürgen@example.com>",
    ]
    assert read(server.mails[0])["To"] == "jürgen@example.com"


async def test_an_address_that_the_server_cannot_write_to_is_refused(server: ScriptedSmtp) -> None:
    server.answers["EHLO"] = "250 visiona.test"
    found = await failure(
        mailer(server), Message(id="a1", to="jürgen@x.com", subject="s", text="x", html="x")
    )
    assert isinstance(found, ProviderRejected)
    assert server.mails == []


@pytest.mark.parametrize(
    "address",
    [
        "alice@example.com\r\nBcc: mallory@example.com",
        "alice@example.com, mallory@example.com",
        "alice@example.com>\r\nRCPT TO:<mallory@example.com",
        "alice @example.com",
        '"a\r\nb"@example.com',
        "<alice@example.com>",
        "alice@exämple.com",
        "alice@",
        "@example.com",
        "alice",
        "",
    ],
)
async def test_an_address_cannot_carry_anything_else(server: ScriptedSmtp, address: str) -> None:
    found = await failure(mailer(server), Message(id="a1", to=address, subject="s", text="x", html="x"))
    assert isinstance(found, ProviderRejected)
    assert server.commands == []


async def test_a_subject_cannot_carry_a_header(server: ScriptedSmtp) -> None:
    subject = "Hello\r\nBcc: mallory@example.com"
    with pytest.raises(ValueError, match="linefeed"):
        await mailer(server).send(Message(id="a1", to="a@example.com", subject=subject, text="x", html="x"))
    with pytest.raises(ValueError, match="id of a mail"):
        await mailer(server).send(Message(id="a>\r\nX: y", to="a@example.com", subject="s", text="", html=""))
    assert server.commands == []


# What can go wrong


@pytest.mark.parametrize("word", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "MAIL-DATA"])
async def test_what_may_work_later(server: ScriptedSmtp, word: str) -> None:
    server.answers[word] = "451 4.3.0 alice@example.com is busy"
    if word == "EHLO":
        server.answers["HELO"] = "451 4.3.0 busy"
    found = await failure(mailer(server))
    assert isinstance(found, ProviderUnavailable)
    assert "451 4.3.0" in found.reason


@pytest.mark.parametrize("word", ["RCPT", "DATA", "MAIL-DATA"])
async def test_what_is_refused_for_good(server: ScriptedSmtp, word: str) -> None:
    server.answers[word] = "550 5.1.1 <alice@example.com>: no such orchid-subject"
    found = await failure(mailer(server))
    assert isinstance(found, ProviderRejected)
    assert found.status == 550
    assert "550 5.1.1" in found.reason
    assert not any(word in f"{found} {found.message}" for word in SECRET_WORDS)


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("CONNECT", "554 5.7.1 you are on a list"),
        ("AUTH", "535 5.7.8 wrong password"),
        ("MAIL", "553 5.7.1 not your address"),
        ("MAIL", "530 authentication required"),
        ("RCPT", "530 authentication required"),
        ("RCPT", "554 5.7.1 <alice@example.com>: Relay access denied"),
        ("MAIL-DATA", "550 5.7.1 the sender is not signed"),
        ("EHLO", "250 no way to log in"),
    ],
)
async def test_wrong_settings_lose_no_mail_and_are_said_aloud(
    server: ScriptedSmtp, caplog: pytest.LogCaptureFixture, word: str, answer: str
) -> None:
    server.answers[word] = answer
    found = await failure(mailer(server, username="visiona", password=PASSWORD))
    assert isinstance(found, ProviderUnavailable)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "VISIONA_SMTP_URL" in errors[0].getMessage()


async def test_starttls_is_not_done_without(server: ScriptedSmtp, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody on the way who hides the extension learns neither password nor mail."""
    found = await failure(mailer(server, start_tls=True, username="visiona", password=PASSWORD))
    assert isinstance(found, ProviderUnavailable)
    assert server.commands == ["EHLO visiona.example"]
    assert "STARTTLS" in caplog.text


@pytest.mark.parametrize("word", ["CONNECT", "EHLO", "MAIL", "RCPT"])
async def test_a_connection_lost_before_the_mail_has_sent_nothing(server: ScriptedSmtp, word: str) -> None:
    server.answers[word] = None
    assert isinstance(await failure(mailer(server)), ProviderUnavailable)
    assert server.mails == []


async def test_nobody_listens() -> None:
    silent = ScriptedSmtp()
    listener = await asyncio.start_server(silent.serve, "127.0.0.1", 0)
    silent.port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    assert isinstance(await failure(mailer(silent)), ProviderUnavailable)


@pytest.mark.parametrize("answer", [None, "...", "what?"])
async def test_an_answer_lost_after_the_mail_leaves_it_open(server: ScriptedSmtp, answer: Answer) -> None:
    server.answers["MAIL-DATA"] = answer
    assert isinstance(await failure(mailer(server, deadline_s=0.5)), OutcomeUnknown)
    assert len(server.mails) == 1


@pytest.mark.parametrize("word", ["CONNECT", "EHLO", "MAIL", "RCPT"])
async def test_the_whole_call_is_bounded(server: ScriptedSmtp, word: str) -> None:
    server.answers[word] = "..."
    async with asyncio.timeout(5):
        assert isinstance(await failure(mailer(server, deadline_s=0.3)), ProviderUnavailable)


@pytest.mark.parametrize("answer", ["421 too late", None])
async def test_a_bad_goodbye_takes_nothing_back(server: ScriptedSmtp, answer: Answer) -> None:
    server.answers["QUIT"] = answer
    await mailer(server).send(MESSAGE)
    assert len(server.mails) == 1


async def test_law_3_holds_for_mail(server: ScriptedSmtp) -> None:
    with transaction_marker(), pytest.raises(TransactionOpenError):
        await mailer(server).send(MESSAGE)
    assert server.commands == []


@pytest.mark.parametrize("word", ["RCPT", "DATA", "MAIL-DATA"])
@pytest.mark.parametrize("answer", ["250 2.0.0 ok", "550 5.1.1 alice: orchid-subject", "451 alice", None])
async def test_nothing_of_a_mail_is_logged(
    server: ScriptedSmtp, caplog: pytest.LogCaptureFixture, word: str, answer: Answer
) -> None:
    caplog.set_level(logging.DEBUG)
    if answer != "250 2.0.0 ok" or word == "RCPT":
        server.answers[word] = answer
    try:
        await mailer(server, username="visiona", password=PASSWORD).send(MESSAGE)
    except ProviderError:
        logging.getLogger("test").exception("the caller logs the trace")
    assert not any(secret in caplog.text for secret in SECRET_WORDS)


# TLS


class Handler:
    """Takes mail; `login` is what was presented."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.encrypted: list[bool] = []

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        self.encrypted.append(session.ssl is not None)
        return "250 OK"


def login(_: Any, __: Any, ___: Any, ____: Any, given: Any) -> AuthResult:
    known = (given.login, given.password) == (b"visiona", "pä ss/word".encode())
    return AuthResult(success=known, handled=False)


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[str], Path]:
    """A self-signed certificate for a name or an address, with its key, as one PEM file."""

    def make(name: str) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        path = tmp_path / f"{name}.pem"
        path.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    return make


@asynccontextmanager
async def tls_server(handler: Handler, pem: Path, *, implicit: bool) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    loop = asyncio.get_running_loop()
    sessions: list[SMTP] = []

    def make() -> SMTP:
        session = SMTP(
            handler,
            loop=loop,
            hostname="mail.test",
            authenticator=login,
            auth_require_tls=not implicit,
            tls_context=None if implicit else context,
            require_starttls=not implicit,
        )
        sessions.append(session)
        return session

    listener = await loop.create_server(make, "127.0.0.1", 0, ssl=context if implicit else None)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for session in sessions:
            if session.transport is not None:
                session.transport.close()
        await asyncio.sleep(0.05)
        await listener.wait_closed()


def tls_config(port: int, *, implicit: bool, password: str = "p%C3%A4%20ss%2Fword") -> SmtpConfig:
    scheme = "smtps" if implicit else "smtp"
    config = SmtpConfig.parse(f"{scheme}://visiona:{password}@127.0.0.1:{port}", SENDER)
    values = {name: getattr(config, name) for name in config.__slots__}
    return SmtpConfig(**values | {"start_tls": not implicit, "deadline_s": 5.0})


@pytest.mark.parametrize("implicit", [True, False])
async def test_mail_travels_encrypted(
    certificate: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, *, implicit: bool
) -> None:
    pem, handler = certificate("127.0.0.1"), Handler()
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with tls_server(handler, pem, implicit=implicit) as port:
        await SmtpMailer(tls_config(port, implicit=implicit)).send(MESSAGE)
        assert [envelope.rcpt_tos for envelope in handler.envelopes] == [["alice@example.com"]]
        assert implicit or handler.encrypted == [True]
        wrong = SmtpMailer(tls_config(port, implicit=implicit, password="wrong"))
        found = await failure(wrong)
        assert isinstance(found, ProviderUnavailable)
        assert "user name or password" in found.reason
    assert len(handler.envelopes) == 1


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("name", ["127.0.0.1", "mail.example.com"])
async def test_a_certificate_must_be_trusted_and_be_the_servers(
    certificate: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    *,
    implicit: bool,
) -> None:
    """The first is nobody's whom we trust, the second is trusted and another server's."""
    pem, handler = certificate(name), Handler()
    if name != "127.0.0.1":
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with tls_server(handler, pem, implicit=implicit) as port:
        found = await failure(SmtpMailer(tls_config(port, implicit=implicit)))
    assert isinstance(found, ProviderUnavailable)
    assert "certificate" in found.reason
    assert "VISIONA_SMTP_URL" in caplog.text
    assert handler.envelopes == []


# Settings


@pytest.mark.parametrize(
    ("url", "host", "port", "implicit", "start"),
    [
        ("smtp://mail.example.com", "mail.example.com", 587, False, True),
        ("smtp://mail.example.com:25/", "mail.example.com", 25, False, True),
        ("smtps://mail.example.com", "mail.example.com", 465, True, False),
        ("smtps://127.0.0.1:1465", "127.0.0.1", 1465, True, False),
        ("smtp://127.0.0.1:1025", "127.0.0.1", 1025, False, False),
        ("smtp://[::1]:1025", "::1", 1025, False, False),
        ("smtp://localhost", "localhost", 587, False, False),
        ("smtp://localhost.example.com", "localhost.example.com", 587, False, True),
    ],
)
def test_urls(url: str, host: str, port: int, *, implicit: bool, start: bool) -> None:
    config = SmtpConfig.parse(url, SENDER)
    assert (config.host, config.port) == (host, port)
    assert (config.implicit_tls, config.start_tls) == (implicit, start)
    assert (config.username, config.password) == (None, None)


def test_names_and_passwords_are_percent_encoded_and_not_shown() -> None:
    config = SmtpConfig.parse("smtp://user%40example.com:p%40ss%3A%2F@mail.example.com", SENDER)
    assert (config.username, config.password) == ("user@example.com", "p@ss:/")
    assert "p@ss" not in repr(config)


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example.com",
        "mail.example.com:587",
        "smtp://",
        "smtp://mail.example.com:0",
        "smtp://mail.example.com:notaport",
        "smtp://mail.example.com/path",
        "smtp://mail.example.com?tls=no",
        "smtp://user@mail.example.com",
        "smtp://user:orchid/password@mail.example.com",
    ],
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ValueError, match="SMTP URL") as caught:
        SmtpConfig.parse(url, SENDER)
    assert "orchid" not in str(caught.value)


@pytest.mark.parametrize(
    ("sender", "address", "name"),
    [
        ("hello@visiona.example", "hello@visiona.example", ""),
        ('"Visiona, Inc." <hello@visiona.example>', "hello@visiona.example", "Visiona, Inc."),
        ("Visiöna <hello@visiona.example>", "hello@visiona.example", "Visiöna"),
    ],
)
def test_senders(sender: str, address: str, name: str) -> None:
    found = SmtpConfig.parse("smtp://localhost", sender).sender
    assert (found.addr_spec, found.display_name) == (address, name)


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "Visiona",
        "a@example.com, b@example.com",
        "a@exämple.com",
        "a@b@c",
        "x <a@example.com>\r\nBcc: b@c.d",
    ],
)
def test_senders_that_cannot_be_used(sender: str) -> None:
    with pytest.raises(ValueError, match="the sender is one address"):
        SmtpConfig.parse("smtp://localhost", sender)
