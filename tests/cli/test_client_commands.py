"""The person's commands against a loopback server that misbehaves as told.

The server here knows nothing of Visiona: each test scripts the answers, faults above all, that a
healthy server does not give. The whole journey runs against the real one elsewhere.
"""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from visiona.core.clock import FixedClock
from visiona.entrypoints.cli import main
from visiona.entrypoints.cli.client import Client
from visiona.entrypoints.cli.credentials import CredentialStore, Session
from visiona.entrypoints.cli.errors import NotSignedIn, Refused, Unreachable
from visiona.entrypoints.cli.transport import PAUSES, Transport, UploadFile

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ME = {"id": 1, "email": "ada@example.org", "plan": "free"}
MODEL = {
    "id": 7,
    "trigger_word": "ohwx",
    "status": "Processing",
    "progress": 0.0,
    "parameters": {},
    "error": None,
}
RUN = {
    "id": 3,
    "model_id": 7,
    "status": "queued",
    "prompt": "ohwx at sea",
    "enhanced_prompt": None,
    "enhancement": {"provider": None, "outcome": None},
    "num_outputs": 2,
    "images": [],
    "error": None,
}
PNG = b"\x89PNG\r\n" + bytes(range(256)) * 400


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization")


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"


CODE_WANTED = Reply(202, {"status": "second_factor_required", "ticket": "the ticket", "expires_in": 300})
SIGNED_IN = Reply(body={"user": ME, "access_token": "new", "token_type": "Bearer", "expires_in": 600})

LOST = object()
"""Close the connection instead of answering."""


def problem(status: int, code: str, detail: str, **more: Any) -> Reply:
    return Reply(
        status, {"code": code, "detail": detail, "status": status, **more}, kind="application/problem+json"
    )


class Terminal(io.StringIO):
    """Somebody who types these lines."""

    def isatty(self) -> bool:
        return True


class LoopbackServer:
    """Answers what `answer` says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Any] = lambda _: Reply()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self.handle_any
                raise AttributeError(name)

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, self.rfile.read(length))
                server.requests.append(request)
                self._give(server.answer(request))

            def _give(self, reply: Any) -> None:
                if reply is LOST:
                    self.close_connection = True
                    return
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Type": reply.kind, "Content-Length": str(len(body))}.items():
                    self.send_header(name, reply.headers.get(name, value))
                for name, value in reply.headers.items():
                    if name != "Content-Length":
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = int(reply.headers.get("Content-Length", len(body))) != len(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Nothing on standard error, which the tests read."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def script(self, *replies: Any) -> None:
        """These answers in order, the last for good."""
        remaining = list(replies)
        self.answer = lambda _: remaining.pop(0) if len(remaining) > 1 else remaining[0]


@pytest.fixture
def server() -> Generator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running


@pytest.fixture
def elsewhere() -> Generator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CredentialStore:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("VISIONA_TOKEN", raising=False)
    return CredentialStore(tmp_path / "config" / "visiona" / "credentials.json")


@pytest.fixture
def signed_in(
    server: LoopbackServer, store: CredentialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CredentialStore:
    """Signed in for the next ten minutes of the real clock, in an empty folder."""
    store.update(server.url, lambda _: session("old", datetime.now(UTC)))
    monkeypatch.setenv("VISIONA_SERVER", server.url)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return store


def session(token: str, now: datetime) -> Session:
    return Session(
        email="ada@example.org",
        access_token=token,
        expires_at=now + timedelta(minutes=10),
        cookie_name="visiona_session",
        cookie_value="cookie-1",
    )


def client_of(server: LoopbackServer, store: CredentialStore, slept: list[float] | None = None) -> Client:
    pauses: list[float] = [] if slept is None else slept
    transport = Transport(server.url, sleep=pauses.append)
    return Client(server.url, store=store, transport=transport, clock=FixedClock(NOW))


def visiona(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class TestSession:
    def test_login_keeps_token_and_cookie(
        self,
        server: LoopbackServer,
        store: CredentialStore,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        server.script(
            Reply(
                body={"user": ME, "access_token": "new", "token_type": "Bearer", "expires_in": 600},
                headers={"Set-Cookie": "visiona_session=cookie-9; HttpOnly; Path=/; SameSite=Lax"},
            )
        )
        monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse \nnot this\n"))
        assert visiona("login", "--server", server.url, "--email", "ada@example.org", "--password-stdin") == 0
        assert server.requests[0].path == "/api/auth/login"
        assert server.requests[0].json == {"email": "ada@example.org", "password": "correct horse "}
        kept = store.load(server.url)
        assert kept is not None
        assert (kept.access_token, kept.cookie_name, kept.cookie_value) == (
            "new",
            "visiona_session",
            "cookie-9",
        )
        shown = capsys.readouterr()
        assert "ada@example.org" in shown.out
        assert "correct horse" not in shown.out + shown.err

    def test_wrong_password_is_a_refusal_and_keeps_nothing(
        self,
        server: LoopbackServer,
        store: CredentialStore,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        server.script(problem(401, "invalid_credentials", "Wrong address or password."))
        monkeypatch.setattr(sys, "stdin", io.StringIO("x\n"))
        assert visiona("--server", server.url, "login", "--email", "a@b.c", "--password-stdin") == 1
        assert "Wrong address or password. [invalid_credentials]" in capsys.readouterr().err
        assert store.load(server.url) is None

    def test_a_second_step_takes_the_code_from_the_next_line(
        self, server: LoopbackServer, store: CredentialStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.script(CODE_WANTED, SIGNED_IN)
        monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n123456\n"))
        assert visiona("--server", server.url, "login", "--email", "a@b.c", "--password-stdin") == 0
        assert server.requests[1].path == "/api/auth/login/code"
        assert server.requests[1].json == {"ticket": "the ticket", "code": "123456"}
        assert store.load(server.url) is not None

    def test_a_second_step_without_a_code_says_where_to_put_it(
        self,
        server: LoopbackServer,
        store: CredentialStore,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        server.script(CODE_WANTED)
        monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
        assert visiona("--server", server.url, "login", "--email", "a@b.c", "--password-stdin") == 1
        assert "the line after the password" in capsys.readouterr().err
        assert (len(server.requests), store.load(server.url)) == (1, None)

    def test_a_person_may_mistype_a_code(
        self, server: LoopbackServer, store: CredentialStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.script(CODE_WANTED, problem(401, "invalid_code", "This code is wrong."), SIGNED_IN)
        monkeypatch.setattr(sys, "stdin", Terminal("correct horse\n123456\n654321\n"))
        assert visiona("--server", server.url, "login", "--email", "a@b.c", "--password-stdin") == 0
        assert [request.json.get("code") for request in server.requests] == [None, "123456", "654321"]
        assert store.load(server.url) is not None

    def test_too_many_codes_end_it(
        self, server: LoopbackServer, store: CredentialStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.script(CODE_WANTED, problem(429, "too_many_attempts", "Slow down."))
        monkeypatch.setattr(sys, "stdin", Terminal("correct horse\n123456\n654321\n"))
        assert visiona("--server", server.url, "login", "--email", "a@b.c", "--password-stdin") == 1
        assert (len(server.requests), store.load(server.url)) == (2, None)

    @pytest.mark.usefixtures("store")
    def test_an_account_that_needs_a_browser_is_told_of_keys(
        self,
        server: LoopbackServer,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        server.script(problem(403, "hosted_sign_in_needed", "This account asks for more than a password."))
        monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
        assert visiona("--server", server.url, "login", "--email", "a@b.c", "--password-stdin") == 1
        said = capsys.readouterr().err
        assert f"{server.url}/account/keys" in said
        assert "VISIONA_TOKEN" in said

    def test_guessing_is_not_repeated_for_the_person(
        self, server: LoopbackServer, store: CredentialStore
    ) -> None:
        server.script(problem(429, "too_many_attempts", "Slow down."))
        with pytest.raises(Refused), client_of(server, store) as client:
            client.sign_in("/api/auth/login", "a@b.c", "x")
        assert len(server.requests) == 1

    @pytest.mark.usefixtures("store")
    def test_asking_nobody_is_wrong_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert visiona("login") == 2
        assert visiona("login", "--email", "a@b.c") == 2
        assert "--password-stdin" in capsys.readouterr().err

    def test_an_ended_token_is_renewed_once_and_the_request_sent_again(
        self, server: LoopbackServer, store: CredentialStore
    ) -> None:
        store.update(server.url, lambda _: session("old", NOW))

        def answer(request: Request) -> Reply:
            if request.path == "/api/auth/refresh":
                cookie = {"Set-Cookie": "visiona_session=cookie-2; HttpOnly; Path=/"}
                return Reply(body={"access_token": "new", "expires_in": 600}, headers=cookie)
            return (
                Reply(body=ME) if request.token == "Bearer new" else problem(401, "token_expired", "Expired.")
            )

        server.answer = answer
        with client_of(server, store) as client:
            assert json.loads(client.get("/api/auth/me").body) == ME
            client.get("/api/auth/me")
        me, refresh, again, next_one = server.requests
        assert [me.token, again.token, next_one.token] == ["Bearer old", "Bearer new", "Bearer new"]
        assert refresh.token is None
        assert refresh.headers["origin"] == server.url
        assert refresh.headers["cookie"] == "visiona_session=cookie-1"
        assert not any("cookie" in request.headers for request in (me, again, next_one))
        kept = store.load(server.url)
        assert kept is not None
        assert (kept.access_token, kept.cookie_value) == ("new", "cookie-2")
        assert kept.expires_at == NOW + timedelta(seconds=600)

    def test_a_token_about_to_end_is_renewed_beforehand(
        self, server: LoopbackServer, store: CredentialStore
    ) -> None:
        store.update(server.url, lambda _: session("old", NOW - timedelta(minutes=9, seconds=45)))
        server.script(Reply(body={"access_token": "new", "expires_in": 600}), Reply(body=ME))
        with client_of(server, store) as client:
            client.get("/api/auth/me")
        assert [request.path for request in server.requests] == ["/api/auth/refresh", "/api/auth/me"]

    def test_a_token_that_another_command_renewed_is_taken(
        self, server: LoopbackServer, store: CredentialStore
    ) -> None:
        store.update(server.url, lambda _: session("old", NOW))

        def answer(request: Request) -> Reply:
            if request.token == "Bearer old":
                store.update(server.url, lambda _: session("theirs", NOW))
                return problem(401, "token_expired", "Expired.")
            return Reply(body=ME)

        server.answer = answer
        with client_of(server, store) as client:
            client.get("/api/auth/me")
        assert [request.token for request in server.requests] == ["Bearer old", "Bearer theirs"]

    def test_a_renewal_whose_answer_was_lost_is_not_sent_twice(
        self, server: LoopbackServer, store: CredentialStore
    ) -> None:
        """A cookie presented a second time may look stolen to the server."""
        store.update(server.url, lambda _: session("old", NOW))
        server.script(problem(401, "token_expired", "Expired."), LOST)
        with pytest.raises(Unreachable), client_of(server, store) as client:
            client.get("/api/auth/me")
        assert [request.path for request in server.requests] == ["/api/auth/me", "/api/auth/refresh"]
        assert store.load(server.url) == session("old", NOW)

    def test_a_revoked_session_is_forgotten(
        self, server: LoopbackServer, signed_in: CredentialStore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.script(problem(401, "unauthenticated", "Revoked."))
        assert visiona("me") == 3
        assert "visiona login" in capsys.readouterr().err
        assert signed_in.load(server.url) is None

    def test_a_renewed_token_that_is_refused_too_ends_it(
        self, server: LoopbackServer, store: CredentialStore
    ) -> None:
        store.update(server.url, lambda _: session("old", NOW))
        server.answer = lambda request: (
            Reply(body={"access_token": "new", "expires_in": 600})
            if request.path == "/api/auth/refresh"
            else problem(401, "unauthenticated", "No.")
        )
        with pytest.raises(NotSignedIn), client_of(server, store) as client:
            client.get("/api/auth/me")
        assert len(server.requests) == 3

    @pytest.mark.usefixtures("store", "capsys")
    def test_no_session_is_status_3_without_asking(self, server: LoopbackServer) -> None:
        assert visiona("me", "--server", server.url) == 3
        assert server.requests == []

    def test_the_token_of_the_environment_is_used_and_never_renewed(
        self,
        server: LoopbackServer,
        signed_in: CredentialStore,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("VISIONA_TOKEN", "key")
        server.script(Reply(body=ME), problem(401, "unauthenticated", "No."))
        assert visiona("me", "--json") == 0
        assert json.loads(capsys.readouterr().out) == ME
        assert visiona("me") == 3
        assert "VISIONA_TOKEN" in capsys.readouterr().err
        assert [request.token for request in server.requests] == ["Bearer key", "Bearer key"]
        assert signed_in.load(server.url) is not None

    def test_logout_revokes_with_the_cookie(self, server: LoopbackServer, signed_in: CredentialStore) -> None:
        server.script(Reply(204, b""))
        assert visiona("logout") == 0
        assert server.requests[0].path == "/api/auth/logout"
        assert server.requests[0].headers["cookie"] == "visiona_session=cookie-1"
        assert server.requests[0].headers["origin"] == server.url
        assert signed_in.load(server.url) is None

    def test_logout_forgets_even_if_the_server_is_away(
        self, server: LoopbackServer, signed_in: CredentialStore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.script(LOST)
        assert visiona("logout") == 4
        assert "not revoked" in capsys.readouterr().err
        assert signed_in.load(server.url) is None


class TestRepeating:
    @pytest.mark.parametrize(
        "fault", [LOST, problem(503, "unavailable", "Busy."), problem(429, "rate", "Busy.")]
    )
    def test_spending_is_repeated_with_the_same_key(
        self, server: LoopbackServer, signed_in: CredentialStore, fault: object
    ) -> None:
        server.script(fault, fault, Reply(202, MODEL))
        with client_of(server, signed_in) as client:
            client.spend("/api/models/train", {"trigger_word": "ohwx"})
            client.spend("/api/models/train", {"trigger_word": "ohwx"})
        keys = [request.headers["idempotency-key"] for request in server.requests]
        assert len(keys) == 4
        assert keys[0] == keys[1] == keys[2] != keys[3]
        assert len({request.body for request in server.requests}) == 1

    @pytest.mark.usefixtures("signed_in")
    def test_the_key_survives_a_renewal(self, server: LoopbackServer) -> None:
        server.script(
            problem(401, "token_expired", "x"),
            Reply(body={"access_token": "new", "expires_in": 600}),
            Reply(202, MODEL),
        )
        assert visiona("train", "ohwx", "--no-wait") == 0
        train, _, again = server.requests
        assert train.headers["idempotency-key"] == again.headers["idempotency-key"]

    def test_three_attempts_and_no_more(self, server: LoopbackServer, signed_in: CredentialStore) -> None:
        slept: list[float] = []
        server.script(LOST)
        with pytest.raises(Unreachable), client_of(server, signed_in, slept) as client:
            client.spend("/api/generate", {})
        assert len(server.requests) == 3
        assert slept == list(PAUSES)

    def test_the_server_says_how_long_to_wait_within_reason(
        self, server: LoopbackServer, signed_in: CredentialStore
    ) -> None:
        slept: list[float] = []
        busy = problem(503, "unavailable", "Busy.")
        server.script(
            Reply(503, busy.body, {"Retry-After": "7"}, busy.kind),
            Reply(503, busy.body, {"Retry-After": "900"}, busy.kind),
        )
        with pytest.raises(Refused) as refused, client_of(server, signed_in, slept) as client:
            client.get("/api/photos")
        assert slept == [7]
        assert refused.value.notes == ("Try again in 900 seconds.",)

    def test_an_upload_whose_answer_was_lost_is_not_sent_twice(
        self, server: LoopbackServer, signed_in: CredentialStore
    ) -> None:
        server.script(LOST)
        with pytest.raises(Unreachable) as lost, client_of(server, signed_in) as client:
            client.upload("/api/photos/upload", [UploadFile("a.jpg", "image/jpeg", io.BytesIO(b"x"))])
        assert len(server.requests) == 1
        assert "not known" in lost.value.notes[0]

    @pytest.mark.usefixtures("monkeypatch")
    def test_nothing_listening_is_status_4(
        self, store: CredentialStore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        url = f"http://127.0.0.1:{closed_port()}"
        store.update(url, lambda _: session("t", datetime.now(UTC)))
        assert visiona("--server", url, "me") == 4
        assert f"No server answers at {url}." in capsys.readouterr().err

    @pytest.mark.usefixtures("signed_in")
    def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
        self, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
        server.script(Reply(body=ME))
        assert visiona("me", "--json") == 0


@pytest.mark.usefixtures("signed_in")
class TestRefusals:
    def test_a_problem_is_told_with_its_fields(
        self, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        errors = [{"field": "parameters.steps", "code": "too_large", "message": "must be at most 6000"}]
        server.script(problem(422, "invalid_input", "The input is\x1b[2J not valid.", errors=errors))
        assert (
            visiona("train", "ohwx", "--steps", "9000", "--rank", "8", "--param", "a=b", "--photo", "4") == 1
        )
        shown = capsys.readouterr()
        assert shown.out == ""
        assert (
            shown.err
            == "✗ The input is [2J not valid. [invalid_input]\n  parameters.steps: must be at most 6000\n"
        )
        assert server.requests[0].json == {
            "trigger_word": "ohwx",
            "parameters": {"steps": 9000, "lora_rank": 8, "a": "b"},
            "photo_ids": [4],
        }

    @pytest.mark.parametrize(
        ("reply", "status"),
        [
            (Reply(502, b"<h1>Bad gateway</h1>", kind="text/html"), 4),
            (Reply(200, b"<h1>Welcome to the hotel</h1>", kind="text/html"), 4),
            (Reply(301, b"", {"Location": "https://visiona.example/api/auth/me"}), 4),
            (Reply(500, b"oops", kind="text/plain"), 1),
            (problem(402, "quota_exhausted", "No images left."), 1),
        ],
    )
    def test_statuses_of_odd_answers(self, server: LoopbackServer, reply: Reply, status: int) -> None:
        server.script(reply)
        assert visiona("me") == status

    def test_deleting_without_being_asked_needs_yes(self, server: LoopbackServer) -> None:
        assert visiona("gallery", "delete", "1") == 2
        assert visiona("models", "delete", "1") == 2
        assert server.requests == []

    def test_images_not_found_are_told(
        self, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.script(Reply(body={"deleted": [1], "not_found": [2]}))
        assert visiona("gallery", "delete", "1", "2", "--yes") == 1
        shown = capsys.readouterr()
        assert "Deleted 1." in shown.out
        assert "Not found: 2." in shown.err
        assert server.requests[0].json == {"ids": [1, 2]}

    def test_deleting_photos_goes_on_past_a_missing_one(
        self, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.answer = lambda request: (
            problem(404, "not_found", "No such photo.") if request.path.endswith("/1") else Reply(204, b"")
        )
        assert visiona("photos", "delete", "1", "2") == 1
        shown = capsys.readouterr()
        assert "Deleted photo 2." in shown.out
        assert "Photo 1: No such photo." in shown.err

    def test_lists_pass_their_filters_and_print_the_raw_answer(
        self, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.script(Reply(body=b'{"items": [],  "next_cursor": null, "new": 1}'))
        listing = ("gallery", "list", "--model", "7", "--order", "oldest", "--limit", "5", "--json")
        assert visiona(*listing) == 0
        assert capsys.readouterr().out == '{"items": [],  "next_cursor": null, "new": 1}\n'
        assert server.requests[0].path == "/api/gallery?model_id=7&order=oldest&limit=5"


@pytest.mark.usefixtures("signed_in")
class TestUpload:
    @pytest.fixture
    def album(self, tmp_path: Path) -> Path:
        folder = tmp_path / "album"
        folder.mkdir()
        for number in range(12):
            (folder / f"{number:02}.jpg").write_bytes(bytes([number]) * 200_000)
        return folder

    @staticmethod
    def names(request: Request) -> list[str]:
        return re.findall(r'name="photos"; filename="([^"]+)"', request.body.decode("latin-1"))

    def accept(self, request: Request, *, rejected: frozenset[str] = frozenset()) -> Reply:
        taken = [name for name in self.names(request) if name not in rejected]
        refused = [
            {"filename": name, "code": "not_an_image", "message": "Not an image."}
            for name in self.names(request)
            if name in rejected
        ]
        if not taken:
            return problem(422, "all_rejected", "Not one was accepted.", rejected=refused)
        photos = [{"id": int(name[:2]) + 100, "width": 10, "height": 20, "warnings": []} for name in taken]
        return Reply(201, {"photos": photos, "rejected": refused})

    def test_batches_of_ten_with_a_verdict_for_each(
        self, server: LoopbackServer, album: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.answer = lambda request: self.accept(request, rejected=frozenset({"04.jpg"}))
        assert visiona("photos", "upload", str(album)) == 0
        assert [len(self.names(request)) for request in server.requests] == [10, 2]
        assert all("idempotency-key" not in request.headers for request in server.requests)
        assert bytes([11]) * 200_000 in server.requests[1].body
        shown = capsys.readouterr()
        lines = [line for line in shown.out.splitlines() if line.startswith(("✓", "✗"))]
        assert len(lines) == 12
        assert lines[4].startswith("✗")
        assert "Not an image." in shown.out
        assert " 105 " in lines[5]
        assert "11 accepted, 1 rejected." in shown.err

    def test_not_one_accepted_is_status_1(
        self, server: LoopbackServer, album: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.answer = lambda request: self.accept(request, rejected=frozenset(self.names(request)))
        assert visiona("photos", "upload", str(album / "00.jpg"), str(album / "01.jpg")) == 1
        assert capsys.readouterr().out.count("Not an image.") == 2

    def test_a_batch_too_large_is_sent_one_by_one(self, server: LoopbackServer, album: Path) -> None:
        server.answer = lambda request: (
            problem(413, "too_large", "Too large.") if len(self.names(request)) > 1 else self.accept(request)
        )
        assert visiona("photos", "upload", str(album / "00.jpg"), str(album / "01.jpg")) == 0
        assert [self.names(request) for request in server.requests] == [
            ["00.jpg", "01.jpg"],
            ["00.jpg"],
            ["01.jpg"],
        ]

    def test_what_was_accepted_is_told_before_a_failure(
        self, server: LoopbackServer, album: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.answer = lambda request: (
            self.accept(request)
            if len(server.requests) == 1
            else problem(402, "quota_exhausted", "Too many photos.")
        )
        assert visiona("photos", "upload", str(album)) == 1
        shown = capsys.readouterr()
        assert shown.out.count("✓") == 10
        assert "10 accepted, 0 rejected, 2 without a verdict." in shown.err
        assert "[quota_exhausted]" in shown.err

    def test_files_are_sent_whole_again_after_a_renewal(self, server: LoopbackServer, album: Path) -> None:
        def answer(request: Request) -> Reply:
            if request.path == "/api/auth/refresh":
                return Reply(body={"access_token": "new", "expires_in": 600})
            return (
                self.accept(request) if request.token == "Bearer new" else problem(401, "token_expired", "x")
            )

        server.answer = answer
        assert visiona("photos", "upload", str(album / "03.jpg")) == 0
        first, _, again = server.requests
        assert bytes([3]) * 200_000 in first.body
        assert bytes([3]) * 200_000 in again.body

    def test_a_folder_without_photos_is_wrong_usage(self, server: LoopbackServer, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert visiona("photos", "upload", str(tmp_path / "empty")) == 2
        assert visiona("photos", "upload", str(tmp_path / "missing")) == 2
        assert server.requests == []


@pytest.mark.usefixtures("signed_in")
class TestWork:
    def test_training_is_watched_to_its_end(
        self, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.script(
            Reply(202, MODEL),
            Reply(body=MODEL),
            Reply(body={**MODEL, "progress": 0.5}),
            Reply(body={**MODEL, "status": "Ready", "progress": 1.0}),
        )
        assert visiona("train", "ohwx") == 0
        shown = capsys.readouterr()
        assert "Clone 7 is ready." in shown.out
        assert "Training: 50 %" in shown.err
        assert [request.path for request in server.requests[1:]] == ["/api/models/status?model_id=7"] * 3

    def test_a_failed_training_is_status_5(
        self, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        error = {"code": "training_failed", "message": "The trainer stopped."}
        server.script(Reply(body={**MODEL, "status": "Failed", "error": error}))
        assert visiona("models", "watch", "7") == 5
        assert "The trainer stopped." in capsys.readouterr().err

    def test_showing_a_failed_training_is_no_failure(
        self, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.script(
            Reply(body={**MODEL, "status": "Failed", "error": {"code": "x", "message": "Stopped."}})
        )
        assert visiona("models", "status", "7") == 0
        assert "Stopped." in capsys.readouterr().out

    def test_interrupting_leaves_the_work_running(self, server: LoopbackServer) -> None:
        server.script(Reply(body=MODEL))
        watching = subprocess.Popen(
            [
                sys.executable,
                "-c",
                # A suite that was started in the background hands down that this signal is ignored.
                (
                    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
                    "from visiona.entrypoints.cli import main; main()"
                ),
                "models",
                "watch",
                "7",
            ],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        deadline = time.monotonic() + 20
        while not server.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=20)
        assert watching.returncode == 130
        assert "visiona models watch 7" in said
        assert "Traceback" not in said
        assert {request.method for request in server.requests} == {"GET"}

    def test_generating_with_the_latest_ready_clone_saves_the_images(
        self, server: LoopbackServer, elsewhere: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        models = [
            {**MODEL, "id": 1, "status": "Ready", "ready_at": "2026-01-01T00:00:00Z"},
            {**MODEL, "id": 2, "status": "Ready", "ready_at": "2026-01-02T00:00:00Z"},
            {**MODEL, "id": 3},
        ]
        images = [{"id": 31, "image_url": "/files/31?s=1"}, {"id": 32, "image_url": f"{elsewhere.url}/32"}]
        enhanced = {
            "enhanced_prompt": "ohwx at sea, in a storm",
            "enhancement": {"provider": "openai", "outcome": "enhanced"},
        }
        done = {**RUN, **enhanced, "status": "succeeded", "images": images}

        def answer(request: Request) -> Reply:
            if request.path == "/api/models":
                return Reply(body={"items": models[:1], "next_cursor": "c"})
            if request.path == "/api/models?cursor=c":
                return Reply(body={"items": models[1:], "next_cursor": None})
            if request.path == "/api/generate":
                return Reply(202, RUN)
            if request.path == "/api/generate/3":
                return Reply(body=done)
            return Reply(body=PNG, kind="image/png")

        server.answer = answer
        elsewhere.script(Reply(body=PNG, kind="image/webp"))
        arguments = (
            "ohwx at sea",
            "--enhance",
            "-n",
            "2",
            "--aspect",
            "3:2",
            "--seed",
            "5",
            "--param",
            "go_fast=false",
        )
        assert visiona("generate", *arguments) == 0
        spent = next(request for request in server.requests if request.method == "POST")
        assert spent.json == {
            "model_id": 2,
            "prompt": "ohwx at sea",
            "enhance": True,
            "num_outputs": 2,
            "aspect_ratio": "3:2",
            "seed": 5,
            "go_fast": False,
        }
        shown = capsys.readouterr()
        assert shown.out.splitlines() == ["visiona-images/visiona-31.png", "visiona-images/visiona-32.webp"]
        assert "Enhanced by openai" in shown.err
        assert "ohwx at sea, in a storm" in shown.err
        assert Path("visiona-images/visiona-32.webp").read_bytes() == PNG

    def test_a_failed_run_is_status_5_and_its_images_are_saved(
        self, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        error = {"code": "x", "message": "The safety check refused one."}
        images = [{"id": 31, "image_url": "/31"}]
        server.answer = lambda request: (
            Reply(body=PNG, kind="image/png")
            if request.path == "/31"
            else Reply(body={**RUN, "status": "failed", "error": error, "images": images})
        )
        assert visiona("generate", "ohwx", "--model", "7") == 5
        assert "The safety check refused one." in capsys.readouterr().err
        assert Path("visiona-images/visiona-31.png").exists()

    def test_without_a_ready_clone_nothing_is_spent(
        self, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.script(Reply(body={"items": [MODEL], "next_cursor": None}))
        assert visiona("generate", "ohwx") == 1
        assert "visiona models watch 7" in capsys.readouterr().err
        assert [request.method for request in server.requests] == ["GET"]

    @pytest.mark.parametrize(
        "wrong", [("--model", "best"), ("-n", "5"), ("--param", "prompt=x"), ("--param", "x")]
    )
    def test_wrong_usage_is_status_2(self, server: LoopbackServer, wrong: tuple[str, str]) -> None:
        assert visiona("generate", "ohwx", *wrong) == 2
        assert server.requests == []


@pytest.mark.usefixtures("signed_in")
class TestDownload:
    def gallery(self, *links: str) -> Reply:
        items = [{"id": number, "image_url": link} for number, link in enumerate(links, 1)]
        return Reply(body={"items": items, "next_cursor": None})

    def test_links_are_opened_without_a_credential_wherever_they_lead(
        self, server: LoopbackServer, elsewhere: LoopbackServer
    ) -> None:
        def answer(request: Request) -> Reply:
            if request.path.startswith("/api/gallery"):
                return self.gallery("/files/1", f"{elsewhere.url}/2")
            return Reply(302, b"", {"Location": f"{elsewhere.url}/1"})

        server.answer = answer
        elsewhere.script(Reply(body=PNG, kind="image/png"))
        assert visiona("gallery", "download", "--out", "mine") == 0
        opened = [*server.requests[1:], *elsewhere.requests]
        assert [request.path for request in opened] == ["/files/1", "/1", "/2"]
        assert not any({"authorization", "cookie"} & request.headers.keys() for request in opened)
        assert sorted(path.name for path in Path("mine").iterdir()) == ["visiona-1.png", "visiona-2.png"]

    def test_images_saved_before_are_not_fetched_again(
        self, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("visiona-images").mkdir()
        Path("visiona-images/visiona-1.webp").write_bytes(b"kept")
        server.answer = lambda request: (
            self.gallery("/1", "/2")
            if request.path.startswith("/api/")
            else Reply(body=PNG, kind="image/png")
        )
        assert visiona("gallery", "download") == 0
        assert [request.path for request in server.requests] == ["/api/gallery", "/2"]
        assert Path("visiona-images/visiona-1.webp").read_bytes() == b"kept"
        assert "1 saved in visiona-images, 1 there already." in capsys.readouterr().err

    def test_a_link_that_expired_is_asked_for_again(self, server: LoopbackServer) -> None:
        def answer(request: Request) -> Reply:
            if request.path == "/api/gallery":
                asked = sum(request.path == "/api/gallery" for request in server.requests)
                return self.gallery(f"/1?signed={asked}")
            return Reply(body=PNG, kind="image/png") if "signed=2" in request.path else Reply(403, b"")

        server.answer = answer
        assert visiona("gallery", "download") == 0
        assert Path("visiona-images/visiona-1.png").read_bytes() == PNG

    @pytest.mark.parametrize(
        ("broken", "status"),
        [
            (Reply(body=b"<h1>no</h1>", kind="text/html"), 1),
            (Reply(404, b""), 1),
            (Reply(body=PNG, kind="image/png", headers={"Content-Length": "999999"}), 4),
        ],
    )
    def test_what_is_no_whole_image_leaves_nothing_behind(
        self, server: LoopbackServer, broken: Reply, status: int
    ) -> None:
        server.answer = lambda request: self.gallery("/1") if request.path.startswith("/api/") else broken
        assert visiona("gallery", "download") == status
        assert not Path("visiona-images").exists() or list(Path("visiona-images").iterdir()) == []
