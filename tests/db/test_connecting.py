"""While a role's password is changed, processes with the old one and with the new one connect alike."""

import tempfile
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection

from visiona.db.connecting import trying
from visiona.db.embedded import embedded_server


@pytest.fixture(scope="module")
def guarded() -> Generator[str]:
    """A server that asks `visiona_someone` for a password; the URL of its superuser."""
    with tempfile.TemporaryDirectory(prefix="visiona-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name) / "postgres"
        with embedded_server(folder) as url:
            with psycopg.connect(url, autocommit=True) as superuser:
                superuser.execute("create role visiona_someone login password 'first'")
                rules = folder / "pg_hba.conf"
                rules.write_text("local all visiona_someone scram-sha-256\n" + rules.read_text())
                superuser.execute("select pg_reload_conf()")
            yield url


async def connects(url: str, password: str, *others: str) -> bool:
    kind = trying(AsyncConnection, others)
    conninfo = psycopg.conninfo.make_conninfo(url, user="visiona_someone", password=password)
    try:
        async with await kind.connect(conninfo, autocommit=True) as connection:
            assert isinstance(connection, kind)
            assert connection.autocommit
            await connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


async def test_the_other_password_is_tried_where_ones_own_is_refused(guarded: str) -> None:
    assert await connects(guarded, "first")
    for own, *others in (("first", "second"), ("second", "first"), ("third", "second", "first")):
        assert await connects(guarded, own, *others)
    assert not await connects(guarded, "second")
    assert not await connects(guarded, "second", "third")
    with psycopg.connect(guarded, autocommit=True) as superuser:
        superuser.execute("alter role visiona_someone password 'second'")
    assert await connects(guarded, "first", "second")
    assert await connects(guarded, "second", "first")
    assert not await connects(guarded, "first")


async def test_a_server_that_is_not_there_is_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    connect = AsyncConnection.connect.__func__

    async def counted(cls: type[AsyncConnection], conninfo: str = "", **options: object) -> AsyncConnection:
        asked.append(conninfo)
        return await connect(cls, conninfo, **options)

    monkeypatch.setattr(AsyncConnection, "connect", classmethod(counted))
    with pytest.raises(psycopg.OperationalError):
        await trying(AsyncConnection, ["second"]).connect("postgresql://nobody:x@127.0.0.1:1/none")
    assert len(asked) == 1
