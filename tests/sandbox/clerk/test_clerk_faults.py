"""What the sandbox does wrong when told to, what it keeps over a restart, and what it forgets."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from clerk_backend_api import models
from clerk_backend_api.utils import BackoffStrategy, RetryConfig

from visiona.sandbox.clerk import ClerkSandboxConfig, create_app
from visiona.sandbox.clerk.errors import ClerkError
from visiona.sandbox.clerk.store import Store
from visiona.sandbox.guard import SandboxInProductionError

pytestmark = [
    pytest.mark.contract,
    # The official client reads its own deprecated fields whenever it counts users.
    pytest.mark.filterwarnings(r"ignore:.*\*\* DEPRECATED:DeprecationWarning"),
]


def known(sandbox: Any, name: str) -> bool:
    return bool(sandbox.api.get("/users", params={"email_address": f"{name}@example.com"}).json())


@pytest.mark.parametrize(
    ("fault", "parameters", "status", "happens"),
    [
        ("rate_limit", {"seconds": 7}, 429, False),
        ("server_error", {}, 500, False),
        ("server_error", {"status": 503}, 503, False),
        ("html_502", {}, 502, False),
        ("lost_answer", {}, 502, True),
        ("truncated_json", {}, 200, True),
        ("wrong_shape", {}, 200, True),
    ],
)
def test_answers_go_wrong_with_or_without_effect(
    sandbox: Any, fault: str, parameters: dict[str, Any], status: int, happens: bool
) -> None:
    name = f"fault-{fault.replace('_', '-')}-{status}"
    sandbox.fault(fault, method="POST", path="/v1/users", **parameters)
    body = {"email_address": [f"{name}@example.com"], "password": "long and unusual"}
    answer = sandbox.raw.post("/v1/users", json=body)
    assert answer.status_code == status
    assert known(sandbox, name) is happens
    if status == 429:
        assert answer.headers["retry-after"] == "7"
        assert answer.json()["errors"][0]["code"] == "too_many_requests"
    if status in {500, 503}:
        assert answer.json()["errors"][0]["code"] == "internal_clerk_error"
    if fault == "truncated_json":
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    assert sandbox.state()["faults"] == []


@pytest.mark.parametrize(("fault", "happens"), [("connection_drop", False), ("lost_answer", True)])
def test_connections_end_without_a_byte(sandbox: Any, fault: str, happens: bool) -> None:
    name = f"dropped-{happens}".lower()
    sandbox.fault(fault, path="/v1/users", **({"drop": True} if happens else {}))
    with pytest.raises(httpx.RemoteProtocolError):
        sandbox.user(name)
    assert known(sandbox, name) is happens


def test_answers_hang_or_come_late(sandbox: Any) -> None:
    sandbox.fault("hang", path="/v1/users", when="after")
    with pytest.raises(httpx.ReadTimeout):
        sandbox.raw.post(
            "/v1/users", json={"email_address": ["hung@example.com"], "password": "so very long"}, timeout=0.3
        )
    assert known(sandbox, "hung")
    sandbox.fault("slow", seconds=0.3, path="/v1/users/count")
    answer = sandbox.api.get("/users/count")
    assert answer.elapsed.total_seconds() >= 0.3
    sandbox.fault("slow", seconds=0.3, when="after", path="/v1/users/count")
    assert sandbox.api.get("/users/count").elapsed.total_seconds() >= 0.3


def test_the_key_set_and_the_frontend_fail_too(sandbox: Any) -> None:
    sandbox.fault("server_error", path="/.well-known/jwks.json")
    sandbox.fault("html_502", path="*/client/sign_ins")
    assert (
        httpx.get(f"{sandbox.base}/v1/client/handshake", params={"redirect_url": sandbox.base}).status_code
        == 307
    )
    before = sandbox.state()["jwks_fetches"]
    assert httpx.get(f"{sandbox.base}/.well-known/jwks.json").status_code == 500
    assert sandbox.state()["jwks_fetches"] == before + 1
    assert httpx.get(f"{sandbox.base}/.well-known/jwks.json").status_code == 200
    assert httpx.post(f"{sandbox.base}/v1/client/sign_ins").status_code == 502


def test_the_official_client_makes_two_users_of_one_that_was_lost(sandbox: Any) -> None:
    """Its retries of a POST are not safe: only a unique address stops them."""
    retries = RetryConfig("backoff", BackoffStrategy(1, 10, 1.0, 2000), retry_connection_errors=True)
    sdk = sandbox.official(retry_config=retries)
    sandbox.fault("lost_answer", method="POST", path="/v1/users")
    with pytest.raises(models.ClerkErrors) as caught:
        sdk.users.create(email_address=["once@example.com"], password="so very long")
    assert caught.value.data.errors[0].code == "form_identifier_exists"
    before = sandbox.sdk.users.count(request={}).total_count
    sandbox.fault("lost_answer", method="POST", path="/v1/users")
    sdk.users.create(skip_user_requirement=True, skip_password_requirement=True)
    assert sandbox.sdk.users.count(request={}).total_count == before + 2


def test_faults_wait_for_their_turn(sandbox: Any) -> None:
    sandbox.fault("server_error", skip=1, times=2, path="/v1/users/count")
    statuses = [sandbox.api.get("/users/count").status_code for _ in range(4)]
    assert statuses == [200, 500, 500, 200]
    assert sandbox.raw.post("/_sandbox/faults", json={"fault": "bad_mood"}).status_code == 400
    sandbox.fault("rate_limit", times=None)
    assert [one["fault"] for one in sandbox.raw.get("/_sandbox/faults").json()] == ["rate_limit"]
    sandbox.raw.delete("/_sandbox/faults")
    assert sandbox.api.get("/users/count").status_code == 200


def test_people_sessions_and_keys_outlive_a_restart(run_clerk: Any, tmp_path: Path) -> None:
    with run_clerk(tmp_path) as server:
        user = server.user("kept")
        session = server.session(user["id"])
        user = server.api.get(f"/users/{user['id']}").json()
        server.control("keys/rotate", keep_old_s=None)
        keys = server.api.get("/jwks").json()
        server.control("clock", advance_s=3600)
        with server.browser() as browser:
            browser.open("/sign-in")
            browser.send("/sign-in", email_address="kept@example.com", password="correct horse battery")
            cookies = dict(browser.client.cookies)
    with run_clerk(tmp_path) as server:
        assert server.api.get("/jwks").json() == keys
        kept = server.api.get(f"/users/{user['id']}").json()
        assert kept["email_addresses"] == user["email_addresses"]
        assert server.api.get(f"/sessions/{session['id']}").json()["status"] == "active"
        assert server.state()["clock"]["offset_s"] == 3600
        with server.browser() as browser:
            browser.client.cookies.update(cookies)
            assert browser.open("/user").page.url.path == "/user"
        assert (tmp_path / "clerk").stat().st_mode & 0o077 == 0


def test_reset_forgets_everything(run_clerk: Any, tmp_path: Path) -> None:
    with run_clerk(tmp_path) as server:
        server.user("forgotten")
        kid = server.api.get("/jwks").json()["keys"][0]["kid"]
        server.control("clock", advance_s=60)
        server.fault("rate_limit", times=None)
        server.control("reset")
        state = server.state()
        assert (state["counts"], state["events"], state["faults"]) == ({}, [], [])
        assert (state["clock"]["offset_s"], state["jwks_fetches"]) == (0, 0)
        assert server.api.get("/jwks").json()["keys"][0]["kid"] != kid
        assert server.user("forgotten")["id"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {"advance_s": -1}),
        ("clock", {"speed": 2}),
        ("keys/rotate", {"keep_old_s": "long"}),
        ("webhooks/release", {"order": "alphabetical"}),
        ("webhooks/secret", {"secret": "whsec_?"}),
        ("tokens", {}),
    ],
)
def test_controls_are_strict(sandbox: Any, path: str, body: dict[str, Any]) -> None:
    answer = sandbox.raw.post(f"/_sandbox/{path}", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "request_body_invalid")


def test_of_two_who_want_one_address_one_gets_it(sandbox: Any) -> None:
    body = {"email_address": ["wanted@example.com"], "password": "so very long"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: sandbox.raw.post("/v1/users", json=body), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 7


def test_a_refusal_leaves_no_trace_unless_it_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for keeps in (False, True):
        with pytest.raises(ClerkError), store.atomic():
            store.put("thing", {"id": f"kept-{keeps}"})
            with store.atomic():
                store.put("thing", {"id": f"inner-{keeps}"})
            raise ClerkError(422, "no", "no", keeps=keeps)
    assert [one["id"] for one in store.all("thing")] == ["kept-True", "inner-True"]
    store.close()


def thing(id_: str, user_id: str | None, count: int = 0) -> dict[str, Any]:
    return {"id": id_, "user_id": user_id, "count": count}


def test_a_block_that_raises_leaves_records_and_their_order_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for id_ in ("a", "b", "c"):
        store.put("thing", thing(id_, "one"))
    with pytest.raises(ZeroDivisionError), store.atomic():
        store.put("thing", thing("a", "two", 1))
        store.delete("thing", "b")
        store.put("thing", thing("b", "two"))
        store.put("thing", thing("d", "one"))
        assert [one["id"] for one in store.where("thing", "user_id", "two")] == ["a", "b"]
        1 / 0  # noqa: B018 - the mistake
    before = [thing(id_, "one") for id_ in ("a", "b", "c")]
    assert store.all("thing") == store.where("thing", "user_id", "one") == before
    assert store.where("thing", "user_id", "two") == []
    store.find("thing", "a")["count"] = 9
    assert store.all("thing") == before
    store.close()
    again = Store(tmp_path)
    assert again.all("thing") == again.where("thing", "user_id", "one") == before
    again.close()


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("thing", thing("whole", None))
    with store.atomic():
        store.put("thing", thing("half", None))
        store.put("thing", thing("other half", None))
    store.close()
    log = tmp_path / "records.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    again = Store(tmp_path)
    assert [one["id"] for one in again.all("thing")] == ["whole"]
    again.put("thing", thing("next", None))
    again.close()
    last = Store(tmp_path)
    assert [one["id"] for one in last.all("thing")] == ["whole", "next"]
    last.close()


def test_a_sandbox_never_runs_in_production(tmp_path: Path) -> None:
    secret = "whsec_" + base64.b64encode(b"x").decode()
    config = ClerkSandboxConfig(
        tmp_path, "http://127.0.0.1:1", "sk_test_x", None, secret, environment="Production"
    )
    with pytest.raises(SandboxInProductionError):
        create_app(config)
    assert list(tmp_path.iterdir()) == []
