"""The worker's part of accounts."""

from uuid import UUID

from visiona.accounts.service import END_REMOTE_TASK, AccountService
from visiona.db.jobs import Job


def jobs(service: AccountService) -> list[Job]:
    async def end_remote(session_id: str) -> None:
        await service.end_remote(UUID(session_id))

    return [
        Job("accounts.purge", service.purge, cron="17 * * * * 0"),
        Job("accounts.check_sessions", service.check_sessions, cron="* * * * * */30"),
        Job(END_REMOTE_TASK, end_remote, lasting=True),
    ]
