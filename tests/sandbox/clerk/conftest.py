"""A real sandbox on a loopback port, the official clients, browsers, and a receiver of webhooks.

Every answer of the Backend API that a client gets and every webhook is validated against Clerk's own
published OpenAPI documents, where they are at hand: in `VISIONA_CONTRACTS_DIR`, or beside the repository
in `shared/contracts`. They belong to the provider and are not part of the repository.
"""

import html
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jsonschema
import pytest
import uvicorn
import yaml
from clerk_backend_api import Clerk
from clerk_backend_api.utils import BackoffStrategy, RetryConfig
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from visiona.sandbox.clerk import ClerkSandboxConfig, create_app

KEY = "sk_test_sandbox0000000000"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PASSWORD = "correct horse battery"
NO_RETRIES = RetryConfig("none", BackoffStrategy(1, 1, 1.0, 1), retry_connection_errors=False)

_REPOSITORY = Path(__file__).parents[3]
_CONTRACTS = Path(os.environ.get("VISIONA_CONTRACTS_DIR", _REPOSITORY.parent / "shared" / "contracts"))
_SPECIFICATIONS = _CONTRACTS / "specs" / "clerk"
BACKEND, _WEBHOOKS = "urn:clerk-backend", "urn:clerk-webhooks"


class SpecChecker:
    """Validates answers and webhooks; `seen` collects which answers were validated."""

    def __init__(self, folder: Path) -> None:
        self._backend = _load(folder / "bapi-2025-11-10.yml")
        self._webhooks = _load(folder / "webhooks-2025-04-15.yml")
        self._registry = Registry().with_resources(
            [
                (BACKEND, Resource(contents=self._backend, specification=DRAFT202012)),
                (_WEBHOOKS, Resource(contents=self._webhooks, specification=DRAFT202012)),
            ]
        )
        self.seen: set[tuple[str, str, int]] = set()

    def __call__(self, response: httpx.Response) -> None:
        """A response hook of an httpx client for the Backend API."""
        response.read()
        self.check_answer(response)

    async def hook(self, response: httpx.Response) -> None:
        """The same for an asynchronous client."""
        await response.aread()
        self.check_answer(response)

    def check_answer(self, response: httpx.Response) -> None:
        if not response.headers.get("content-type", "").startswith("application/json"):
            return  # a fault
        assert "etag" not in response.headers
        try:
            body = response.json()
        except ValueError:
            return  # a fault
        if response.status_code >= 400:
            self._check(BACKEND, "/components/schemas/ClerkErrors", body)
            assert re.fullmatch(r"[0-9a-f]{32}", body["clerk_trace_id"])
            return
        method = response.request.method.lower()
        template = self._template(response.request.url.path.removeprefix("/v1"))
        if template is None or method not in self._backend["paths"][template]:
            assert response.request.url.path == "/v1/clients/handshake_payload"
            return
        answers = self._backend["paths"][template][method]["responses"]
        status = str(response.status_code)
        assert status in answers, f"{method} {template} does not document {status}"
        self.seen.add((method, template, response.status_code))
        place = f"/paths/{_escaped(template)}/{method}/responses/{status}"
        if "$ref" in answers[status]:
            place = answers[status]["$ref"].removeprefix("#")
        self._check(BACKEND, f"{place}/content/application~1json/schema", body)

    def check_webhook(self, body: dict[str, Any]) -> None:
        """The envelope, and the object that the document names for this type of event."""
        place = f"/x-webhooks/{body['type']}/post/requestBody/content/application~1json/schema"
        assert body["type"] in self._webhooks["x-webhooks"]
        if not body["type"].startswith("session."):
            self._check(_WEBHOOKS, place, body)
            return
        # The document forbids what it adds itself: a session with nothing else, and its user.
        self._check(_WEBHOOKS, "/components/schemas/WebhookEventPayload", body)
        session = dict(body["data"])
        self._check(_WEBHOOKS, "/components/schemas/User", session.pop("user"))
        self._check(_WEBHOOKS, "/components/schemas/Session", session)

    def _check(self, document: str, pointer: str, instance: Any) -> None:
        schema = {"$ref": f"{document}#{pointer}"}
        jsonschema.Draft202012Validator(schema, registry=self._registry).validate(instance)

    def _template(self, path: str) -> str | None:
        parts = path.split("/")
        fitting = [
            template
            for template in self._backend["paths"]
            if len(names := template.split("/")) == len(parts)
            and all(name.startswith("{") or name == part for name, part in zip(names, parts, strict=True))
        ]
        return min(fitting, key=lambda template: template.count("{"), default=None)


def _load(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return _with_nulls(yaml.load(file, Loader=yaml.CSafeLoader))


def _with_nulls(node: Any) -> Any:
    """OpenAPI 3.0's `nullable`, as JSON Schema understands it."""
    if isinstance(node, list):
        return [_with_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    changed = {key: _with_nulls(value) for key, value in node.items()}
    if changed.pop("nullable", False) is True:
        return {"anyOf": [{"type": "null"}, changed]}
    return changed


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


@dataclass
class Server:
    """A running sandbox and clients for it; `sdk` is the official client and does not try again."""

    base: str
    config: ClerkSandboxConfig
    spec: SpecChecker | None
    sdk: Clerk = field(init=False)
    api: httpx.Client = field(init=False)
    raw: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"authorization": f"Bearer {KEY}"}
        self._session = httpx.Client(event_hooks=self.hooks, timeout=20)
        self.sdk = self.official(client=self._session)
        self.api = httpx.Client(
            base_url=f"{self.base}/v1", headers=headers, event_hooks=self.hooks, timeout=20
        )
        self.raw = httpx.Client(base_url=self.base, headers=headers, timeout=20)

    @property
    def hooks(self) -> dict[str, Any]:
        return {"response": [self.spec]} if self.spec else {}

    @property
    def async_hooks(self) -> dict[str, Any]:
        return {"response": [self.spec.hook]} if self.spec else {}

    def official(self, **options: Any) -> Clerk:
        given = {"bearer_auth": KEY, "retry_config": NO_RETRIES, "timeout_ms": 20_000, **options}
        return Clerk(server_url=f"{self.base}/v1", **given)

    def close(self) -> None:
        self._session.close()
        self.api.close()
        self.raw.close()

    def user(self, name: str, **params: Any) -> dict[str, Any]:
        """A new user by the wire's names; `name` begins the address."""
        given = {"email_address": [f"{name}@example.com"], "password": PASSWORD, **params}
        answer = self.api.post("/users", json=given)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def session(self, user_id: str) -> dict[str, Any]:
        answer = self.api.post("/sessions", json={"user_id": user_id})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, fault: str, **parameters: Any) -> None:
        answer = self.raw.post("/_sandbox/faults", json={"fault": fault, **parameters})
        assert answer.status_code == 201, answer.text

    def control(self, path: str, **body: Any) -> Any:
        """Post to a control; gives its answer."""
        answer = self.raw.post(f"/_sandbox/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def mint(self, session_id: str, *defects: str, **wish: Any) -> dict[str, Any]:
        return self.control("tokens", session_id=session_id, defects=list(defects), **wish)

    def state(self) -> dict[str, Any]:
        return self.raw.get("/_sandbox/state").json()

    def events(self, object_id: str) -> list[str]:
        """The types of the events of an object, oldest first."""
        return [one["type"] for one in self.state()["events"] if one["object"] == object_id]

    def settle(self) -> None:
        """Wait until no delivery is pending any more."""
        wait_until(lambda: self.state()["pending_deliveries"] == 0)

    @contextmanager
    def browser(self) -> Iterator["Browser"]:
        with httpx.Client(base_url=self.base, timeout=20) as client:
            yield Browser(client)


@dataclass
class Browser:
    """Somebody at the hosted pages, without scripts; `page` is what they see."""

    client: httpx.Client
    page: httpx.Response = field(init=False)

    def open(self, path: str, **params: str) -> "Browser":
        return self._follow(self.client.get(path, params=params))

    def send(self, action: str, **fields: str) -> "Browser":
        """Send the page's form with this action; hidden fields go along, `fields` are typed."""
        form = next(
            found
            for found in re.findall(r"<form\b.*?</form>", self.page.text, re.DOTALL)
            if re.search(rf'action="{re.escape(action)}"', found)
        )
        hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form)
        known = set(re.findall(r'name="([^"]+)"', form))
        assert set(fields) <= known, f"the form has {known}"
        data = {name: html.unescape(value) for name, value in hidden} | fields
        origin = f"{self.page.url.scheme}://{self.page.url.netloc.decode()}"
        return self._follow(self.client.post(action, data=data, headers={"origin": origin}))

    def text(self, testid: str) -> str:
        """What stands in the first element with this id."""
        found = re.search(rf'data-testid="{testid}"[^>]*>(.*?)</', self.page.text, re.DOTALL)
        assert found is not None, f"{testid} is not on the page:\n{self.page.text}"
        return html.unescape(re.sub(r"<[^>]+>", "", found[1])).strip()

    def shows(self, testid: str) -> bool:
        return f'data-testid="{testid}"' in self.page.text

    @property
    def left_for(self) -> str:
        """The address on another site that the browser was sent to."""
        assert self.page.is_redirect, self.page.text
        return self.page.headers["location"]

    def _follow(self, answer: httpx.Response) -> "Browser":
        """Follow redirects for as long as they stay on the sandbox."""
        while answer.is_redirect and not urlsplit(answer.headers["location"]).netloc:
            answer = self.client.get(answer.headers["location"])
        self.page = answer
        assert answer.headers["x-visiona-sandbox"] == "clerk"
        if not answer.is_redirect:
            assert self.shows("sandbox-note")
        return self


def query(url: str) -> dict[str, str]:
    """The parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def specification() -> SpecChecker | None:
    """The published documents, or None where they are not at hand."""
    return SpecChecker(_SPECIFICATIONS) if _SPECIFICATIONS.is_dir() else None


@pytest.fixture(scope="session")
def run_clerk(specification: SpecChecker | None) -> Callable[..., Any]:
    """A context manager that runs a sandbox: `with run_clerk(folder, webhook_url=...) as server`."""

    @contextmanager
    def run(folder: Path, **settings: Any) -> Iterator[Server]:
        with socket.create_server(("127.0.0.1", settings.pop("port", 0))) as listener:
            base = f"http://127.0.0.1:{listener.getsockname()[1]}"
            given = {
                "webhook_url": None,
                "webhook_secret": WEBHOOK_SECRET,
                "webhook_delay_ms": 20,
                **settings,
            }
            config = ClerkSandboxConfig(folder, base, KEY, **given)
            options = uvicorn.Config(create_app(config), log_level="critical", timeout_graceful_shutdown=1)
            runner = uvicorn.Server(options)
            thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
            thread.start()
            server = Server(base, config, specification)
            try:
                wait_until(lambda: runner.started or not thread.is_alive())
                yield server
            finally:
                server.close()
                runner.should_exit = True
                thread.join()

    return run


@pytest.fixture(scope="session")
def shared_server(run_clerk: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_clerk(tmp_path_factory.mktemp("clerk")) as server:
        yield server


@pytest.fixture
def sandbox(shared_server: Server) -> Iterator[Server]:
    """The shared sandbox without webhooks, with no faults left over. Others' people are in it too."""
    yield shared_server
    shared_server.raw.delete("/_sandbox/faults")


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def type(self) -> str:
        return self.json["type"]


@dataclass
class Receiver:
    """A webhook receiver; `answers` are the statuses that it gives in turn, then 200."""

    url: str
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def wait(self, count: int, seconds: float = 15) -> list[Received]:
        """The first `count` webhooks, once they are there."""
        wait_until(lambda: len(self.received) >= count, seconds)
        return self.received[:count]

    def types(self) -> list[str]:
        return [one.type for one in self.received]

    def of(self, event_type: str) -> list[Received]:
        return [one for one in self.received if one.type == event_type]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    inbox: Receiver

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            inbox.received.append(Received(headers, body, time.monotonic()))
            status = inbox.answers.pop(0) if inbox.answers else 200
            self.send_response(status)
            if status in {301, 302, 307}:
                self.send_header("location", f"{inbox.url}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        inbox = Receiver(f"http://127.0.0.1:{server.server_port}/hooks/clerk")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield inbox
        server.shutdown()
        thread.join()


@pytest.fixture
def hooked(run_clerk: Any, tmp_path: Path, receiver: Receiver) -> Iterator[Server]:
    """A sandbox of its own whose webhooks go to `receiver`."""
    with run_clerk(tmp_path, webhook_url=receiver.url) as server:
        yield server
