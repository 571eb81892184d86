"""Jobs of generations."""

from visiona.db.jobs import Job
from visiona.generations.service import APPLY_TASK, SUBMIT_TASK, GenerationService


def jobs(service: GenerationService) -> list[Job]:
    async def submit(user_id: int, run_id: int) -> None:
        await service.submit(user_id, run_id)

    async def apply(user_id: int, run_id: int) -> None:
        await service.apply(user_id, run_id)

    return [
        Job(SUBMIT_TASK, submit, swept=True),
        Job(APPLY_TASK, apply, swept=True),
        Job("generations.sweep", service.sweep, cron="* * * * * */2"),
    ]
