"""The worker's part of API keys."""

from visiona.db.jobs import Job
from visiona.keys.service import KeyService


def jobs(service: KeyService) -> list[Job]:
    return [Job("keys.purge", service.purge, cron="29 3 * * * 0")]
