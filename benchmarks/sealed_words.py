"""What people of a benchmark have written, sealed as it is kept, for SQL that makes their rows."""

import asyncio
from collections.abc import Iterable, Mapping

import psycopg
from psycopg import sql

from visiona.bootstrap import open_vault
from visiona.core.clock import SystemClock
from visiona.db.sealed import SealedColumn
from visiona.settings import Settings
from visiona.vault.model import Cipher, new_key


def cipher_of(settings: Settings, user_id: int) -> Cipher:
    """That of somebody who has an account."""

    async def ask() -> Cipher:
        vault = open_vault(settings, SystemClock())
        try:
            return await vault.cipher(user_id)
        finally:
            await vault.aclose()

    return asyncio.run(ask())


def strangers(user_ids: Iterable[int]) -> list[Cipher]:
    """Those of people who never come: a key that is kept nowhere is as good."""
    return [Cipher(user_id, new_key()) for user_id in user_ids]


def lay_out(
    connection: psycopg.Connection, ciphers: Iterable[Cipher], words: Mapping[SealedColumn, str]
) -> None:
    """Make the temporary table `words`: a row for each person, with `user_id` and `<table>_<column>`s."""
    names = [column.place.replace(".", "_") for column in words]
    columns = sql.SQL(", ").join(sql.SQL("{} bytea").format(sql.Identifier(name)) for name in names)
    connection.execute(
        sql.SQL("create temporary table words (user_id bigint primary key, {})").format(columns)
    )
    with connection.cursor().copy("copy words from stdin") as copy:
        for cipher in ciphers:
            sealed = (cipher.seal(column.place, text) for column, text in words.items())
            copy.write_row([cipher.user_id, *sealed])
