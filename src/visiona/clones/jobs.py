"""Jobs of clones."""

from visiona.clones.service import (
    APPLY_TASK,
    DELETE_ARCHIVE_TASK,
    DELETE_VERSION_TASK,
    SUBMIT_TASK,
    CloneService,
)
from visiona.db.jobs import Job


def jobs(service: CloneService) -> list[Job]:
    async def submit(user_id: int, model_id: int) -> None:
        await service.submit(user_id, model_id)

    async def apply(user_id: int, model_id: int) -> None:
        await service.apply(user_id, model_id)

    async def delete_version(version: str) -> None:
        await service.delete_version(version)

    async def delete_archive(archive_id: str) -> None:
        await service.delete_archive(archive_id)

    return [
        Job(SUBMIT_TASK, submit, swept=True),
        Job(APPLY_TASK, apply, swept=True),
        Job(DELETE_VERSION_TASK, delete_version, lasting=True),
        Job(DELETE_ARCHIVE_TASK, delete_archive),
        Job("clones.sweep", service.sweep, cron="* * * * * */2"),
    ]
