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

    async def delete_version(version: str, user_id: int | None = None) -> None:
        await service.delete_version(version)
        if user_id is not None:  # jobs that an earlier release asked for do not say
            await service.remove_destination(user_id)

    async def delete_archive(archive_id: str, user_id: int | None = None) -> None:
        del user_id  # for erasures, which wait for it
        await service.delete_archive(archive_id)

    return [
        Job(SUBMIT_TASK, submit, swept=True),
        Job(APPLY_TASK, apply, swept=True),
        Job(DELETE_VERSION_TASK, delete_version, lasting=True),
        Job(DELETE_ARCHIVE_TASK, delete_archive, lasting=True),
        Job("clones.sweep", service.sweep, cron="* * * * * */2"),
    ]
