"""Jobs of the inbox."""

from visiona.db.jobs import Job
from visiona.inbox.service import PROCESS_TASK, InboxService


def jobs(service: InboxService) -> list[Job]:
    async def process(receipt_id: int) -> None:
        await service.process(receipt_id)

    return [Job(PROCESS_TASK, process), Job("inbox.purge", service.purge, cron="17 3 * * * 0")]
