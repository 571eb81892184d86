"""The worker's part of administration."""

from visiona.administration.service import SET_PLAN_TASK, AdministrationService
from visiona.db.jobs import Job


def jobs(service: AdministrationService) -> list[Job]:
    return [
        Job(SET_PLAN_TASK, service.set_plan, lasting=True),
        Job("administration.purge", service.purge, cron="41 * * * * 0"),
    ]
