"""The worker's part of safety."""

from visiona.db.jobs import Job
from visiona.safety.service import CAP_TASK, REPORTED_TASK, TAKE_DOWN_TASK, Safety


def jobs(safety: Safety) -> list[Job]:
    async def take_down(report_id: int) -> None:
        await safety.reports.finish_takedown(report_id)

    return [
        Job(CAP_TASK, safety.spending.tell_cap, lasting=True),
        Job(TAKE_DOWN_TASK, take_down, lasting=True),
        Job(REPORTED_TASK, safety.reports.tell_reported, lasting=True),
        Job("safety.purge", safety.spending.purge, cron="23 * * * * 0"),
    ]
