"""Jobs of exports."""

from visiona.db.jobs import Job
from visiona.exports.service import BUILD_TASK, ExportService


def jobs(service: ExportService) -> list[Job]:
    async def build(user_id: int, export_id: int) -> None:
        await service.build(user_id, export_id)

    return [
        Job(BUILD_TASK, build),
        Job("exports.sweep", service.sweep, cron="* * * * * 35"),
    ]
