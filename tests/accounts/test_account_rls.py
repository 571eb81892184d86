"""What the application role can do to the tables of accounts: as nobody, as another, as the owner."""

from collections.abc import Awaitable, Callable

import psycopg
import pytest
from tests.conftest import IDENTITY

from visiona.accounts.model import SignedIn
from visiona.accounts.service import AccountService
from visiona.db.actor import Actor, Anonymous, SystemActor, UserActor
from visiona.db.pool import Database

MakeUser = Callable[..., Awaitable[UserActor]]

DENIED = "denied"
NOTHING = {"nobody": 0, "system": 0, "stranger": 0, "owner": 0}
ONLY_OWN = NOTHING | {"owner": 1}
NEVER = dict.fromkeys(NOTHING, DENIED)

# Rows that the statement touches for each identity; `%(id)s` is the owner's.
STATEMENTS = [
    ("select from users where id = %(id)s", ONLY_OWN),
    ("insert into users (clerk_id, email) values ('user_x', 'x@example.com')", NEVER),
    ("update users set status = 'active' where id = %(id)s", NEVER),
    ("update users set email = 'x@example.com' where id = %(id)s", NEVER),
    ("delete from users where id = %(id)s", NEVER),
    ("select from credentials where user_id = %(id)s", NEVER),
    ("insert into credentials (user_id, password_hash) values (%(id)s, 'x')", NEVER),
    ("update credentials set password_hash = 'x' where user_id = %(id)s", NEVER),
    ("delete from credentials where user_id = %(id)s", NEVER),
    ("select from sessions where user_id = %(id)s", ONLY_OWN),
    (
        """insert into sessions (id, user_id, secret_hash, expires_at)
        values (gen_random_uuid(), %(id)s, decode(repeat('00', 32), 'hex'), now())""",
        NEVER,
    ),
    ("update sessions set last_seen_at = now() where user_id = %(id)s", ONLY_OWN),
    ("update sessions set revoked_at = now() where user_id = %(id)s", ONLY_OWN),
    ("update sessions set expires_at = 'infinity' where user_id = %(id)s", NEVER),
    ("update sessions set user_id = %(id)s", NEVER),
    ("delete from sessions where user_id = %(id)s", NEVER),
    ("select from sign_in_attempts", NEVER),
    ("insert into sign_in_attempts values (decode(repeat('00', 32), 'hex'), 0, now())", NEVER),
    ("update sign_in_attempts set failures = 0", NEVER),
    ("delete from sign_in_attempts", NEVER),
    ("select from audit_logs where user_id = %(id)s", {**ONLY_OWN, "owner": 2}),
    ("insert into audit_logs (user_id, action) values (%(id)s, 'photo.added')", {**NEVER, "owner": 1}),
    ("insert into audit_logs (user_id, action) values (null, 'photo.added')", NEVER),
    ("update audit_logs set action = 'x' where user_id = %(id)s", NEVER),
    ("delete from audit_logs where user_id = %(id)s", NEVER),
]


@pytest.mark.parametrize("who", ["nobody", "system", "stranger", "owner"])
async def test_the_application_role_reaches_own_rows_only(
    database: Database, make_user: MakeUser, signed_in: SignedIn, who: str
) -> None:
    actor = {
        "nobody": Anonymous(),
        "system": SystemActor("sweep"),
        "stranger": await make_user(),
        "owner": UserActor(signed_in.user.id),
    }[who]
    found = {text: await _rows(database, actor, text, signed_in.user.id) for text, _ in STATEMENTS}
    assert found == {text: expected[who] for text, expected in STATEMENTS}


@pytest.mark.parametrize("table", ["users", "sessions", "audit_logs"])
async def test_a_forgotten_where_shows_nobody_else(
    database: Database, signed_in: SignedIn, table: str
) -> None:
    column = "id" if table == "users" else "user_id"
    for actor, expected in ((Anonymous(), set()), (UserActor(signed_in.user.id), {signed_in.user.id})):
        async with database.transaction(actor) as connection:
            cursor = await connection.execute(f"select {column} from {table}")
            assert {row[0] for row in await cursor.fetchall()} == expected


async def test_a_forgotten_where_changes_nobody_elses_session(
    accounts: AccountService, database: Database, make_user: MakeUser, signed_in: SignedIn
) -> None:
    async with database.transaction(await make_user()) as connection:
        await connection.execute("update sessions set revoked_at = now()")
    assert await accounts.authenticate_cookie(signed_in.secret) == signed_in.session


async def test_a_reused_connection_remembers_nobody(app_url: str, signed_in: SignedIn) -> None:
    single = Database(app_url, IDENTITY, max_size=1)
    await single.open()
    try:
        for _ in range(3):
            assert await _rows(single, UserActor(signed_in.user.id), "select from users", 0) == 1
            assert await _rows(single, Anonymous(), "select from users", 0) == 0
        async with single._pool.connection() as connection:
            cursor = await connection.execute("select from users")
            assert cursor.rowcount == 0
    finally:
        await single.close()


async def test_a_revoked_session_stays_revoked(
    accounts: AccountService, database: Database, signed_in: SignedIn
) -> None:
    await accounts.log_out(signed_in.session)
    async with database.transaction(UserActor(signed_in.user.id)) as connection:
        cursor = await connection.execute("update sessions set revoked_at = null")
        assert cursor.rowcount == 0


async def test_the_worker_reads_people_only_as_a_named_part_of_the_system(
    worker_database: Database, make_user: MakeUser, signed_in: SignedIn
) -> None:
    text = "select from users where id = %(id)s"
    for actor, expected in (
        (Anonymous(), 0),
        (await make_user(), 0),
        (UserActor(signed_in.user.id), 1),
        (SystemActor("sweep"), 1),
    ):
        assert await _rows(worker_database, actor, text, signed_in.user.id) == expected


@pytest.mark.parametrize(
    ("table", "column"), [("credentials", "password_hash"), ("sign_in_attempts", "key_hash")]
)
async def test_the_worker_never_reads_secrets(
    worker_database: Database, signed_in: SignedIn, table: str, column: str
) -> None:
    for actor in (SystemActor("sweep"), UserActor(signed_in.user.id)):
        assert await _rows(worker_database, actor, f"select {column} from {table}", 0) == DENIED


async def _rows(database: Database, actor: Actor, text: str, user_id: int) -> int | str:
    """Try a statement, and undo it."""
    try:
        async with database.transaction(actor) as connection, connection.transaction(force_rollback=True):
            cursor = await connection.execute(text, {"id": user_id})
            return cursor.rowcount
    except psycopg.errors.InsufficientPrivilege:
        return DENIED
