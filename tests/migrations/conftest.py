"""Servers of our own, whose databases are migrated as managed services allow it: without a superuser."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from visiona.db.embedded import embedded_server

POSTGRESQL_15 = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session", params=["embedded", "postgresql-15"])
def cluster(request: pytest.FixtureRequest) -> Generator[str]:
    """A fresh server's URL as superuser; `dba` may log in, make roles and databases, and no more."""
    with _server(request.param) as url:
        with psycopg.connect(url, autocommit=True) as superuser:
            superuser.execute("create role dba login createrole createdb password 'dba'")
        yield url


@pytest.fixture
def new_database(cluster: str) -> Callable[[], str]:
    """Each call makes an empty database that `dba` owns, and answers its URL as `dba`."""

    def create() -> str:
        name = f"visiona_{uuid.uuid4().hex}"
        with psycopg.connect(cluster, autocommit=True) as superuser:
            superuser.execute(f"create database {name} owner dba")
        return _url(cluster, name, "dba")

    return create


@pytest.fixture
def superuser_url(cluster: str) -> Callable[[str], str]:
    """The same database as superuser, to look at what was made."""
    return lambda url: _url(cluster, psycopg.conninfo.conninfo_to_dict(url)["dbname"], None)


def _url(cluster: str, database: object, user: str | None) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(cluster)
    name = user or parts["user"]
    return f"postgresql://{name}@/{database}?host={parts['host']}"


@contextmanager
def _server(kind: str) -> Iterator[str]:
    if kind == "embedded":
        with (
            tempfile.TemporaryDirectory(prefix="visiona-migrate-", ignore_cleanup_errors=True) as folder,
            embedded_server(Path(folder) / "postgres") as url,
        ):
            yield url
        return
    if not (POSTGRESQL_15 / "postgres").exists():
        pytest.skip(f"there is no PostgreSQL 15 at {POSTGRESQL_15}")
    with _system_server(POSTGRESQL_15) as url:
        yield url


@contextmanager
def _system_server(binaries: Path) -> Iterator[str]:
    """PostgreSQL refuses to run as root, so root runs it as somebody else."""
    folder = Path(tempfile.mkdtemp(prefix="visiona-pg15-"))
    user = _unprivileged_user() if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    server = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
        stderr=subprocess.DEVNULL,
        user=user,
        cwd=folder,
    )
    try:
        yield _answering(f"postgresql://postgres@/postgres?host={folder}", server)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _answering(url: str, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(make_conninfo(url, connect_timeout=2)).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return url
    pytest.fail("PostgreSQL did not start")
