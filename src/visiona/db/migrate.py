"""Roles, schemas and migrations: plain SQL, forward only, checksummed, one runner at a time.

`provision` makes the roles and schemas (the connecting role must be allowed to), then everything
runs as `visiona_owner`, who is neither superuser nor exempt from row-level security. A data
migration therefore states whose rows it touches with a policy, or lifts FORCE for its own length.

The connecting role need not be a superuser: CREATEROLE and owning the database are enough, which is
what managed services give.
"""

import hashlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import LiteralString, cast

import psycopg
from procrastinate.schema import SchemaManager
from psycopg import AsyncConnection, Connection, sql
from psycopg.rows import TupleRow

from visiona.db.roles import APP_ROLE, AUTH_ROLE, MEMBER_ROLE, OWNER_ROLE, WORKER_ROLE, RoleSecrets

LOCK_ID = 0x5649_5349  # "VISI"
# Whoever comes after a statement that waits for a lock waits behind it: so none waits for long.
LOCK_TIMEOUT = "900ms"
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


def migrate(url: str, secrets: RoleSecrets, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Bring the database at `url` to this release; answers the names of what was applied.

    `migrations` are this release's own unless given. Raises `MigrationError`.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.info.server_version < MINIMUM_SERVER_VERSION:
            raise MigrationError("Visiona needs PostgreSQL 15 or newer.")
        connection.execute("select pg_advisory_lock(%s)", [LOCK_ID])
        try:
            connection.execute(sql.SQL("set lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
            _provision(connection, secrets)
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(OWNER_ROLE)))
            _ensure_ledger(connection)
            own = own_migrations() if migrations is None else migrations
            applied = _apply_procrastinate(connection) + _apply_own(connection, own)
            _keep_identity_key(connection, secrets)
            return applied
        finally:
            connection.execute("reset role")
            connection.execute("select pg_advisory_unlock(%s)", [LOCK_ID])


def provision(url: str, secrets: RoleSecrets) -> None:
    """Roles and empty schemas alone, for a backup to be loaded into; `migrate` does the rest afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        _provision(connection, secrets)


async def pending(connection: AsyncConnection[TupleRow]) -> list[str]:
    """Names of this release's migrations that the database lacks."""
    rows = await (await connection.execute("select name from visiona.schema_migrations")).fetchall()
    known = {row[0] for row in rows}
    return [migration.name for migration in own_migrations() if migration.name not in known]


def _provision(connection: _Connection, secrets: RoleSecrets) -> None:
    for role, password in (
        (OWNER_ROLE, None),
        (AUTH_ROLE, None),
        (MEMBER_ROLE, None),
        (APP_ROLE, secrets.app),
        (WORKER_ROLE, secrets.worker),
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
    # A temporary table would stand before ours of that name for whoever has the connection next.
    connection.execute(
        sql.SQL("revoke temporary on database {} from public").format(sql.Identifier(connection.info.dbname))
    )
    connection.execute("revoke create on schema public from public")
    connection.execute(f"grant create, usage on schema public to {OWNER_ROLE}")
    connection.execute(
        f"grant usage on schema public to {APP_ROLE}, {WORKER_ROLE}, {AUTH_ROLE}, {MEMBER_ROLE}"
    )
    for schema in ("visiona", "procrastinate"):
        connection.execute(
            sql.SQL("create schema if not exists {} authorization {}").format(
                sql.Identifier(schema), sql.Identifier(OWNER_ROLE)
            )
        )


def _keep_identity_key(connection: _Connection, secrets: RoleSecrets) -> None:
    """The present key beside those before it, which processes that still run prove by for a day."""
    if connection.execute("select to_regclass('visiona.identity_keys')").fetchone() == (None,):
        return
    key = secrets.identity
    with connection.transaction():
        connection.execute(
            "update visiona.identity_keys set replaced_at = now() where id <> %s and replaced_at is null",
            [key.id],
        )
        connection.execute(
            "delete from visiona.identity_keys where replaced_at < now() - interval '1 day' and id <> %s",
            [key.id],
        )
        connection.execute(
            """insert into visiona.identity_keys (id, inner_pad, outer_pad) values (%s, %s, %s)
               on conflict (id) do update set replaced_at = null""",
            [key.id, *key.pads],
        )


def _ensure_ledger(connection: _Connection) -> None:
    """The list of what was applied: written by the owner, read by those who check for readiness."""
    if connection.execute("select to_regclass('visiona.schema_migrations')").fetchone() != (None,):
        return
    roles = f"{APP_ROLE}, {WORKER_ROLE}"
    with connection.transaction():
        connection.execute(
            """create table visiona.schema_migrations (
                name text primary key, checksum text not null,
                applied_at timestamptz not null default current_timestamp)"""
        )
        connection.execute("alter table visiona.schema_migrations enable row level security")
        connection.execute("alter table visiona.schema_migrations force row level security")
        connection.execute(
            f"create policy owner_writes on visiona.schema_migrations to {OWNER_ROLE} using (true)"
        )
        connection.execute(
            f"create policy everyone_reads on visiona.schema_migrations for select to {roles} using (true)"
        )
        connection.execute(f"grant usage on schema visiona to {roles}")
        connection.execute(f"grant select on visiona.schema_migrations to {roles}")


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


def _apply_own(connection: _Connection, migrations: Sequence[Migration]) -> list[str]:
    known = _checksums(connection)
    for migration in migrations:
        if known.get(migration.name, migration.checksum) != migration.checksum:
            raise MigrationError(
                f"{migration.name} was changed after it had been applied. "
                "Restore the file and put the change into a new migration."
            )
    missing = [migration for migration in migrations if migration.name not in known]
    for migration in missing:
        _apply(connection, migration, search_path="public")
    return [migration.name for migration in missing]


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
    also_record: Sequence[Migration] = (),
) -> None:
    try:
        with connection.transaction(), _warnings_are_errors(connection, migration):
            connection.execute(sql.SQL("set local search_path = {}").format(sql.Identifier(search_path)))
            connection.execute(cast("LiteralString", migration.statements))
            for entry in [migration, *also_record]:
                connection.execute(
                    "insert into visiona.schema_migrations (name, checksum) values (%s, %s)",
                    [entry.name, entry.checksum],
                )
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(
            f"{migration.name} waited {LOCK_TIMEOUT} for a lock that somebody holds; nothing was changed. "
            "Run it again when the database is less busy."
        ) from error


@contextmanager
def _warnings_are_errors(connection: _Connection, migration: Migration) -> Generator[None]:
    """A REVOKE or GRANT without the right to do it changes nothing, and PostgreSQL only warns."""
    warnings: list[str] = []

    def collect(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "a warning without a text")

    connection.add_notice_handler(collect)
    try:
        yield
    finally:
        connection.remove_notice_handler(collect)
    if warnings:
        raise MigrationError(f"{migration.name}: {'; '.join(warnings)}")
