"""From one owner URL to those of the other roles."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from visiona.db.roles import APP_ROLE, WORKER_ROLE, derived_password, password_in, url_for_role

SECRET = b"a secret of at least thirty-two bytes"


@pytest.mark.parametrize(
    ("owner_url", "expected"),
    [
        ("postgresql://postgres:pw@db.example.com:5432/v", "visiona_app:new@db.example.com:5432/v"),
        ("postgresql://postgres@db.example.com/visiona", "visiona_app:new@db.example.com/visiona"),
        ("postgresql://db.example.com/visiona", "visiona_app:new@db.example.com/visiona"),
        ("postgresql://o:p@db/v?sslmode=verify-full&sslrootcert=/ca.pem",
         "visiona_app:new@db/v?sslmode=verify-full&sslrootcert=/ca.pem"),
        # A password with every character that could end it early.
        ("postgresql://o:p%40%3A%2F%3F%23@db:5432/v", "visiona_app:new@db:5432/v"),
        # A transaction pooler finds the project by the suffix of the user's name.
        ("postgresql://postgres.abcdefgh:pw@aws-0-eu.pooler.supabase.com:6543/postgres",
         "visiona_app.abcdefgh:new@aws-0-eu.pooler.supabase.com:6543/postgres"),
        ("postgresql://aws-0-eu.pooler.supabase.com/postgres?user=postgres.abcdefgh&password=pw",
         "visiona_app.abcdefgh:new@aws-0-eu.pooler.supabase.com/postgres"),
        # Unix sockets, as a parameter or as an escaped host.
        ("postgresql://postgres:@/postgres?host=/tmp/a%20b", "visiona_app:new@/postgres?host=/tmp/a%20b"),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/v", "visiona_app:new@%2Fvar%2Frun%2Fpostgresql/v"),
        ("postgresql://postgres:pw@[2001:db8::1]:5432/v", "visiona_app:new@[2001:db8::1]:5432/v"),
        ("postgresql://o:p@h1:5432,h2:5433/v?target_session_attrs=read-write",
         "visiona_app:new@h1:5432,h2:5433/v?target_session_attrs=read-write"),
        # libpq reads a plus sign as itself.
        ("postgresql://o@db/v?options=-c%20work_mem%3D1MB&application_name=a+b",
         "visiona_app:new@db/v?options=-c%20work_mem%3D1MB&application_name=a+b"),
    ],
)  # fmt: skip
def test_only_user_and_password_change(owner_url: str, expected: str) -> None:
    url = url_for_role(owner_url, APP_ROLE, "new")
    assert url == f"postgresql://{expected}"
    before, after = conninfo_to_dict(owner_url), conninfo_to_dict(url)
    assert after.pop("user").partition(".")[0] == APP_ROLE
    assert after.pop("password") == "new"
    assert after == {name: value for name, value in before.items() if name not in {"user", "password"}}


@pytest.mark.parametrize("password", ["p@:/?#[]%&=+ ü", derived_password(SECRET, APP_ROLE)])
def test_a_password_survives_its_url(password: str) -> None:
    url = url_for_role("postgresql://o:p@[::1]:5432/v?sslmode=require", APP_ROLE, password)
    assert conninfo_to_dict(url)["password"] == password
    assert password_in(url) == password


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://o:p%40@db/v", "p@"),
        ("postgresql://db/v?password=p%40", "p@"),
        ("postgresql://o:@db/v", ""),
        ("postgresql://o@db/v", ""),
    ],
)
def test_the_password_in_a_url_is_found(url: str, password: str) -> None:
    assert password_in(url) == password


def test_derived_passwords_differ_by_role_and_secret() -> None:
    passwords = {
        derived_password(secret, role)
        for secret in (SECRET, SECRET + b".")
        for role in (APP_ROLE, WORKER_ROLE)
    }
    assert len(passwords) == 4
    assert min(map(len, passwords)) == 43
    assert derived_password(SECRET, APP_ROLE) in passwords


@pytest.mark.parametrize("role", [APP_ROLE, WORKER_ROLE])
async def test_the_url_opens_the_same_database_as_the_role(owner_url: str, role: str) -> None:
    url = url_for_role(owner_url, role, "any")
    async with (
        await psycopg.AsyncConnection.connect(owner_url) as owner,
        await psycopg.AsyncConnection.connect(url) as connection,
    ):
        cursor = await connection.execute("select current_user, current_database()")
        assert await cursor.fetchone() == (role, owner.info.dbname)
