"""A Visiona of the benchmark's own: a database, and the processes that production runs."""

import asyncio
import uuid
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import httpx
import psutil
import psycopg
from tests.factories import consents

from benchmarks.processes import (
    TookTooLong,
    answers,
    free_port,
    plain_environment,
    python,
    running,
    wait_until,
)
from visiona.bootstrap import prepare_database
from visiona.db.embedded import embedded_server
from visiona.settings import read_settings

SECRET_KEY = "a-secret-key-for-benchmarks-that-is-long-enough"
MASTER_KEY = "YmVuY2htYXJrcyBtZWFzdXJlIHdpdGggdGhpcyBrZXk="
REPLICATE_TOKEN = "r8_sandbox"
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class Postgres:
    """The embedded server, with its production settings (fsync and all)."""

    url: str
    version: str
    process: psutil.Process


@contextmanager
def postgres_server(folder: Path) -> Generator[Postgres]:
    with embedded_server(folder) as url:
        with psycopg.connect(url) as connection:
            version = connection.info.parameter_status("server_version") or "?"
        yield Postgres(url, version.partition(" ")[0], postmaster(folder))


def postmaster(folder: Path) -> psutil.Process:
    """The server that has this data folder open."""
    first_line = (folder / "postmaster.pid").read_text(encoding="utf-8").partition("\n")[0]
    return psutil.Process(int(first_line))


@contextmanager
def database(server: Postgres) -> Generator[str]:
    """An empty database for the length of the block; yields the owner's URL."""
    name = f"bench_{uuid.uuid4().hex}"
    url = urlunsplit(urlsplit(server.url)._replace(path=f"/{name}"))
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        try:
            yield url
        finally:
            connection.execute(f"drop database {name} with (force)")


@dataclass(slots=True)
class Stack:
    """`owner_url` sees every row; `environment` is what the processes were told."""

    port: int
    sandbox_port: int
    owner_url: str
    folder: Path
    environment: Mapping[str, str]
    processes: dict[str, psutil.Popen] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox(self) -> httpx.Client:
        """A client of the sandbox's own controls."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.sandbox_port}",
            headers={"Authorization": f"Bearer {REPLICATE_TOKEN}"},
            trust_env=False,
        )


@contextmanager
def visiona(server: Postgres, folder: Path, *commands: str, **settings: str) -> Generator[Stack]:
    """`commands` out of `sandbox`, `serve` and `worker`, ready; `settings` are `VISIONA_…` variables.

    Nothing is sold unless they say so: everybody may do what the largest plan allows.
    """
    with database(server) as owner_url, ExitStack() as processes:
        stack = _configured(owner_url, folder, settings)
        asyncio.run(prepare_database(read_settings(stack.environment)))
        for command in commands:
            port = ("--replicate-port", str(stack.sandbox_port)) if command == "sandbox" else ()
            line = python("-m", "visiona", command, *port, "--supervised")
            log = folder / f"{command}.log"
            stack.processes[command] = processes.enter_context(running(line, stack.environment, log))
        if "sandbox" in commands:
            wait_until(lambda: _ready(stack, "sandbox", stack.sandbox_port, "/"))
        if "serve" in commands:
            wait_until(lambda: _ready(stack, "serve", stack.port, "/readyz"))
        yield stack


def _ready(stack: Stack, command: str, port: int, path: str) -> bool:
    if stack.processes[command].poll() is not None:
        log = (stack.folder / f"{command}.log").read_text(encoding="utf-8", errors="replace")
        raise TookTooLong(f"visiona {command} ended:\n{log[-2000:]}")
    return answers(port, path)


def _configured(owner_url: str, folder: Path, settings: Mapping[str, str]) -> Stack:
    port, sandbox_port = free_port(), free_port()
    environment = {
        **plain_environment(),
        "VISIONA_PORT": str(port),
        "VISIONA_DATA_DIR": str(folder),
        "VISIONA_SECRET_KEY": SECRET_KEY,
        "VISIONA_LIMITS": "signup.address=off, upload.person=off, upload.address=off, generation.person=off, "
        "generation.address=off",
        "VISIONA_DAILY_COST_CAP": "none",
        "VISIONA_DAILY_COST_CAP_PER_PERSON": "none",
        "VISIONA_MASTER_KEYS": MASTER_KEY,
        "VISIONA_DATABASE_URL": owner_url,
        "VISIONA_REPLICATE_API_TOKEN": REPLICATE_TOKEN,
        "VISIONA_REPLICATE_BASE_URL": f"http://127.0.0.1:{sandbox_port}/v1",
        "VISIONA_REPLICATE_DELIVERY_HOSTS": f"127.0.0.1:{sandbox_port}",
        "VISIONA_REPLICATE_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "VISIONA_BILLING": "off",
        **settings,
    }
    return Stack(port, sandbox_port, owner_url, folder, environment)


class Person:
    """Somebody with an account, over plain HTTP."""

    def __init__(self, stack: Stack, email: str) -> None:
        self.http = httpx.Client(base_url=stack.url, timeout=120, trust_env=False)
        signed_up = self.http.post("/api/auth/signup", json={"email": email, "password": PASSWORD})
        answer: dict[str, Any] = signed_up.raise_for_status().json()
        self.id: int = answer["user"]["id"]
        self.token: str = answer["access_token"]
        self.http.cookies.clear()  # the token alone from here on
        self.http.headers["Authorization"] = f"Bearer {self.token}"
        consents.give(self.http)  # no photo is taken in without

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
