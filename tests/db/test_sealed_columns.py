"""Columns that hold what people write are sealed, and whoever adds one has to say what is in it."""

import pytest
from psycopg import sql
from psycopg.errors import CheckViolation

from visiona.db.pool import Connection, fetch_value
from visiona.db.sealed import SEALED, SealedColumn

# JSON that anybody who has the database can read, and why that tells nothing of anybody.
PLAIN_JSON = {
    "audit_logs.details": "ids, counts and codes of ours; what is personal is in sealed columns beside it",
    "backup_runs.report": "what a backup has and how long it took",
    "erasures.remote": "ids at providers, until each has confirmed that what they name is deleted",
    "erasures.steps": "when each part of an erasure was confirmed, and how much there was",
    "mails.details": "dates, amounts and names of plans",
    "models.input_schema": "the provider's description of a trained version, the same for everybody's",
    "webhook_receipts.reference": "ids at the provider",
}


async def test_json_is_sealed_unless_it_is_said_why_not(owner: Connection) -> None:
    cursor = await owner.execute(
        """select c.relname || '.' || a.attname from pg_class c
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
             and a.atttypid in ('json'::regtype, 'jsonb'::regtype)"""
    )
    assert {name for (name,) in await cursor.fetchall()} == set(PLAIN_JSON)


@pytest.mark.parametrize("column", SEALED, ids=lambda column: column.place)
async def test_the_database_takes_nothing_that_is_not_sealed(owner: Connection, column: SealedColumn) -> None:
    kind = await fetch_value(
        owner,
        "select atttypid::regtype::text from pg_attribute where attrelid = %s::regclass and attname = %s",
        [column.table, column.column],
    )
    assert kind == "bytea"
    query = sql.SQL("create temporary table tried (like {} including constraints)")
    async with owner.transaction(force_rollback=True):
        await owner.execute(query.format(sql.Identifier(column.table)))
        # Of the constraints, this one alone is to speak.
        cursor = await owner.execute(
            "select conname from pg_constraint where conrelid = 'tried'::regclass and contype in ('c', 'n')"
        )
        names = {name for (name,) in await cursor.fetchall()}
        assert column.constraint in names
        for name in names - {column.constraint}:
            drop = sql.SQL("alter table tried drop constraint if exists {}")
            await owner.execute(drop.format(sql.Identifier(name)))
        insert = sql.SQL("insert into tried ({}) values (%s)").format(sql.Identifier(column.column))
        await owner.execute(insert, [b"\xf8" + bytes(40)])
        with pytest.raises(CheckViolation, match=column.constraint):
            await owner.execute(insert, [b"in plain words, and long enough to be a sealed value"])
