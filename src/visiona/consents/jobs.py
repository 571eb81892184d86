"""Jobs of consents."""

import uuid
from collections.abc import Sequence

from visiona.consents.service import FORGET_TASK, ConsentService, Forgetter, forget
from visiona.db.jobs import Job


def jobs(service: ConsentService, forgetters: Sequence[Forgetter]) -> list[Job]:
    async def run(user_id: int, consent_id: str) -> None:
        await forget(forgetters, user_id, uuid.UUID(consent_id))

    return [
        Job(FORGET_TASK, run, lasting=True),
        Job("consents.sweep", service.sweep, cron="* * * * * 40"),
    ]
