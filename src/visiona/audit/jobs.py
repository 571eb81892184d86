"""The worker's part of the audit log."""

from visiona.audit.service import AuditService
from visiona.db.jobs import Job


def jobs(service: AuditService) -> list[Job]:
    return [
        Job("audit.chain", service.chain, cron="* * * * * */5"),
        Job("audit.anchor", service.anchor, cron="*/4 * * * * 2"),
    ]
