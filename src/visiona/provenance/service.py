"""Telling anybody where an image comes from."""

from pathlib import Path

from visiona.core.client import ClientInfo
from visiona.core.errors import Invalid
from visiona.db.actor import Anonymous
from visiona.db.pool import Database
from visiona.db.throttle import count_attempt
from visiona.ports.imaging import ImageRefused
from visiona.ports.provenance import Finding, ProvenanceChecker
from visiona.provenance.model import check_limits


class ProvenanceService:
    """`throttle_secret` is for the keys of limits."""

    def __init__(self, database: Database, checker: ProvenanceChecker, throttle_secret: bytes) -> None:
        self._database = database
        self._checker = checker
        self._throttle_secret = throttle_secret

    async def admit(self, client: ClientInfo) -> None:
        """Before a file of theirs is taken in. Raises `TooMany` (`too_many_attempts`)."""
        async with self._database.transaction(Anonymous()) as connection:
            await count_attempt(connection, check_limits(self._throttle_secret, client))

    async def check(self, source: Path) -> Finding:
        """What the image at `source` tells; it is read and not kept.

        Raises `Invalid` with the code of the picture's refusal.
        """
        try:
            return await self._checker.check_provenance(source)
        except ImageRefused as error:
            raise Invalid(error.code, error.message) from error
