"""Slowing down guesses: limits that all processes share, counted before the attempt is made."""

from collections.abc import Iterable

from visiona.core.client import AttemptLimit
from visiona.core.errors import TooMany
from visiona.db.pool import Connection, fetch_value


async def count_attempt(connection: Connection, limits: Iterable[AttemptLimit]) -> None:
    """Count one attempt against every limit. Raises `TooMany` (`too_many_attempts`).

    Raising rolls the counting back: an attempt that was refused does not lengthen the wait. Whoever
    counts commits before the attempt is made.
    """
    keys, free, ceilings = zip(*((limit.key, limit.free, limit.ceiling_s) for limit in limits), strict=True)
    wait_s: int = await fetch_value(
        connection,
        """select max(visiona.count_attempt(key, free, ceiling))
        from unnest(%s::bytea[], %s::integer[], %s::integer[]) as limits (key, free, ceiling)""",
        [list(keys), list(free), list(ceilings)],
    )
    if wait_s > 0:
        raise TooMany("too_many_attempts", "Too many attempts. Wait a moment.", retry_after=wait_s)


async def forgive_attempt(connection: Connection, limits: Iterable[AttemptLimit]) -> None:
    """The attempt succeeded: forget it, and where the limit is its owner's alone all those before."""
    for limit in limits:
        await connection.execute(
            "select visiona.take_back_attempt(%s)" if limit.shared else "select visiona.forget_attempts(%s)",
            [limit.key],
        )
