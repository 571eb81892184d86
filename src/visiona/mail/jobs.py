"""Jobs of mails."""

from uuid import UUID

from visiona.db.jobs import Job
from visiona.mail.service import SEND_TASK, MailService


def jobs(service: MailService) -> list[Job]:
    async def send(mail_id: str) -> None:
        await service.send(UUID(mail_id))

    return [
        Job(SEND_TASK, send, swept=True),
        Job("mail.sweep", service.sweep, cron="* * * * * */15"),
        Job("mail.purge", service.purge, cron="47 3 * * * 0"),
    ]
