"""The server that comes with Visiona: on any path, for its owner alone, and after any crash."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
import pytest

from visiona.db.embedded import EmbeddedServerError, embedded_server


@pytest.fixture
def base() -> Generator[Path]:
    """Short, and not below a folder that is closed to a server that runs as somebody else."""
    with TemporaryDirectory(prefix="visiona-embedded-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def socket_of(url: str) -> Path:
    with psycopg.connect(url) as connection:
        folder = connection.execute("show unix_socket_directories").fetchone()
    assert folder is not None
    return Path(folder[0]) / ".s.PGSQL.5432"


def others_may(path: Path) -> int:
    """What everybody else may do to it, as permission bits."""
    return stat.S_IMODE(path.stat().st_mode) & 0o007


@pytest.mark.parametrize("name", ["plain", "with blanks & signs %41 #?", "größe-写真", "deep/" + "x" * 100])
def test_any_path_will_do_and_only_its_owner_gets_in(base: Path, name: str) -> None:
    folder = base / name / "postgres"
    base.chmod(0o700)
    with embedded_server(folder) as url:
        socket = socket_of(url)
        assert others_may(socket) == 0
        assert others_may(socket.parent) == 0
        assert others_may(folder) == 0
        assert others_may(base) in {0, stat.S_IXOTH}  # as root, the server has to find its way
    assert not (folder / "postmaster.pid").exists()


def test_it_stops_with_its_last_holder_though_another_crashed(base: Path) -> None:
    script = f"""
import time
from pathlib import Path
from visiona.db.embedded import embedded_server
with embedded_server(Path({str(base / "postgres")!r})):
    print("up", flush=True)
    time.sleep(60)
"""
    crashing = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert crashing.stdout is not None
    assert crashing.stdout.readline() == b"up\n"
    crashing.send_signal(signal.SIGKILL)
    crashing.wait()
    crashing.stdout.close()
    with embedded_server(base / "postgres") as url, psycopg.connect(url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert not (base / "postgres" / "postmaster.pid").exists()


def test_numbers_of_processes_that_are_somebody_elses_by_now(base: Path) -> None:
    """As after a restart of the machine, or of a container, where the same numbers come again."""
    folder = base / "postgres"
    with embedded_server(folder):
        note = (folder / "postmaster.pid").read_text()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (folder / "postmaster.pid").write_text(note.replace(note.partition("\n")[0], str(stranger.pid), 1))
        holders = folder / ".handle_pids.json"
        holders.write_text(json.dumps([stranger.pid]))
        an_hour_ago = time.time() - 3600
        os.utime(holders, (an_hour_ago, an_hour_ago))
        with embedded_server(folder) as url, psycopg.connect(url) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        assert not (folder / "postmaster.pid").exists()
        assert psutil.pid_exists(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()


def test_a_folder_that_is_none_is_explained(base: Path) -> None:
    (base / "file").write_text("in the way")
    with (
        pytest.raises(EmbeddedServerError, match="PostgreSQL cannot run in"),
        embedded_server(base / "file" / "pg"),
    ):
        pytest.fail("it runs")
