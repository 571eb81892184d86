"""Roles, schemas and migrations: plain SQL, forward only, checksummed, one runner at a time.

`provision` makes the roles and schemas (the connecting role must be allowed to), then everything
runs as `visiona_owner`, who is neither superuser nor exempt from row-level security. A data
migration therefore states whose rows it touches with a policy, or lifts FORCE for its own length.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import LiteralString, cast

import psycopg
from procrastinate.schema import SchemaManager
from psycopg import AsyncConnection, Connection, sql
from psycopg.rows import TupleRow

from visiona.db.roles import APP_ROLE, AUTH_ROLE, OWNER_ROLE, WORKER_ROLE, RolePasswords

LOCK_ID = 0x5649_5349  # "VISI"
MINIMUM_SERVER_VERSION = 150_000

_Connection = Connection[TupleRow]


class MigrationError(RuntimeError):
    """The database cannot be brought up to date as it is; the message says why."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    statements: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.statements.encode()).hexdigest()


def own_migrations() -> list[Migration]:
    """Visiona's migrations in order."""
    folder = resources.files("visiona.db") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f.name, f.read_text(encoding="utf-8")) for f in files]


def migrate(url: str, passwords: RolePasswords) -> list[str]:
    """Bring the database at `url` to this release; answers the names of what was applied."""
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.info.server_version < MINIMUM_SERVER_VERSION:
            raise MigrationError("Visiona needs PostgreSQL 15 or newer.")
        connection.execute("select pg_advisory_lock(%s)", [LOCK_ID])
        try:
            _provision(connection, passwords)
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(OWNER_ROLE)))
            connection.execute("set lock_timeout = '5s'")
            applied = _apply_procrastinate(connection) + _apply_own(connection)
        finally:
            connection.execute("reset role")
            connection.execute("select pg_advisory_unlock(%s)", [LOCK_ID])
    return applied


async def pending(connection: AsyncConnection[TupleRow]) -> list[str]:
    """Names of this release's migrations that the database lacks."""
    rows = await (await connection.execute("select name from visiona.schema_migrations")).fetchall()
    known = {row[0] for row in rows}
    return [migration.name for migration in own_migrations() if migration.name not in known]


def _provision(connection: _Connection, passwords: RolePasswords) -> None:
    for role, password in (
        (OWNER_ROLE, None),
        (AUTH_ROLE, None),
        (APP_ROLE, passwords.app),
        (WORKER_ROLE, passwords.worker),
    ):
        _ensure_role(connection, role, password)
    # The owner hands functions over to the roles they run as; NOINHERIT keeps it from seeing their rows.
    _grant(connection, AUTH_ROLE, OWNER_ROLE)
    _grant(connection, WORKER_ROLE, OWNER_ROLE)
    _grant(connection, OWNER_ROLE, connection.info.user)
    connection.execute(f"alter role {WORKER_ROLE} set search_path = public, procrastinate")
    for role in (APP_ROLE, WORKER_ROLE):
        connection.execute(f"alter role {role} set idle_in_transaction_session_timeout = '30s'")
        connection.execute(f"alter role {role} set statement_timeout = '30s'")
    connection.execute(f"grant create, usage on schema public to {OWNER_ROLE}")
    for schema in ("visiona", "procrastinate"):
        connection.execute(
            sql.SQL("create schema if not exists {} authorization {}").format(
                sql.Identifier(schema), sql.Identifier(OWNER_ROLE)
            )
        )
    connection.execute(
        """create table if not exists visiona.schema_migrations (
            name text primary key, checksum text not null,
            applied_at timestamptz not null default current_timestamp)"""
    )
    connection.execute(f"alter table visiona.schema_migrations owner to {OWNER_ROLE}")
    connection.execute(f"grant usage on schema visiona to {APP_ROLE}, {WORKER_ROLE}")
    connection.execute(f"grant select on visiona.schema_migrations to {APP_ROLE}, {WORKER_ROLE}")


def _ensure_role(connection: _Connection, role: str, password: str | None) -> None:
    found = connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone()
    name = sql.Identifier(role)
    if found is None:
        connection.execute(sql.SQL("create role {} noinherit nocreatedb nocreaterole").format(name))
    if password is not None:
        connection.execute(sql.SQL("alter role {} login password {}").format(name, sql.Literal(password)))


def _grant(connection: _Connection, role: str, member: str) -> None:
    connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(member)))


def _checksums(connection: _Connection) -> dict[str, str]:
    rows = connection.execute("select name, checksum from visiona.schema_migrations").fetchall()
    return {row[0]: row[1] for row in rows}


def _apply_own(connection: _Connection) -> list[str]:
    known = _checksums(connection)
    applied: list[str] = []
    for migration in own_migrations():
        if migration.name not in known:
            _apply(connection, migration, search_path="public")
            applied.append(migration.name)
        elif known[migration.name] != migration.checksum:
            raise MigrationError(
                f"{migration.name} was changed after it had been applied. "
                "Restore the file and put the change into a new migration."
            )
    return applied


def _apply_procrastinate(connection: _Connection) -> list[str]:
    """A fresh database gets the library's whole schema; an older one the steps it lacks."""
    steps = _procrastinate_steps()
    known = _checksums(connection)
    if not any(step.name in known for step in steps):
        schema = Migration("procrastinate/schema", SchemaManager.get_schema())
        _apply(connection, schema, search_path="procrastinate", also_record=steps)
        return [schema.name]
    missing = [step for step in steps if step.name not in known]
    for step in missing:
        _apply(connection, step, search_path="procrastinate")
    return [step.name for step in missing]


def _procrastinate_steps() -> list[Migration]:
    folder = resources.files("procrastinate.sql") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f"procrastinate/{f.name}", f.read_text(encoding="utf-8")) for f in files]


def _apply(
    connection: _Connection,
    migration: Migration,
    *,
    search_path: str,
    also_record: list[Migration] | None = None,
) -> None:
    with connection.transaction():
        connection.execute(sql.SQL("set local search_path = {}").format(sql.Identifier(search_path)))
        connection.execute(cast("LiteralString", migration.statements))
        for entry in [migration, *(also_record or [])]:
            connection.execute(
                "insert into visiona.schema_migrations (name, checksum) values (%s, %s)",
                [entry.name, entry.checksum],
            )
