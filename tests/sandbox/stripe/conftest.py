"""A real sandbox on a loopback port, the official SDK, and a receiver of webhooks.

Whatever the SDK is answered and every event of a test is compared with the classes of the SDK, which is
generated from Stripe's own description of its API: see `shapes.py`.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import stripe
import uvicorn
from tests.sandbox.stripe.shapes import complaints

from visiona.sandbox.stripe import StripeSandboxConfig, create_app

KEY = "sk_test_sandbox0000000000"
WEBHOOK_SECRET = "whsec_configured00000000000000000000"


@dataclass
class Server:
    """A running sandbox and clients for it; `client` is the official SDK and does not try again."""

    base: str
    client: stripe.StripeClient = field(init=False)
    raw: httpx.Client = field(init=False)
    misshapen: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    newest_event: str | None = None

    def __post_init__(self) -> None:
        self._session = requests.Session()
        self._session.hooks["response"].append(self._look_at)
        self.client = self.sdk()
        self.raw = httpx.Client(base_url=self.base, headers={"authorization": f"Bearer {KEY}"}, timeout=30)

    def sdk(self, key: str = KEY, **options: Any) -> stripe.StripeClient:
        given = {
            "max_network_retries": 0,
            "http_client": stripe.RequestsClient(session=self._session),
            **options,
        }
        return stripe.StripeClient(key, base_addresses={"api": self.base}, **given)

    def close(self) -> None:
        self.raw.close()
        self._session.close()

    def check_shapes(self) -> None:
        """Fail where an answer or an event since the last time had not the shape of its object."""
        found = sorted(self.misshapen - self.told)
        self.told |= self.misshapen
        assert found == []

    def look_at_new_events(self) -> None:
        """Fetch the events since the last time, so that their shapes are looked at."""
        cursor = {} if self.newest_event is None else {"ending_before": self.newest_event}
        try:
            page = self.client.v1.events.list({"limit": 100, **cursor})
        except stripe.InvalidRequestError:  # time has moved so far that the last one is gone
            self.newest_event = None
            return self.look_at_new_events()
        # Paged backwards, events come oldest first.
        if found := list(page.auto_paging_iter()):
            self.newest_event = found[-1 if cursor else 0].id
        return None

    def _look_at(self, answer: requests.Response, **_: Any) -> None:
        if answer.ok and answer.headers["content-type"] == "application/json":
            with suppress(ValueError):  # a document that a fault cut in half
                self.misshapen.update(complaints(answer.json()))

    def fault(self, fault: str, **parameters: Any) -> None:
        answer = self.raw.post("/_sandbox/faults", json={"fault": fault, **parameters})
        assert answer.status_code == 201, answer.text

    def control(self, path: str, **body: Any) -> Any:
        """Post to a control; gives its answer."""
        answer = self.raw.post(f"/_sandbox/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def advance(self, seconds: int) -> None:
        """Move the sandbox's own time forward, and run what is due."""
        self.control("clock", advance_s=seconds)

    def state(self) -> dict[str, Any]:
        return self.raw.get("/_sandbox/state").json()

    def events(self, object_id: str | None = None) -> list[dict[str, Any]]:
        """Events as `/_sandbox/state` shows them, oldest first; of one object only if it is given."""
        return [one for one in self.state()["events"] if object_id in {None, one["object"]}]

    def settle(self) -> None:
        """Wait until no delivery is pending any more."""
        wait_until(lambda: self.state()["pending_deliveries"] == 0)

    def customer(self, **params: Any) -> stripe.Customer:
        return self.client.v1.customers.create({"email": "person@example.com", **params})

    def price(self, amount: int = 900, interval: str = "month", **params: Any) -> stripe.Price:
        """A price of a new product; `recurring` may replace the interval."""
        given: Any = {
            "currency": "usd",
            "unit_amount": amount,
            "recurring": {"interval": interval},
            "product_data": {"name": "Pro"},
            **params,
        }
        return self.client.v1.prices.create(given)


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@contextmanager
def run_stripe(folder: Path, *, port: int = 0, **settings: Any) -> Iterator[Server]:
    """A sandbox whose records lie in `folder`; it ends with the block."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        given = {"webhook_url": None, "webhook_secret": WEBHOOK_SECRET, **settings}
        config = StripeSandboxConfig(folder, base, KEY, **given)
        options = uvicorn.Config(create_app(config), log_level="critical", timeout_graceful_shutdown=1)
        runner = uvicorn.Server(options)
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
        thread.start()
        server = Server(base)
        try:
            wait_until(lambda: runner.started or not thread.is_alive())
            yield server
            server.check_shapes()
        finally:
            server.close()
            runner.should_exit = True
            thread.join()


@pytest.fixture(name="run_stripe")
def _run_stripe() -> Callable[..., Any]:
    return run_stripe


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_stripe(tmp_path_factory.mktemp("stripe")) as server:
        yield server


@pytest.fixture
def sandbox(shared_server: Server) -> Iterator[Server]:
    """The shared sandbox without webhooks, with no faults left over. Others' objects are in it too."""
    yield shared_server
    shared_server.raw.delete("/_sandbox/faults")
    shared_server.look_at_new_events()
    shared_server.check_shapes()


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

    @property
    def signature(self) -> str:
        return self.headers["stripe-signature"]


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
        inbox = Receiver(f"http://127.0.0.1:{server.server_port}/hooks/stripe")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield inbox
        server.shutdown()
        thread.join()


@pytest.fixture
def hooked(tmp_path: Path, receiver: Receiver) -> Iterator[Server]:
    """A sandbox of its own whose configured endpoint is `receiver`."""
    with run_stripe(tmp_path, webhook_url=receiver.url) as server:
        yield server
