"""The SMTP adapter against the mail sandbox: what arrives, and what each failure is called."""

from collections.abc import Iterator

import pytest
from tests.factories.mail import MailServer, run_mail_sandbox

from visiona.adapters.smtp import SmtpConfig, SmtpMailer
from visiona.ports.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable
from visiona.ports.mailer import Message

pytestmark = pytest.mark.contract

MESSAGE = Message(
    id="0f8fad5b-d9cb-469f-a165-70867728950e",
    to="alice@example.com",
    subject="Grüße",
    text="Guten Tag\n",
    html="<p>Guten Tag</p>\n",
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with run_mail_sandbox(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture
def server(shared: MailServer) -> MailServer:
    shared.reset()
    return shared


def mailer(server: MailServer, deadline_s: float = 10.0) -> SmtpMailer:
    config = SmtpConfig.parse(server.smtp_url, "Visiona <hello@visiona.example>")
    values = {name: getattr(config, name) for name in config.__slots__} | {"deadline_s": deadline_s}
    return SmtpMailer(SmtpConfig(**values))


async def test_a_mail_arrives(server: MailServer) -> None:
    await mailer(server).send(MESSAGE)
    (found,) = server.messages("alice@example.com")
    assert (found["subject"], found["text"], found["html"]) == (MESSAGE.subject, MESSAGE.text, MESSAGE.html)
    assert found["from"] == "Visiona <hello@visiona.example>"


async def test_a_wrong_password_lets_mails_wait(server: MailServer) -> None:
    config = SmtpConfig.parse(f"smtp://visiona:wrong@127.0.0.1:{server.port}", "hello@visiona.example")
    with pytest.raises(ProviderUnavailable):
        await SmtpMailer(config).send(MESSAGE)
    with pytest.raises(ProviderUnavailable):
        await SmtpMailer(SmtpConfig.parse(f"smtp://127.0.0.1:{server.port}", "a@example.com")).send(MESSAGE)
    assert server.messages() == []


async def test_a_recipient_that_does_not_exist(server: MailServer) -> None:
    server.fault("refuse_recipient")
    with pytest.raises(ProviderRejected):
        await mailer(server).send(MESSAGE)
    assert server.messages() == []


@pytest.mark.parametrize("at", ["recipient", "data"])
async def test_a_failure_that_passes(server: MailServer, at: str) -> None:
    server.fault("temporary_failure", at=at)
    with pytest.raises(ProviderUnavailable):
        await mailer(server).send(MESSAGE)
    assert server.messages() == []
    await mailer(server).send(MESSAGE)
    assert len(server.messages()) == 1


@pytest.mark.parametrize("fault", ["drop_after_data", "hang"])
async def test_a_lost_answer_may_make_two_mails_of_one_id(server: MailServer, fault: str) -> None:
    server.fault(fault)
    with pytest.raises(OutcomeUnknown):
        await mailer(server, deadline_s=1.0).send(MESSAGE)
    await mailer(server).send(MESSAGE)
    ids = [found["message_id"] for found in server.messages()]
    assert ids == [f"<{MESSAGE.id}@visiona.example>"] * 2


async def test_a_slow_server_is_waited_for(server: MailServer) -> None:
    server.fault("slow", seconds=0.5)
    await mailer(server).send(MESSAGE)
    assert len(server.messages()) == 1
