"""The mail sandbox: mail comes in over SMTP, and is read over HTTP. Driven by Python's own SMTP client."""

import smtplib
import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories.mail import KEY, MailServer, run_mail_sandbox, wait_until

from visiona.sandbox.guard import SandboxInProductionError
from visiona.sandbox.mail import MailSandboxConfig, create_app
from visiona.sandbox.mail.cleaning import clean
from visiona.sandbox.mail.letters import split_links
from visiona.sandbox.mail.mailbox import KEPT, Mailbox


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with run_mail_sandbox(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture
def server(shared: MailServer) -> MailServer:
    shared.reset()
    return shared


@pytest.fixture
def visitor(server: MailServer) -> Iterator[httpx.Client]:
    """A browser, which has no key."""
    with httpx.Client(base_url=server.base) as client:
        yield client


def written(to: str = "alice@example.com", subject: str = "Hello", **changes: Any) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Visiona <hello@visiona.example>", to, subject
    mail["Message-ID"] = "<1@visiona.example>"
    mail.set_content(changes.get("text", "Read https://visiona.example/verify?token=abc.\n"))
    mail.add_alternative(
        changes.get("html", "<p>Read <a href='https://visiona.example/v'>this</a></p>"), "html"
    )
    return mail


def connected(server: MailServer, *, password: str = KEY) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", server.port, timeout=10)
    try:
        client.login("visiona", password)
    except smtplib.SMTPException:
        client.close()
        raise
    return client


def send(server: MailServer, mail: EmailMessage) -> None:
    with connected(server) as client:
        client.send_message(mail)


# Taking mail


def test_a_mail_is_taken_and_read_back(server: MailServer) -> None:
    send(server, written(subject="Grüße"))
    (message,) = server.messages("Alice@example.com")
    assert message["subject"] == "Grüße"
    assert message["to"] == ["alice@example.com"]
    assert message["from"] == "Visiona <hello@visiona.example>"
    assert message["envelope_from"] == "hello@visiona.example"
    assert message["message_id"] == "<1@visiona.example>"
    assert message["text"] == "Read https://visiona.example/verify?token=abc.\n"
    assert message["links"] == ["https://visiona.example/verify?token=abc"]
    assert "<a href=" in message["html"]
    assert server.messages("lice@example.com") == []


def test_mails_come_newest_first(server: MailServer) -> None:
    for number in range(3):
        send(server, written(to=f"person{number % 2}@example.com", subject=str(number)))
    assert [message["subject"] for message in server.messages()] == ["2", "1", "0"]
    assert [message["subject"] for message in server.messages("person0@example.com")] == ["2", "0"]


def test_addresses_need_not_be_ascii(server: MailServer) -> None:
    with connected(server) as client:
        client.send_message(
            written("jürgen@example.com"),
            mail_options=["SMTPUTF8", "BODY=8BITMIME"],
            to_addrs="jürgen@example.com",
        )
    assert server.messages("jürgen@example.com")[0]["to"] == ["jürgen@example.com"]


def test_nobody_sends_without_the_key(server: MailServer) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=10) as client:
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            client.send_message(written())
        assert refused.value.smtp_code == 530
    with pytest.raises(smtplib.SMTPAuthenticationError) as wrong:
        connected(server, password="wrong")
    assert wrong.value.smtp_code == 535
    assert server.messages() == []


def test_a_mail_that_is_too_large_is_not_taken(server: MailServer) -> None:
    with (
        connected(server) as client,
        pytest.raises((smtplib.SMTPSenderRefused, smtplib.SMTPDataError)) as refused,
    ):
        client.send_message(written(text="long line of text\n" * 20_000))
    assert refused.value.smtp_code == 552
    assert server.messages() == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no headers at all",
        b"Subject: =?utf-8?b?!!!?=\r\nFrom: <<>>\r\nMessage-ID: <\r\n\r\nx",
        b"Content-Type: text/plain; charset=nonsense\r\n\r\n\xff\xfe",
        b"Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n",
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%",
    ],
)
def test_whatever_was_sent_can_be_looked_at(
    server: MailServer, visitor: httpx.Client, content: bytes
) -> None:
    with connected(server) as client:
        client.sendmail("a@example.com", ["b@example.com"], content)
    (message,) = server.messages()
    assert visitor.get("/").status_code == 200
    for view in ("html", "text", "source"):
        assert visitor.get(f"/mails/{message['id']}", params={"view": view}).status_code == 200
    assert visitor.get(f"/mails/{message['id']}/html").status_code == 200


# Keeping it


def test_mails_outlive_a_restart(tmp_path: Path) -> None:
    with run_mail_sandbox(tmp_path) as server:
        send(server, written())
        before = server.messages()
    with run_mail_sandbox(tmp_path) as server:
        assert server.messages() == before
        send(server, written())
        assert server.messages()[0]["id"] == before[0]["id"] + 1
    assert len(list((tmp_path / "mail").iterdir())) == 2


def test_the_oldest_make_room(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path, limit=3)
    for number in range(5):
        mailbox.add("a@example.com", [f"{number}@example.com"], b"Subject: x\r\n\r\nx")
    assert [letter.kept.recipients[0][0] for letter in Mailbox(tmp_path).to("")] == ["4", "3", "2"]
    assert len(list(tmp_path.iterdir())) == 3
    assert KEPT == 500


def test_a_write_that_was_cut_off_leaves_nothing_behind(tmp_path: Path) -> None:
    Mailbox(tmp_path).add("a@example.com", ["b@example.com"], b"Subject: x\r\n\r\nx")
    (tmp_path / "00000002.new").write_bytes(b'{"number": 2')
    assert len(Mailbox(tmp_path)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["00000001.json"]


# Faults


def test_a_recipient_is_refused(server: MailServer) -> None:
    server.fault("refuse_recipient", to="*@gone.example")
    send(server, written())
    with connected(server) as client, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        client.send_message(written("alice@gone.example"))
    assert refused.value.recipients["alice@gone.example"][0] == 550
    send(server, written("alice@gone.example"))
    assert len(server.messages()) == 2


@pytest.mark.parametrize("at", ["recipient", "data"])
def test_a_failure_passes(server: MailServer, at: str) -> None:
    server.fault("temporary_failure", at=at, times=2, skip=1)
    codes = []
    for _ in range(4):
        try:
            send(server, written())
        except smtplib.SMTPRecipientsRefused as error:
            codes.append(error.recipients["alice@example.com"][0])
        except smtplib.SMTPDataError as error:
            codes.append(error.smtp_code)
        else:
            codes.append(250)
    assert codes == [250, 451, 451, 250]
    assert len(server.messages()) == 2


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("fault", "parameters"), [("drop_after_data", {}), ("hang", {"seconds": 0.2})])
def test_an_answer_is_lost(server: MailServer, fault: str, parameters: dict[str, Any], *, kept: bool) -> None:
    server.fault(fault, kept=kept, **parameters)
    client = connected(server)
    begun = time.monotonic()
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.send_message(written())
    client.close()
    assert time.monotonic() - begun < 5
    assert len(server.messages()) == int(kept)


def test_an_answer_is_late(server: MailServer) -> None:
    server.fault("slow", seconds=0.3)
    begun = time.monotonic()
    send(server, written())
    assert time.monotonic() - begun >= 0.3
    assert len(server.messages()) == 1


def test_faults_are_listed_and_removed(server: MailServer) -> None:
    server.fault("hang", times=None)
    assert [fault["fault"] for fault in server.http.get("/_sandbox/faults").json()] == ["hang"]
    assert server.http.delete("/_sandbox/faults").status_code == 204
    send(server, written())
    assert server.http.get("/_sandbox/state").json() == {
        "sandbox": "mail",
        "smtp_port": server.port,
        "messages": 1,
        "faults": [],
    }


@pytest.mark.parametrize("body", [b"", b"{}", b'{"fault": "flood"}', b'{"fault": "hang", "time": 1}', b"[1]"])
def test_faults_that_do_not_exist(server: MailServer, body: bytes) -> None:
    answer = server.http.post("/_sandbox/faults", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_server_stops_while_somebody_waits(tmp_path: Path) -> None:
    begun = time.monotonic()
    with run_mail_sandbox(tmp_path) as server:
        server.fault("hang")
        client = connected(server)
        client.mail("a@example.com")
        client.rcpt("b@example.com")
        client.putcmd("data")
        client.getreply()
        client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        wait_until(lambda: len(server.messages()) == 1)
    client.close()
    assert time.monotonic() - begun < 10


# Pages


def test_the_inbox_lists_and_finds(server: MailServer, visitor: httpx.Client) -> None:
    assert "No mail yet" in visitor.get("/").text
    send(server, written("alice@example.com", "First <b>"))
    send(server, written("bob@example.com", "Second"))
    page = visitor.get("/").text
    assert page.index("Second") < page.index("First &lt;b&gt;")
    found = visitor.get("/", params={"to": "ALICE"}).text
    assert "First &lt;b&gt;" in found
    assert "Second" not in found
    assert "No mail was sent to such an address" in visitor.get("/", params={"to": "<carol"}).text


def test_a_mail_is_shown_in_a_frame_that_can_do_nothing(server: MailServer, visitor: httpx.Client) -> None:
    send(server, written(html="<script>alert(1)</script><p onclick=x>Hi <a href=javascript:x>y</a></p>"))
    number = server.messages()[0]["id"]
    page = visitor.get(f"/mails/{number}")
    assert f'src="/mails/{number}/html"' in page.text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    inner = visitor.get(f"/mails/{number}/html")
    assert inner.text == "<!doctype html>\n<p>Hi <a>y</a></p>\n"
    policy = inner.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox allow-popups" in policy
    assert "allow-scripts" not in policy
    assert "allow-same-origin" not in policy
    assert inner.headers["referrer-policy"] == "no-referrer"


def test_links_in_the_text_can_be_followed(server: MailServer, visitor: httpx.Client) -> None:
    send(server, written(text="Go to https://visiona.example/verify?token=a&b=<c>, or not."))
    number = server.messages()[0]["id"]
    page = visitor.get(f"/mails/{number}", params={"view": "text"}).text
    assert 'href="https://visiona.example/verify?token=a&amp;b="' in page
    assert "&lt;c&gt;, or not." in page


def test_a_mail_without_html_is_shown_as_text(server: MailServer, visitor: httpx.Client) -> None:
    mail = EmailMessage(policy=SMTPUTF8)
    mail["From"], mail["To"] = "a@example.com", "b@example.com"
    mail.set_content("only text")
    send(server, mail)
    page = visitor.get(f"/mails/{server.messages()[0]['id']}").text
    assert "only text" in page
    assert "iframe" not in page
    assert "(no subject)" in page


@pytest.mark.parametrize(
    "path", ["/mails/99999", "/mails/99999/html", "/mails/x", "/nothing", "/inbox/old/inbox.css"]
)
def test_what_is_not_there(visitor: httpx.Client, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code == 404
    assert "Nothing is here" in answer.text
    assert answer.headers["x-visiona-sandbox"] == "mail"


def test_pages_say_what_they_are(server: MailServer, visitor: httpx.Client) -> None:
    page = visitor.get("/")
    assert "Sandbox - no mail leaves this computer" in page.text
    assert page.headers["x-visiona-sandbox"] == "mail"
    assert server.http.get("/_sandbox/messages").headers["x-visiona-sandbox"] == "mail"


def test_a_foreign_name_shows_no_mails(visitor: httpx.Client) -> None:
    """A site that lets its own name point to this machine could read the inbox otherwise."""
    assert visitor.get("/", headers={"host": "evil.example"}).status_code == 403
    assert visitor.get("/", headers={"host": "localhost:99"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/_sandbox/messages"),
        ("GET", "/_sandbox/state"),
        ("GET", "/_sandbox/faults"),
        ("POST", "/_sandbox/faults"),
        ("DELETE", "/_sandbox/faults"),
        ("POST", "/_sandbox/reset"),
    ],
)
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer \xfc", KEY[:-1]])
def test_controls_need_the_key(visitor: httpx.Client, method: str, path: str, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    answer = visitor.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert "key" in answer.json()["error"]


# Parts


@pytest.mark.parametrize(
    ("html", "cleaned"),
    [
        ("<b>bold</b> &amp; &lt;i&gt;", "<b>bold</b> &amp; &lt;i&gt;"),
        ("<SCRIPT>x</SCRIPT>y", "y"),
        ("<script/>x</script>y", "y"),
        ("<scr<script>x</script>ipt>z", "xipt&gt;z"),
        ("<img src=https://t.example/p.png onerror=x alt=a>", '<img alt="a">'),
        ("<img src='data:image/png;base64,AA=='>", '<img src="data:image/png;base64,AA==">'),
        ("<img src='data:image/svg+xml;base64,AA=='>", "<img>"),
        ("<a href=' JavaScript:x'>y</a>", "<a>y</a>"),
        ("<a href='data:text/html,x'>y</a>", "<a>y</a>"),
        (
            "<a href=https://a.example target=_top ping=x>y</a>",
            '<a href="https://a.example" target="_blank" rel="noopener noreferrer">y</a>',
        ),
        ("<iframe src=x></iframe><form action=/x><input name=a>z</form>", "z"),
        ("<meta http-equiv=refresh content='0;url=//x'><base href=//x><link rel=stylesheet href=//x>", ""),
        ("<meta name=color-scheme content='light dark'>", '<meta name="color-scheme" content="light dark">'),
        ("<style>a > b { color: red } </style><p>x", "<style>a > b { color: red } </style><p>x"),
        ("<style><!-- </style><script>x</script>", "<style>!-- </style>"),
        ("<style>p { background: URL(//x) }</style>y", "<style></style>y"),
        ("<style>@import '//x';</style>y", "<style></style>y"),
        ("<p style='background:u\\72l(//x)' class=c>y</p>", '<p class="c">y</p>'),
        ("<svg><style><script>x</style></svg>y", "y"),
        ("<p style='color:red' onmouseover=x class=c id=i>y</p>", '<p style="color:red" class="c">y</p>'),
        ("<!-- x --><!doctype html><?php x ?>y", "y"),
        (
            '<p title="&quot;><script>x</script>">y</p>',
            '<p title="&quot;&gt;&lt;script&gt;x&lt;/script&gt;">y</p>',
        ),
    ],
)
def test_html_is_cleaned(html: str, cleaned: str) -> None:
    assert clean(html) == f"<!doctype html>\n{cleaned}"


def test_punctuation_is_no_part_of_a_link() -> None:
    assert split_links("(https://a.example/x?y=1), http://b.example.") == [
        ("(", False),
        ("https://a.example/x?y=1", True),
        ("), ", False),
        ("http://b.example", True),
        (".", False),
    ]


def test_it_never_runs_in_production(tmp_path: Path) -> None:
    with pytest.raises(SandboxInProductionError):
        create_app(MailSandboxConfig(tmp_path, "http://127.0.0.1:1", 0, KEY, " Production"))


def test_its_settings(tmp_path: Path) -> None:
    config = MailSandboxConfig(tmp_path, "http://127.0.0.1:1", 1025, "a/b@c")
    assert config.smtp_url == "smtp://visiona:a%2Fb%40c@127.0.0.1:1025"
    assert "a/b@c" not in repr(config)
    for url, key in (("http://127.0.0.1:1/", KEY), ("http://127.0.0.1:1", "")):
        with pytest.raises(ValueError, match=r"slash|key"):
            MailSandboxConfig(tmp_path, url, 0, key)
