"""Changing the audit log behind the back of its guard, as whoever owns the server can."""

from typing import Any, LiteralString

from visiona.db.pool import Connection

UNGUARDED: LiteralString = (
    "with off as materialized (select set_config('session_replication_role', 'replica', true))"
)
"""Goes before a single UPDATE or DELETE of the superuser's that joins `off`: no trigger fires for it."""


async def tamper(owner: Connection, *statements: LiteralString, params: Any = None) -> int:
    """Run these as the superuser, no trigger firing; answers how many rows the last one was about."""
    changed = 0
    async with owner.transaction():
        await owner.execute("set local session_replication_role = replica")
        for statement in statements:
            changed = (await owner.execute(statement, params)).rowcount
    return changed
