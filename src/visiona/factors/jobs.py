"""The worker's part of factors."""

from visiona.db.jobs import Job
from visiona.factors.service import FactorService


def jobs(service: FactorService) -> list[Job]:
    return [Job("factors.purge", service.purge, cron="29 * * * * 0")]
