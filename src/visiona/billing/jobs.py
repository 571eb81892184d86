"""Jobs of billing."""

from visiona.billing.service import BillingService
from visiona.db.jobs import Job


def jobs(service: BillingService) -> list[Job]:
    return [
        Job("billing.refresh", service.refresh, cron="7 * * * * 0"),
        Job("billing.purge", service.purge, cron="23 3 * * * 0"),
    ]
