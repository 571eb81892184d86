"""The worker's part of accounts."""

from visiona.accounts.service import AccountService
from visiona.db.jobs import Job


def jobs(service: AccountService) -> list[Job]:
    return [Job("accounts.purge", service.purge, cron="17 * * * * 0")]
