"""The worker's part of addresses."""

from visiona.addresses.service import AddressService
from visiona.db.jobs import Job


def jobs(service: AddressService) -> list[Job]:
    return [Job("addresses.purge", service.purge, cron="27 * * * * 0")]
