"""A whole Visiona for journeys: web server, worker and sandbox as the processes that production runs.

The tests of a file share their `stack`: each brings people of its own, looks at their rows only, and leaves
the processes and the sandboxes as it found them. What must not, or cannot, asks for `own_stack`.
"""

import asyncio
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from tests.conftest import copied_database
from tests.factories import consents
from tests.factories.keys import MASTER_KEY
from tests.factories.ledger import STRAY, UNEVEN, UNSETTLED
from tests.factories.photos import phone_photos
from tests.factories.safety import EVERYBODY_SIGNS_UP

from visiona.bootstrap import prepare_database
from visiona.sandbox.clerk import publishable_key
from visiona.settings import read_settings

SECRET_KEY = "a-secret-key-for-tests-that-is-long-enough"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SANDBOX_AUTHORIZATION = {"Authorization": "Bearer r8_sandbox"}
STRIPE_WEBHOOK_SECRET = "whsec_stripe_sandbox_of_the_journeys"
STRIPE_AUTHORIZATION = {"Authorization": "Bearer sk_test_sandbox"}
CLERK_KEY = "sk_test_sandbox_of_the_journeys"
CLERK_AUTHORIZATION = {"Authorization": f"Bearer {CLERK_KEY}"}
MAIL_KEY = "key-of-the-inbox"
PASSWORD = "correct horse battery staple"

ROOT = Path(__file__).parents[2]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}

BUILTIN: dict[str, str] = {}
CLERK = {"VISIONA_IDENTITY": "clerk"}
both_identities = pytest.mark.parametrize("stack", [BUILTIN, CLERK], ids=["builtin", "clerk"], indirect=True)
"""For what must not depend on who keeps the accounts."""
builtin = pytest.mark.parametrize("stack", [BUILTIN], ids=["builtin"], indirect=True)
"""For what shares its stack with the former."""


@dataclass
class Stack:
    """Running processes, and how to hurt them."""

    url: str
    sandbox_url: str
    llm_url: str
    stripe_url: str
    inbox_url: str
    clerk_url: str
    owner_url: str
    data_dir: Path
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, command: str, *arguments: str, name: str = "") -> None:
        """`name` tells it from others of the same command."""
        name = name or command
        with (self.data_dir / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "visiona", command, *arguments],
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def run(self, *arguments: str) -> str:
        """One of the operator's commands, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "visiona", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    def kill(self, command: str) -> None:
        """As the kernel does when memory runs out."""
        process = self.processes.pop(command)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def faults(self, *faults: dict[str, Any]) -> None:
        """See `visiona.sandbox.replicate.faults` for what there is."""
        url = f"{self.sandbox_url}/_sandbox/faults"
        httpx.post(url, json=faults, headers=SANDBOX_AUTHORIZATION).raise_for_status()

    def sandbox_state(self) -> dict[str, Any]:
        url = f"{self.sandbox_url}/_sandbox/state"
        return httpx.get(url, headers=SANDBOX_AUTHORIZATION).raise_for_status().json()

    def stripe_faults(self, *faults: dict[str, Any]) -> None:
        """See `visiona.sandbox.stripe.faults` for what there is."""
        self.stripe_control("faults", list(faults))

    def stripe_control(self, path: str, json: Any = None) -> Any:
        """`POST /_sandbox/{path}` at the payment sandbox; answers what it says, None for nothing."""
        url = f"{self.stripe_url}/_sandbox/{path}"
        answer = httpx.post(url, json=json, headers=STRIPE_AUTHORIZATION, timeout=60).raise_for_status()
        return answer.json() if answer.content else None

    def stripe_state(self) -> dict[str, Any]:
        url = f"{self.stripe_url}/_sandbox/state"
        return httpx.get(url, headers=STRIPE_AUTHORIZATION, timeout=60).raise_for_status().json()

    def mails(self, to: str) -> list[dict[str, Any]]:
        """What was sent to this address, newest first: `subject`, `text`, `links` and more."""
        url = f"{self.inbox_url}/_sandbox/messages"
        headers = {"Authorization": f"Bearer {MAIL_KEY}"}
        return httpx.get(url, params={"to": to}, headers=headers).raise_for_status().json()

    @property
    def hosted(self) -> bool:
        """Whether the accounts are Clerk's."""
        return bool(self.clerk_url)

    def start_clerk(self) -> None:
        """Clerk's sandbox is a process of its own, so that it can be away."""
        self.start("sandbox", "--clerk-port", str(urlsplit(self.clerk_url).port), name="clerk")
        wait_until(lambda: answers(self.clerk_url), 30)

    def clerk(self, path: str, method: str = "POST", json: Any = None) -> Any:
        """Ask Clerk's sandbox with its key: `/v1/...` of its Backend API, or `/_sandbox/...`. Answers what
        it says, None for nothing.
        """
        url = self.clerk_url + path
        answer = httpx.request(method, url, json=json, headers=CLERK_AUTHORIZATION, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Behind row-level security, as the database's superuser."""
        with psycopg.connect(self.owner_url) as connection:
            return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type] # test SQL

    def assert_ledger_holds(self) -> None:
        """Quotas are what their entries sum up to, and all work that is over was settled exactly once."""
        with psycopg.connect(self.owner_url) as connection:
            for query in (UNEVEN, STRAY, UNSETTLED):
                assert connection.execute(query, {"user": None}).fetchall() == []

    def object_keys(self) -> set[str]:
        root = self.data_dir / "objects"
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    def log(self, command: str) -> str:
        return (self.data_dir / f"{command}.log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def running_stack(owner_url: str, data_dir: Path, **settings: str) -> Generator[Stack]:
    """A stack on this database, serving; `settings` are further `VISIONA_…` variables. With billing off
    there is no Stripe, and Clerk only where it keeps the accounts.
    """
    port, replicate_port, llm_port, stripe_port, mail_port, clerk_port = (free_port() for _ in range(6))
    sells = settings.get("VISIONA_BILLING") != "off"
    stripe_settings = {
        "VISIONA_STRIPE_API_KEY": "sk_test_sandbox",
        "VISIONA_STRIPE_BASE_URL": f"http://127.0.0.1:{stripe_port}",
        "VISIONA_STRIPE_WEBHOOK_SECRET": STRIPE_WEBHOOK_SECRET,
    }
    hosted = settings.get("VISIONA_IDENTITY") == "clerk"
    clerk_url = f"http://127.0.0.1:{clerk_port}"
    clerk_settings = {
        "VISIONA_CLERK_SECRET_KEY": CLERK_KEY,
        "VISIONA_CLERK_PUBLISHABLE_KEY": publishable_key(clerk_url),
        "VISIONA_CLERK_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "VISIONA_CLERK_BASE_URL": f"{clerk_url}/v1",
    }
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("VISIONA_")},
        "VISIONA_PORT": str(port),
        "VISIONA_DATA_DIR": str(data_dir),
        "VISIONA_SECRET_KEY": SECRET_KEY,
        "VISIONA_LIMITS": ", ".join(EVERYBODY_SIGNS_UP),
        "VISIONA_MASTER_KEYS": MASTER_KEY,
        "VISIONA_DATABASE_URL": owner_url,
        "VISIONA_REPLICATE_API_TOKEN": "r8_sandbox",
        "VISIONA_REPLICATE_BASE_URL": f"http://127.0.0.1:{replicate_port}/v1",
        "VISIONA_REPLICATE_DELIVERY_HOSTS": f"127.0.0.1:{replicate_port}",
        "VISIONA_REPLICATE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "VISIONA_OPENAI_API_KEY": "sk-sandbox",
        "VISIONA_OPENAI_BASE_URL": f"http://127.0.0.1:{llm_port}/v1",
        "VISIONA_ANTHROPIC_API_KEY": "sk-ant-sandbox",
        "VISIONA_ANTHROPIC_BASE_URL": f"http://127.0.0.1:{llm_port}",
        "VISIONA_SANDBOX_TRAINING_SECONDS": "1.5",
        "VISIONA_SANDBOX_GENERATION_SECONDS": "0.5",
        "VISIONA_SMTP_URL": f"smtp://visiona:{MAIL_KEY}@127.0.0.1:{free_port()}",
        "VISIONA_MAIL_FROM": "Visiona <visiona@sandbox.invalid>",
        "VISIONA_SANDBOX_INBOX_URL": f"http://127.0.0.1:{mail_port}",
        **(stripe_settings if sells else {}),
        **(clerk_settings if hosted else {}),
        **settings,
    }
    stack = Stack(
        url=f"http://127.0.0.1:{port}",
        sandbox_url=f"http://127.0.0.1:{replicate_port}",
        llm_url=f"http://127.0.0.1:{llm_port}",
        stripe_url=f"http://127.0.0.1:{stripe_port}" if sells else "",
        inbox_url=f"http://127.0.0.1:{mail_port}",
        clerk_url=clerk_url if hosted else "",
        owner_url=owner_url,
        data_dir=data_dir,
        environment=environment,
    )
    try:
        ports = {"--replicate-port": replicate_port, "--llm-port": llm_port, "--mail-port": mail_port}
        if sells:
            ports["--stripe-port"] = stripe_port
        stack.start("sandbox", *(str(part) for option in ports.items() for part in option))
        _prepare(environment)
        if hosted:
            stack.start_clerk()
        stack.start("serve")
        stack.start("worker")
        wait_until(lambda: _serves(stack), 60)
        yield stack
    finally:
        stack.stop()


def _prepare(environment: Mapping[str, str]) -> None:
    """Do what `visiona migrate` does, without starting Python once more."""
    with ThreadPoolExecutor(1) as thread:  # the browser may have its loop in this one
        thread.submit(asyncio.run, prepare_database(read_settings(environment))).result()


def _serves(stack: Stack) -> bool:
    for command, process in stack.processes.items():
        if process.poll() is not None:
            pytest.fail(f"{command} did not start:\n{stack.log(command)[-3000:]}")
    urls = (f"{stack.url}/readyz", stack.sandbox_url, stack.stripe_url, stack.inbox_url)
    return all(answers(url) for url in urls if url)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], Any], timeout_s: float, interval_s: float = 0.1) -> Any:
    """The first true answer of `condition`; fails the test when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(interval_s)
    pytest.fail(f"nothing true within {timeout_s} s")


@pytest.fixture(scope="module")
def stack(
    postgres: str,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Generator[Stack]:
    """The file's stack. Parametrize indirectly with a dict of further settings."""
    with (
        copied_database(postgres, migrated_template) as url,
        running_stack(url, tmp_path_factory.mktemp("stack"), **getattr(request, "param", {})) as running,
    ):
        yield running


@pytest.fixture
def own_stack(own_database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Generator[Stack]:
    """A stack for this test alone, parametrized like the file's."""
    with running_stack(own_database_url, tmp_path, **getattr(request, "param", {})) as running:
        yield running


@pytest.fixture(scope="session")
def grace(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A dozen photos of one person, as phones make them."""
    return phone_photos("grace", 12, folder=tmp_path_factory.mktemp("grace"))


@pytest.fixture(scope="session")
def eileen(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return phone_photos("eileen", 12, folder=tmp_path_factory.mktemp("eileen"))


class Person:
    """Somebody with an account who uses the API over plain HTTP."""

    def __init__(self, stack: Stack, email: str) -> None:
        self.stack = stack
        self.email = email
        self.http = httpx.Client(base_url=stack.url, timeout=60)
        answer = self.http.post("/api/auth/signup", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        self.http.cookies.clear()  # the token alone from here on
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        consents.give(self.http)

    def upload(self, photos: list[Path]) -> dict[str, Any]:
        files = [("photos", (path.name, path.read_bytes())) for path in photos]
        answer = self.http.post("/api/photos/upload", files=files)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def train(self, trigger_word: str = "TOK", **body: Any) -> dict[str, Any]:
        answer = self.http.post("/api/models/train", json={"trigger_word": trigger_word, **body})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def model(self, model_id: int) -> dict[str, Any]:
        return self.http.get("/api/models/status", params={"model_id": model_id}).raise_for_status().json()

    def trained(self, model_id: int, timeout_s: float = 60) -> dict[str, Any]:
        """The model once its training has ended."""
        return wait_until(lambda: (m := self.model(model_id))["status"] != "Processing" and m, timeout_s)

    def ready_clone(self, photos: list[Path]) -> int:
        self.upload(photos)
        model = self.trained(self.train()["id"])
        assert model["status"] == "Ready", model
        return model["id"]

    def generate(self, model_id: int, prompt: str = "TOK on a beach", **body: Any) -> dict[str, Any]:
        """Small pictures, which are painted, marked and sealed in a quarter of the time."""
        whole = {"model_id": model_id, "prompt": prompt, "megapixels": "0.25", **body}
        answer = self.http.post("/api/generate", json=whole)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def run(self, run_id: int) -> dict[str, Any]:
        return self.http.get(f"/api/generate/{run_id}").raise_for_status().json()

    def finished(self, run_id: int, timeout_s: float = 60) -> dict[str, Any]:
        """The run once it has ended."""
        terminal = {"succeeded", "failed", "canceled"}
        return wait_until(lambda: (r := self.run(run_id))["status"] in terminal and r, timeout_s)

    def gallery(self, **params: Any) -> list[dict[str, Any]]:
        """All images, page by page."""
        items: list[dict[str, Any]] = []
        cursor = None
        while True:
            query = {**params, **({"cursor": cursor} if cursor else {})}
            page = self.http.get("/api/gallery", params=query).raise_for_status().json()
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items

    def quota(self) -> dict[str, Any]:
        return self.http.get("/api/auth/me").raise_for_status().json()["quota"]

    def close(self) -> None:
        self.http.close()


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    executable = runpy.run_path(str(ROOT / "scripts" / "find_browser.py"))["find"]()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield chromium
        chromium.close()


def new_page(browser: Browser, stack: Stack, complaints: list[str], **options: object) -> Page:
    """A fresh visitor; what the browser complains about is noted."""
    # What moves for its looks alone would be painted all the while that something is waited for.
    wanted: dict[str, Any] = {"base_url": stack.url, "reduced_motion": "reduce", **options}
    context: BrowserContext = browser.new_context(**wanted)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    return page


def sign_up(page: Page, stack: Stack, email: str) -> None:
    """From the landing page to the studio, as somebody new; at Clerk, that leads over its own pages."""
    page.goto(stack.url)
    page.get_by_test_id("cta").first.click()
    if stack.hosted:
        page.get_by_test_id("sign-up-email").fill(email)
        page.get_by_test_id("sign-up-password").fill(PASSWORD)
        page.get_by_test_id("sign-up-legal").check()
        page.get_by_test_id("sign-up-submit").click()
        page.get_by_test_id("verify-code").fill(page.get_by_test_id("sandbox-code").inner_text())
        page.get_by_test_id("verify-submit").click()
    else:
        page.get_by_test_id("email").fill(email)
        page.get_by_test_id("password").fill(PASSWORD)
        page.get_by_test_id("submit").click()
    page.wait_for_url(f"{stack.url}/studio")


def consent(page: Page, name: str = "Grace Hopper") -> None:
    """Read and sign, as the studio asks before the first photo; back in the studio after."""
    page.get_by_test_id("consent-first").click()
    page.get_by_test_id("consent-adult").check()
    page.get_by_test_id("consent-agreed").check()
    page.get_by_test_id("consent-name").fill(name)
    page.get_by_test_id("consent-sign").click()
    page.wait_for_url("**/studio")


def assert_log_in_page(page: Page, stack: Stack) -> None:
    """Where somebody who is not signed in is led."""
    page.wait_for_url(f"{stack.clerk_url}/sign-in**" if stack.hosted else f"{stack.url}/login**")


def screenshot(page: Page, name: str, *, whole: bool = False) -> None:
    """Pictures of each step, for a person to look at who has asked for them by `VISIONA_TEST_PICTURES`;
    `whole` shows the page to its end.
    """
    if not os.environ.get("VISIONA_TEST_PICTURES"):
        return
    folder = ROOT / "test-results"
    folder.mkdir(exist_ok=True)
    seen = page.viewport_size
    if whole and seen:
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": seen["width"], "height": height})
    page.wait_for_timeout(600)  # what fades in has faded in
    page.screenshot(path=folder / f"{name}.png")
    if whole and seen:
        page.set_viewport_size(seen)


NewPerson = Callable[[Stack, str], Person]


@pytest.fixture
def new_person() -> Iterator[NewPerson]:
    people: list[Person] = []

    def make(stack: Stack, email: str) -> Person:
        people.append(Person(stack, email))
        return people[-1]

    yield make
    for person in people:
        person.close()
