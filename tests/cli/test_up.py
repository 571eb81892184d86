"""`visiona up` where it cannot: it says why, and touches nothing."""

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from visiona.entrypoints.cli import supervisor


def up(**settings: str) -> tuple[int, str]:
    """(exit status, what it said)"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VISIONA_")}
    finished = subprocess.run(
        [sys.executable, "-m", "visiona", "up"],
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return finished.returncode, finished.stdout + finished.stderr


def test_a_folder_that_another_visiona_runs_on(tmp_path: Path) -> None:
    """On another port too: each would hand the other's jobs to a sandbox that knows nothing of them."""
    with (tmp_path / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, said = up(VISIONA_DATA_DIR=str(tmp_path), VISIONA_PORT="0")
    assert status == 2
    assert "already" in said
    assert [path.name for path in tmp_path.iterdir()] == ["up.lock"]


@pytest.mark.parametrize("name", ["file", "file/folder"])
def test_a_folder_that_cannot_be_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    status, said = up(VISIONA_DATA_DIR=str(tmp_path / name), VISIONA_PORT="0")
    assert status == 2
    assert "The folder for data cannot be used" in said
    assert "Traceback" not in said


def test_a_log_level_that_is_none(tmp_path: Path) -> None:
    status, said = up(VISIONA_DATA_DIR=str(tmp_path / "data"), VISIONA_LOG_LEVEL="loud")
    assert status == 2
    assert "VISIONA_LOG_LEVEL" in said
    assert not (tmp_path / "data").exists()


def test_the_payment_sandbox_keeps_its_port_while_it_is_free(tmp_path: Path) -> None:
    remembered = tmp_path / "sandbox" / "stripe.port"
    port = supervisor._kept_port(remembered)
    assert supervisor._kept_port(remembered) == port
    with socket.create_server(("127.0.0.1", port)):
        other = supervisor._kept_port(remembered)
    assert other != port
    remembered.write_text("no port")
    assert 0 < supervisor._kept_port(remembered) < 65536
