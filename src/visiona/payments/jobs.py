"""Jobs of payments."""

from visiona.db.jobs import Job
from visiona.payments.service import SYNC_TASK, PaymentService


def jobs(service: PaymentService) -> list[Job]:
    asked_again: dict[int, bool] = {}
    """Whose account this worker reads now, and whether somebody asked for it meanwhile."""

    async def sync(user_id: int) -> None:
        """One reading of a person at a time, or whoever asks often has all of the worker's places."""
        if user_id in asked_again:
            asked_again[user_id] = True
            return
        try:
            asked_again[user_id] = True
            while asked_again[user_id]:
                asked_again[user_id] = False
                await service.sync(user_id)
        finally:
            del asked_again[user_id]

    return [
        Job(SYNC_TASK, sync, swept=True),
        Job("payments.sweep", service.sweep, cron="* * * * * */15"),
        Job("payments.purge", service.purge, cron="29 3 * * * 0"),
    ]
