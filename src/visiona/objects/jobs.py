"""Jobs of private objects."""

from visiona.db.jobs import Job
from visiona.objects.service import DELETE_TASK, ObjectService


def jobs(service: ObjectService) -> list[Job]:
    async def delete(keys: list[str]) -> None:
        await service.delete(keys)

    return [
        Job(DELETE_TASK, delete, lasting=True),
        Job("objects.sweep", service.sweep, cron="*/10 * * * * 0"),
    ]
