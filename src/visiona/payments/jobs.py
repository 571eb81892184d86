"""Jobs of payments."""

from visiona.db.jobs import Job
from visiona.payments.service import SYNC_TASK, PaymentService


def jobs(service: PaymentService) -> list[Job]:
    async def sync(user_id: int) -> None:
        await service.sync(user_id)

    return [
        Job(SYNC_TASK, sync, swept=True),
        Job("payments.sweep", service.sweep, cron="* * * * * */15"),
        Job("payments.purge", service.purge, cron="29 3 * * * 0"),
    ]
