"""Jobs of erasures."""

from uuid import UUID

from visiona.db.jobs import Job
from visiona.privacy.service import ERASE_TASK, PROCEED_TASK, PrivacyService


def jobs(service: PrivacyService) -> list[Job]:
    async def proceed(user_id: int) -> None:
        await service.proceed(user_id)

    async def erase(erasure_id: str) -> None:
        await service.erase(UUID(erasure_id))

    return [
        Job(PROCEED_TASK, proceed, lasting=True),
        Job(ERASE_TASK, erase, swept=True),
        Job("privacy.tidy", service.tidy, cron="23 4 * * * 0"),
        Job("privacy.sweep", service.sweep, cron="* * * * * */10"),
    ]
