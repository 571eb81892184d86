"""Connecting while the password of a database role is being changed.

A role has one password, and processes that know the old secret key run beside those that know the new one:
each knows what the other's password is, and tries that where its own is refused.
"""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

C = TypeVar("C", bound=AsyncConnection[Any])


def trying(base: type[C], passwords: Sequence[str]) -> type[C]:
    """`base`, whose `connect` tries these passwords, too, where the one that it is given is refused."""
    if not passwords:
        return base
    parent: Any = base

    class Trying(parent):
        @classmethod
        async def connect(cls, conninfo: str = "", **options: Any) -> Any:
            for password in passwords:
                try:
                    return await parent.connect.__func__(cls, conninfo, **options)
                except psycopg.OperationalError as error:
                    if not _refused(error):
                        raise
                    conninfo = make_conninfo(conninfo, password=password)
            return await parent.connect.__func__(cls, conninfo, **options)

    return cast("type[C]", Trying)


def _refused(error: psycopg.OperationalError) -> bool:
    """Whether it came so far as to ask for a password. The server's sentence is in the server's language."""
    return error.pgconn is not None and bool(error.pgconn.used_password)
