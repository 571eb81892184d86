"""A real sandbox on a loopback port, clients that check its answers, and a receiver of webhooks.

Every answer that the `api` client and the official client get is validated against the provider's own
published OpenAPI document, where it is at hand: in `VISIONA_CONTRACTS_DIR`, or beside the repository in
`shared/contracts`. It belongs to the provider and is not part of the repository.
"""

import io
import json
import os
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema
import pytest
import replicate
import uvicorn
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from tests.factories.photos import Person, snapshot

from visiona.sandbox.replicate import ReplicateSandboxConfig, create_app

TOKEN = "r8_sandbox"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TRAINER = "ostris/flux-dev-lora-trainer"
TRAINER_VERSION = "26dce37af90b9d997eeb970d92e47de3064d46c300504ae376c75bef6a9022d2"
TRAININGS = f"/models/{TRAINER}/versions/{TRAINER_VERSION}/trainings"
SMALL = {"aspect_ratio": "custom", "width": 256, "height": 256}

_REPOSITORY = Path(__file__).parents[3]
_CONTRACTS = Path(os.environ.get("VISIONA_CONTRACTS_DIR", _REPOSITORY.parent / "shared" / "contracts"))
_SPECIFICATION = _CONTRACTS / "specs" / "replicate-openapi.json"
_SPEC_URI = "urn:replicate"


class SpecChecker:
    """Validates answers against the published document; `seen` collects what was validated."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = _with_nulls(document)
        resource = Resource(contents=self._document, specification=DRAFT202012)
        self._registry = Registry().with_resource(_SPEC_URI, resource)
        self._formats = jsonschema.FormatChecker(formats=())
        self._formats.checks("date-time", raises=ValueError)(_is_date_time)
        self._formats.checks("uri", raises=ValueError)(_is_uri)
        self.seen: set[tuple[str, str, int]] = set()

    def __call__(self, response: httpx.Response) -> None:
        """An httpx response hook."""
        response.read()
        path = response.request.url.path.removeprefix("/v1")
        template = self._template(path)
        method = response.request.method.lower()
        if response.status_code >= 400:
            _check_problem(response)
        if template is None or method not in self._document["paths"][template]:
            assert response.status_code in {404, 405}, f"{method} {path} is not documented"
            return
        answers = self._document["paths"][template][method]["responses"]
        status = str(response.status_code)
        if response.status_code < 400:
            assert status in answers, f"{method} {template} does not document {status}"
        if status in answers:
            self.check_answer(method, template, response)

    def check_answer(self, method: str, template: str, response: httpx.Response) -> None:
        status = str(response.status_code)
        content = self._document["paths"][template][method]["responses"][status].get("content")
        self.seen.add((method, template, response.status_code))
        if content is None:
            assert response.content == b"" or response.status_code >= 400
            return
        kind = response.headers["content-type"].partition(";")[0]
        assert kind in content
        if kind.endswith("json"):
            where = ("paths", template, method, "responses", status, "content", kind, "schema")
            self.check(response.json(), *where)

    def check(self, instance: Any, *where: str) -> None:
        """`instance` against the schema at a place in the document."""
        pointer = "/".join(part.replace("~", "~0").replace("/", "~1") for part in where)
        validator = jsonschema.Draft202012Validator(
            {"$ref": f"{_SPEC_URI}#/{pointer}"}, registry=self._registry, format_checker=self._formats
        )
        validator.validate(instance)

    def _template(self, path: str) -> str | None:
        parts = path.split("/")
        best: str | None = None
        for template in self._document["paths"]:
            names = template.split("/")
            fits = len(names) == len(parts) and all(
                name.startswith("{") or name == part for name, part in zip(names, parts, strict=True)
            )
            if fits and (best is None or template.count("{") < best.count("{")):
                best = template
        return best


def _with_nulls(node: Any) -> Any:
    """OpenAPI 3.0's `nullable`, which the 3.1 document uses, as JSON Schema understands it."""
    if isinstance(node, list):
        return [_with_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    changed = {key: _with_nulls(value) for key, value in node.items()}
    if changed.get("nullable") is True and isinstance(changed.get("type"), str):
        changed["type"] = [changed["type"], "null"]
    return changed


def _check_problem(response: httpx.Response) -> None:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert isinstance(body["detail"], str)
    assert body["status"] == response.status_code


def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme and urlsplit(value).netloc)


@dataclass
class Server:
    """A running sandbox and clients for it."""

    base: str
    config: ReplicateSandboxConfig
    spec: SpecChecker | None
    api: httpx.Client = field(init=False)
    raw: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        hooks = {"response": [self.spec]} if self.spec else {}
        headers = {"authorization": f"Bearer {TOKEN}"}
        self.api = httpx.Client(base_url=f"{self.base}/v1", headers=headers, event_hooks=hooks, timeout=30)
        self.raw = httpx.Client(base_url=self.base, headers=headers, timeout=30)

    def close(self) -> None:
        self.api.close()
        self.raw.close()

    @contextmanager
    def official(self) -> Generator[replicate.Client]:
        """The provider's own client, its answers checked too."""
        hooks = {"response": [self.spec]} if self.spec else {}
        client = replicate.Client(api_token=TOKEN, base_url=self.base, event_hooks=hooks)
        client.poll_interval = 0.05
        try:
            yield client
        finally:
            client._client.close()

    def fault(self, **fault: Any) -> None:
        answer = self.raw.post("/_sandbox/faults", json=fault)
        assert answer.status_code == 201, answer.text

    def clock(self, **change: float) -> None:
        assert self.raw.post("/_sandbox/clock", json=change).status_code == 200

    def state(self) -> dict[str, Any]:
        return self.raw.get("/_sandbox/state").json()

    def upload(self, content: bytes, name: str = "photos.zip") -> dict[str, Any]:
        answer = self.api.post("/files", files={"content": (name, content, "application/zip")})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def create_model(self, name: str, **changes: str) -> httpx.Response:
        body = {
            "owner": self.config.account,
            "name": name,
            "visibility": "private",
            "hardware": "gpu-t4",
            **changes,
        }
        return self.api.post("/models", json=body)

    def train(self, content: bytes, destination: str, **inputs: Any) -> dict[str, Any]:
        """A finished training."""
        body = {
            "destination": f"{self.config.account}/{destination}",
            "input": {"input_images": self.upload(content)["urls"]["get"], **inputs},
        }
        answer = self.api.post(TRAININGS, json=body)
        assert answer.status_code == 201, answer.text
        return self.finished(f"/trainings/{answer.json()['id']}")

    def predict(self, version: str, *, body: dict[str, Any] | None = None, **inputs: Any) -> dict[str, Any]:
        """A prediction that has just been created."""
        given = {"prompt": "TOK at the sea", **SMALL, **inputs}
        answer = self.api.post("/predictions", json={"version": version, "input": given, **(body or {})})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def finished(self, path: str, seconds: float = 20) -> dict[str, Any]:
        """What `path` shows once it is in a terminal state."""
        found: dict[str, Any] = {}

        def done() -> bool:
            found.update(self.api.get(path).json())
            return "completed_at" in found

        wait_until(done, seconds)
        return found

    def pictures(self, version: str, **inputs: Any) -> list[bytes]:
        """The files that one prediction made."""
        prediction = self.finished(f"/predictions/{self.predict(version, **inputs)['id']}")
        assert prediction["status"] == "succeeded", prediction
        return [httpx.get(url).raise_for_status().content for url in prediction["output"]]


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def specification() -> SpecChecker | None:
    """The published document, or None where it is not at hand."""
    if not _SPECIFICATION.is_file():
        return None
    return SpecChecker(json.loads(_SPECIFICATION.read_text()))


@contextmanager
def run_replicate(
    folder: Path, specification: SpecChecker | None = None, **settings: Any
) -> Iterator[Server]:
    """A sandbox whose records lie in `folder`; it ends with the block."""
    with socket.create_server(("127.0.0.1", settings.pop("port", 0))) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        quick = {"training_seconds": 0.2, "generation_seconds": 0.1, "version_delete_seconds": 0.3}
        config = ReplicateSandboxConfig(folder, base, TOKEN, SECRET, **{**quick, **settings})
        options = uvicorn.Config(create_app(config), log_level="error", timeout_graceful_shutdown=1)
        runner = uvicorn.Server(options)
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
        thread.start()
        server = Server(base, config, specification)
        try:
            wait_until(lambda: runner.started)
            yield server
        finally:
            server.close()
            runner.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def run_sandbox(specification: SpecChecker | None) -> Callable[..., Any]:
    """A context manager that runs a sandbox: `with run_sandbox(folder, training_seconds=1) as server`."""
    return partial(run_replicate, specification=specification)


@pytest.fixture(scope="session")
def shared_server(run_sandbox: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_sandbox(tmp_path_factory.mktemp("sandbox"), requests_per_minute=100_000) as server:
        yield server


@pytest.fixture
def sandbox(shared_server: Server) -> Iterator[Server]:
    """The shared sandbox, with no faults left over and its clock at its usual pace."""
    yield shared_server
    shared_server.raw.delete("/_sandbox/faults")
    shared_server.fault(kind="duplicate_model", status=409)
    shared_server.fault(kind="rotate_webhook_secret", secret=SECRET)
    shared_server.clock(scale=1.0)


def photo_zip(person: Person, count: int = 2) -> bytes:
    """A training archive of phone photos, small so that tests stay quick."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index in range(count):
            picture = snapshot(person, index * 2)
            picture.thumbnail((512, 512))
            content = io.BytesIO()
            picture.save(content, "JPEG", quality=90)
            archive.writestr(f"photo-{index}.jpg", content.getvalue())
            archive.writestr(f"photo-{index}.txt", f"a photo of TOK, number {index}")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photos() -> bytes:
    return photo_zip("eileen")


@pytest.fixture(scope="session")
def trained(shared_server: Server, photos: bytes) -> str:
    """The id of a trained version on the shared sandbox."""
    assert shared_server.create_model("trained").status_code == 201
    training = shared_server.train(photos, "trained")
    assert training["status"] == "succeeded", training
    return training["output"]["version"].partition(":")[2]


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Receiver:
    """A webhook receiver; `answers` are the statuses it gives in turn, then 200."""

    url: str
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def statuses(self) -> list[str]:
        return [one.json["status"] for one in self.received]


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
        inbox = Receiver(f"http://127.0.0.1:{server.server_port}/hook?job=7")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield inbox
        server.shutdown()
        thread.join()
