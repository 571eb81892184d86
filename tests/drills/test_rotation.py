"""Master key, secret key and database passwords are rotated under load, and nobody is turned away."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest
from tests.journeys.conftest import PASSWORD, SECRET_KEY, Stack, free_port, running_stack, wait_until

from visiona.adapters.master_keys import LocalMasterKey, new_master_key
from visiona.bootstrap import open_vault
from visiona.core.clock import SystemClock
from visiona.db.embedded import embedded_server
from visiona.settings import read_settings

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]

REQUESTS_PER_S = 50
PEOPLE = 20
MORE_KEYS = 4000
NEW_SECRET = "another-secret-key-for-drills-that-is-long-enough"


@dataclass
class Fleet:
    """Two web servers and a worker, and a balancer that sends nobody to a server that is being restarted."""

    stack: Stack
    ports: list[int]
    up: list[int] = field(default_factory=list)
    busy: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, port: int) -> None:
        environment = self.stack.environment | {"VISIONA_PORT": str(port)}
        with (self.stack.data_dir / f"serve-{port}.log").open("ab") as log:
            self.stack.processes[f"serve-{port}"] = subprocess.Popen(
                [sys.executable, "-m", "visiona", "serve"], env=environment, stdout=log, stderr=log
            )
        wait_until(lambda: _answers(port), 60)
        self.up.append(port)

    def restart(self, **settings: str) -> None:
        """One by one, with these settings from here on."""
        self.stack.environment |= settings
        for port in self.ports:
            if port in self.up:
                with self.lock:
                    self.up.remove(port)
                wait_until(lambda port=port: not self.busy[port], 30, 0.01)
                self._stop(f"serve-{port}")
            self.start(port)
        self._stop("worker")
        self.stack.start("worker")

    def _stop(self, name: str) -> None:
        process = self.stack.processes.pop(name)
        process.terminate()
        process.wait(40)

    @contextmanager
    def chosen(self, turn: int) -> Generator[int]:
        with self.lock:
            port = self.up[turn % len(self.up)]
            self.busy[port] += 1
        try:
            yield port
        finally:
            with self.lock:
                self.busy[port] -= 1


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@dataclass
class Load:
    """Requests at a steady pace, by people with their browser's cookie; `failures` did not work."""

    fleet: Fleet
    cookies: list[str]
    done: int = 0
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Generator[None]:
        stop = threading.Event()
        began = time.monotonic()

        def ask(worker: int, workers: int) -> None:
            with httpx.Client(timeout=20) as http:
                for turn in range(worker, 10**9, workers):
                    delay = began + turn / REQUESTS_PER_S - time.monotonic()
                    if stop.wait(max(0.0, delay)):
                        return
                    self._ask(http, turn)

        threads = [threading.Thread(target=ask, args=(number, 10)) for number in range(10)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _ask(self, http: httpx.Client, turn: int) -> None:
        path = ("/api/auth/me", "/api/photos", "/api/models", "/account")[turn % 4]
        try:
            with self.fleet.chosen(turn) as port:
                headers = {"Cookie": self.cookies[turn % len(self.cookies)]}
                answer = http.get(f"http://127.0.0.1:{port}{path}", headers=headers)
            if answer.status_code != 200:
                self.failures.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        except httpx.TransportError as error:
            self.failures.append(f"{path}: {error!r}")
        self.done += 1


@pytest.fixture
def fleet() -> Generator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="visiona-drill-", ignore_cleanup_errors=True) as name:
        postgres, data = Path(name) / "postgres", Path(name) / "data"
        data.mkdir()
        with embedded_server(postgres) as url:
            with psycopg.connect(url, autocommit=True) as superuser:
                rules = postgres / "pg_hba.conf"
                asked = "local all visiona_app,visiona_worker scram-sha-256\n"
                rules.write_text(asked + rules.read_text())
                superuser.execute("select pg_reload_conf()")
            # Tokens name it, and are good at either server.
            with running_stack(url, data, VISIONA_PUBLIC_URL="http://127.0.0.1:8000") as stack:
                fleet = Fleet(stack, [free_port(), free_port()])
                fleet.restart()
                yield fleet


def sign_up(url: str, number: int) -> tuple[str, str]:
    """The browser's cookie, and an access token."""
    person = {"email": f"person{number}@example.com", "password": PASSWORD}
    answer = httpx.post(f"{url}/api/auth/signup", json=person, timeout=30).raise_for_status()
    return answer.headers["set-cookie"].partition(";")[0], answer.json()["access_token"]


def vault(stack: Stack, *arguments: str) -> tuple[int, str]:
    finished = subprocess.run(
        [sys.executable, "-m", "visiona", "vault", *arguments],
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return finished.returncode, finished.stdout + finished.stderr


async def make_keys(stack: Stack) -> None:
    """Of people who come one day, so that there is something to rotate."""
    keys = open_vault(
        read_settings({k: v for k, v in stack.environment.items() if k.startswith("VISIONA_")}), SystemClock()
    )
    for number in range(0, MORE_KEYS, 50):
        await asyncio.gather(*(keys.create(10**6 + number + step) for step in range(50)))
    await keys.aclose()


def test_keys_are_rotated_under_load_and_nobody_is_turned_away(fleet: Fleet) -> None:
    stack = fleet.stack
    signed_up = [sign_up(stack.url, number) for number in range(PEOPLE)]
    asyncio.run(make_keys(stack))
    old, new = stack.environment["VISIONA_MASTER_KEYS"], new_master_key()
    load = Load(fleet, [cookie for cookie, _ in signed_up])
    with load.running():
        fleet.restart(VISIONA_MASTER_KEYS=f"{old},{new}")
        fleet.restart(VISIONA_MASTER_KEYS=f"{new},{old}")
        killed = subprocess.Popen([sys.executable, "-m", "visiona", "vault", "rotate"], env=stack.environment)
        wait_until(lambda: _wrapped(stack, old)[1], 60, 0.02)
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
        by_old, by_new = _wrapped(stack, old)
        assert by_old
        assert by_new
        status, said = vault(stack, "rotate")
        assert status == 0, said
        assert "0 by others" in said
        fleet.restart(VISIONA_MASTER_KEYS=new)
        stack.environment["VISIONA_MASTER_KEYS"] = old
        assert vault(stack, "check")[0] == 1
        stack.environment["VISIONA_MASTER_KEYS"] = new
        assert vault(stack, "check")[0] == 0

        token = {"Authorization": f"Bearer {signed_up[0][1]}"}
        fleet.restart(VISIONA_SECRET_KEY_OLD=NEW_SECRET)
        stack.environment |= {"VISIONA_SECRET_KEY": NEW_SECRET, "VISIONA_SECRET_KEY_OLD": SECRET_KEY}
        stack.run("migrate")
        _end_idle_connections(stack)  # what comes after has to log in again, with the new password
        fleet.restart()
        mine = f"http://127.0.0.1:{fleet.ports[0]}/api/auth/me"
        assert httpx.get(mine, headers=token).status_code == 200
        fleet.restart(VISIONA_SECRET_KEY_OLD="")
        assert httpx.get(mine, headers=token).status_code == 401
    assert load.failures == []
    print(f"{load.done} requests, none failed")
    assert load.done > 1000


def _wrapped(stack: Stack, old: str) -> tuple[int, int]:
    """How many keys the old master key has wrapped, and how many others."""
    name = LocalMasterKey(old).name
    files = [path.read_text() for path in (stack.data_dir / "keys").glob("u1*.json")]
    by_old = sum(name in text for text in files)
    return by_old, len(files) - by_old


def _end_idle_connections(stack: Stack) -> None:
    """As a database does that is restarted, or an administrator."""
    with psycopg.connect(stack.owner_url, autocommit=True) as superuser:
        superuser.execute(
            """select pg_terminate_backend(pid) from pg_stat_activity
               where usename = 'visiona_app' and state = 'idle' and query not like 'listen%'
                 and state_change < now() - interval '2 seconds'"""
        )
