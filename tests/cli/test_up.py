"""`visiona up`: from nothing, on what was left from before, and where it cannot."""

import fcntl
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.factories.keys import MASTER_KEY

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


@dataclass
class Running:
    """A `visiona up`; `said` is what it has printed until now."""

    process: subprocess.Popen[bytes]
    log: Path
    http: httpx.Client

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Running]:
    """From nothing but a folder, once it has greeted."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VISIONA_")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder.parent / f"up-{port}.log"
    given = {"VISIONA_DATA_DIR": str(folder), "VISIONA_PORT": str(port), "COLUMNS": "200"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "visiona", "up"],
            env=environment | given | settings,
            stdout=output,
            stderr=output,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            run = Running(process, log, http)
            deadline = time.monotonic() + 30
            while "Stop with Ctrl-C" not in run.said:
                assert process.poll() is None, run.said
                assert time.monotonic() < deadline, run.said
                time.sleep(0.1)
            yield run
    finally:
        process.terminate()
        process.wait(30)


def whose(up: Running, cookies: dict[str, str]) -> httpx.Response:
    """The account that a browser with these cookies is signed in to."""
    with httpx.Client(base_url=up.http.base_url, cookies=cookies) as browser:
        return browser.get("/api/auth/me")


@pytest.mark.timeout(150)
def test_from_nothing_to_logging_in_however_accounts_are_kept(tmp_path: Path) -> None:
    """On one folder, with passwords of our own and then with Clerk: nobody gets into another's account."""
    folder = tmp_path / "data"
    grace = {"email": "grace@example.com", "password": "correct horse battery staple"}
    with running(folder) as up:
        assert up.http.post("/api/auth/signup", json=grace).status_code == 201
        kept = dict(up.http.cookies)
        inbox = re.search(r"read them at (http://127\.0\.0\.1:\d+)", up.said)
        assert inbox
        deadline = time.monotonic() + 20
        while "grace@example.com" not in httpx.get(inbox[1]).text:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "Clerk" not in up.said
        assert up.stop() == 0

    with running(folder, VISIONA_IDENTITY="clerk") as up:
        assert "Clerk's accounts are simulated" in up.said
        assert "made with VISIONA_IDENTITY=builtin are kept" in up.said
        assert whose(up, kept).status_code == 401
        page = up.http.get("/login", follow_redirects=True)
        assert page.headers["x-visiona-sandbox"] == "clerk"
        assert up.http.post("/api/auth/login", json=grace).status_code == 401
        taken = up.http.post("/api/auth/signup", json=grace)
        assert (taken.status_code, taken.json()["code"]) == (409, "email_taken")
        assert "a password of its own here" in taken.json()["detail"]
        eileen = grace | {"email": "eileen@example.com"}
        assert up.http.post("/api/auth/signup", json=eileen).status_code == 201
        hosted = dict(up.http.cookies)
        assert up.http.get("/api/auth/me").json()["email"] == "eileen@example.com"
        assert up.stop() == 0

    with running(folder) as up:
        assert "made with VISIONA_IDENTITY=clerk are kept" in up.said
        assert whose(up, hosted).status_code == 401
        assert up.http.post("/api/auth/login", json=eileen).status_code == 401
        assert whose(up, kept).json()["email"] == "grace@example.com"
        assert up.http.post("/api/auth/login", json=grace).status_code == 200


@pytest.mark.parametrize(
    "address", [{"VISIONA_PUBLIC_URL": "https://visiona.example"}, {"VISIONA_HOST": "0.0.0.0"}]
)
def test_the_sandbox_of_clerk_is_for_this_machine(tmp_path: Path, address: dict[str, str]) -> None:
    """Browsers elsewhere could not reach its pages; nothing of it is left running."""
    status, said = up(
        VISIONA_DATA_DIR=str(tmp_path / "data"), VISIONA_PORT="0", VISIONA_IDENTITY="clerk", **address
    )
    assert status == 2
    assert "signs people in on this machine only" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("port", ["--clerk-port", "--mail-port"])
def test_no_sandbox_in_production(tmp_path: Path, port: str) -> None:
    """Whatever else is configured: the settings refuse its addresses, and the sandbox the environment."""
    settings = {
        "VISIONA_ENVIRONMENT": "production",
        "VISIONA_DATA_DIR": str(tmp_path),
        "VISIONA_SECRET_KEY": "a-secret-key-for-tests-that-is-long-enough",
        "VISIONA_MASTER_KEYS": MASTER_KEY,
        "VISIONA_PUBLIC_URL": "https://visiona.example",
        "VISIONA_SMTP_URL": "smtp://visiona:key@127.0.0.1:2525",
        "VISIONA_MAIL_FROM": "hello@visiona.example",
        "VISIONA_CLERK_SECRET_KEY": "sk_test_sandbox",
        "VISIONA_CLERK_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VISIONA_")}
    finished = subprocess.run(
        [sys.executable, "-m", "visiona", "sandbox", port, "0"],
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert finished.returncode == 2
    assert "never runs in production" in finished.stderr


def test_the_payment_sandbox_keeps_its_port_while_it_is_free(tmp_path: Path) -> None:
    remembered = tmp_path / "sandbox" / "stripe.port"
    port = supervisor._kept_port(remembered)
    assert supervisor._kept_port(remembered) == port
    with socket.create_server(("127.0.0.1", port)):
        other = supervisor._kept_port(remembered)
    assert other != port
    remembered.write_text("no port")
    assert 0 < supervisor._kept_port(remembered) < 65536
