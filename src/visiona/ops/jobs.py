"""Jobs of backups."""

from visiona.db.jobs import Job
from visiona.ops.backups import Backups


def jobs(backups: Backups) -> list[Job]:
    async def prune() -> None:
        await backups.prune()

    return [
        Job("backups.ship", backups.ship, cron="* * * * * */30"),
        Job("backups.create", backups.create_if_due, cron="*/5 * * * * 0"),
        Job("backups.prune", prune, cron="23 * * * * 0"),
        Job("backups.rehearse", backups.rehearse_if_due, cron="53 * * * * 0"),
    ]
