"""Bad input gets its problem document, and nothing is stored or spent."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories import photos as factory
from tests.journeys.conftest import NewPerson, Person, Stack

from visiona.objects.model import owner_of

pytestmark = pytest.mark.journey


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["type"].endswith(code)
    return problem


def upload(person: Person, *files: Path | tuple[str, bytes], field: str = "photos") -> httpx.Response:
    named = [(f.name, f.read_bytes()) if isinstance(f, Path) else f for f in files]
    return person.http.post("/api/photos/upload", files=[(field, entry) for entry in named])


def announce(stack: Stack, person: Person, length: int) -> str:
    """The status line that a request gets which only promises a body of this length."""
    host, port = stack.url.removeprefix("http://").split(":")
    head = (
        f"POST /api/photos/upload HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: {person.http.headers['authorization']}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode())
        return connection.recv(1000).decode().partition("\r\n")[0]


def assert_nothing_kept(stack: Stack, person: Person) -> None:
    user_id = person.http.get("/api/auth/me").json()["id"]
    for table in (
        "photos",
        "models",
        "trainings",
        "runs",
        "generations",
        "pending_objects",
        "idempotency_keys",
    ):
        assert stack.rows(f"select count(*) from {table} where user_id = %s", user_id) == [(0,)], table
    spent = "select coalesce(sum(used + reserved), 0) from quota_usage where user_id = %s"
    assert stack.rows(spent, user_id) == [(0,)]
    assert [key for key in stack.object_keys() if owner_of(key) == user_id] == []


def test_files_that_are_no_photos(stack: Stack, new_person: NewPerson, tmp_path: Path) -> None:
    person = new_person(stack, "grace@example.com")
    hostile = {
        "png_bomb": factory.png_bomb(tmp_path, side=20_000),
        "truncated": factory.truncated_jpeg(tmp_path),
        "empty": factory.empty_file(tmp_path),
        "text": factory.not_an_image(tmp_path),
        "svg": factory.svg_script(tmp_path),
    }
    expected = {
        "png_bomb": "image_too_many_pixels",
        "truncated": "image_truncated",
        "empty": "file_empty",
        "text": "not_an_image",
        "svg": "unsupported_format",
    }
    for name, path in hostile.items():
        problem = assert_problem(upload(person, path), 422, "all_photos_rejected")
        assert problem["rejected"] == [
            {"filename": path.name, "code": expected[name], "message": problem["rejected"][0]["message"]}
        ]
    assert_nothing_kept(stack, person)


def test_uploads_that_are_too_much_or_broken(stack: Stack, new_person: NewPerson) -> None:
    person = new_person(stack, "ada@example.com")
    many = [(f"{n}.jpg", b"x") for n in range(300)]
    assert_problem(upload(person, *many), 422, "too_many_files")
    assert_problem(upload(person, ("a.jpg", b"x"), field="selfies"), 422, "invalid_input")
    large = upload(person, ("large.jpg", b"\xff\xd8" + bytes(26 * 1024 * 1024)))
    assert assert_problem(large, 422, "all_photos_rejected")["rejected"][0]["code"] == "file_too_large"
    broken = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"", b"--x\r\n", b"not multipart at all", b"--x\r\nContent-Disposition: form-data"):
        answer = person.http.post("/api/photos/upload", content=body, headers=broken)
        assert answer.status_code == 422, answer.text
    assert_problem(person.http.post("/api/photos/upload", json={}), 422, "invalid_upload")
    assert "413" in announce(stack, person, 2**40)
    assert_nothing_kept(stack, person)


BODIES: list[tuple[str, Any, int, str, str | None]] = [
    ("/api/models/train", {"trigger_word": "TOK"}, 422, "not_enough_photos", None),
    ("/api/models/train", {"trigger_word": "T O K"}, 422, "invalid_input", "trigger_word"),
    ("/api/models/train", {"trigger_word": "TOK", "wings": 2}, 422, "invalid_input", "wings"),
    ("/api/models/train", {}, 422, "invalid_input", "trigger_word"),
    ("/api/models/train", {"trigger_word": 7}, 422, "invalid_input", "trigger_word"),
    (
        "/api/models/train",
        {"trigger_word": "TOK", "parameters": {"steps": 7000}},
        422,
        "invalid_input",
        "parameters.steps",
    ),
    (
        "/api/models/train",
        {"trigger_word": "TOK", "parameters": {"hf_token": "x"}},
        422,
        "invalid_input",
        "parameters.hf_token",
    ),
    (
        "/api/models/train",
        {"trigger_word": "TOK", "photo_ids": [1, 2]},
        422,
        "invalid_input",
        "photo_ids[0]",
    ),
    ("/api/generate", {"model_id": 1, "prompt": "x"}, 404, "model_not_found", None),
    ("/api/generate", {"model_id": 2**70, "prompt": "x"}, 422, "invalid_input", "model_id"),
    ("/api/generate", {"prompt": "x"}, 422, "invalid_input", "model_id"),
    ("/api/generate", {"model_id": 1, "prompt": "x", "num_outputs": 5}, 422, "invalid_input", "num_outputs"),
    ("/api/generate", {"model_id": 1, "prompt": " "}, 422, "invalid_input", "prompt"),
    ("/api/generate", {"model_id": 1, "prompt": "x" * 1501}, 422, "invalid_input", "prompt"),
    ("/api/gallery/delete", {"ids": []}, 422, "invalid_input", "ids"),
    ("/api/gallery/delete", {"ids": ["a"]}, 422, "invalid_input", None),
    ("/api/auth/login", {"email": "a@b.c"}, 422, "invalid_input", "password"),
]


def test_bodies(stack: Stack, new_person: NewPerson) -> None:
    person = new_person(stack, "eileen@example.com")
    for path, body, status, code, field in BODIES:
        problem = assert_problem(person.http.post(path, json=body), status, code)
        if field is not None:
            assert field in [error["field"] for error in problem["errors"]], (path, body)
    assert_nothing_kept(stack, person)


def test_requests_that_are_no_json(stack: Stack, new_person: NewPerson) -> None:
    person = new_person(stack, "mary@example.com")
    headers = {"content-type": "application/json"}
    post = person.http.post
    assert_problem(post("/api/models/train", content=b"{", headers=headers), 400, "malformed_request")
    assert_problem(post("/api/models/train", content=b"", headers=headers), 422, "invalid_input")
    huge = b'{"trigger_word": "' + b"x" * 200_000 + b'"}'
    assert_problem(post("/api/models/train", content=huge, headers=headers), 413, "body_too_large")
    deep = b'{"model_id": 1, "prompt": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    assert post("/api/generate", content=deep, headers=headers).status_code in {400, 422}
    assert_problem(person.http.get("/api/models/nowhere"), 404, "not_found")
    assert_problem(person.http.get("/api/models/99999999999999999999999"), 404, "not_found")
    assert_problem(person.http.get("/api/gallery?limit=1000"), 422, "invalid_input")
    assert_problem(person.http.get("/api/gallery?cursor=abc"), 422, "invalid_input")
    assert_problem(person.http.put("/api/models/train"), 405, "method_not_allowed")
    assert_nothing_kept(stack, person)


@pytest.fixture(scope="module")
def ready(stack: Stack, grace: list[Path]) -> Iterator[tuple[Person, int]]:
    """Somebody, and their clone; what they spent is for the last of the tests alone."""
    person = Person(stack, "ready@example.com")
    yield person, person.ready_clone(grace)
    person.close()


def test_inputs_that_the_clone_does_not_take(stack: Stack, ready: tuple[Person, int]) -> None:
    person, model_id = ready
    for name, value in (
        ("aspect_ratio", "7:5"),
        ("guidance_scale", 11),
        ("num_inference_steps", 0),
        ("disable_safety_checker", True),
        ("replicate_weights", "https://example.com/x"),
        ("image", "http://169.254.169.254/"),
        ("wings", 2),
        ("seed", "one"),
        ("width", 512),
    ):
        answer = person.http.post("/api/generate", json={"model_id": model_id, "prompt": "x", name: value})
        assert name in [error["field"] for error in assert_problem(answer, 422, "invalid_input")["errors"]]
    assert person.quota()["images"]["used"] == 0
    assert stack.rows("select count(*) from runs where model_id = %s", model_id) == [(0,)]


def test_quota_that_is_used_up(stack: Stack, ready: tuple[Person, int]) -> None:
    person, model_id = ready
    body = {"model_id": model_id, "prompt": "TOK", "num_outputs": 2}
    stack.rows(
        """insert into quota_usage (user_id, resource, period_start, period_end, plan, entitled, used)
           select q.user_id, 'images', period_start, period_end, 'free', 30, 29
           from quota_usage q join models m on m.user_id = q.user_id where m.id = %s returning 1""",
        model_id,
    )
    assert_problem(person.http.post("/api/generate", json=body), 402, "quota_exhausted")
    assert person.http.post("/api/generate", json={**body, "num_outputs": 1}).status_code == 202
    assert_problem(person.http.post("/api/generate", json={**body, "num_outputs": 1}), 402, "quota_exhausted")


def test_cookies_work_from_our_own_pages_only(stack: Stack, new_person: NewPerson) -> None:
    person = new_person(stack, "dorothy@example.com")
    login = httpx.post(
        f"{stack.url}/api/auth/login",
        json={"email": person.email, "password": "correct horse battery staple"},
    )
    cookies = dict(login.cookies)
    assert "HttpOnly" in login.headers["set-cookie"]
    assert "samesite=lax" in login.headers["set-cookie"].lower()
    url = f"{stack.url}/api/gallery/delete"
    for headers in ({}, {"origin": "https://evil.example"}, {"origin": "null"}):
        answer = httpx.post(url, json={"ids": [1]}, cookies=cookies, headers=headers)
        assert_problem(answer, 403, "origin_mismatch")
    own = httpx.post(url, json={"ids": [1]}, cookies=cookies, headers={"origin": stack.url})
    assert own.status_code == 200
    assert httpx.get(f"{stack.url}/api/auth/me", cookies=cookies).status_code == 200


def test_webhooks_that_nobody_signed(stack: Stack) -> None:
    url = f"{stack.url}/api/webhooks/replicate?topic=prediction&user=1&id=1"
    body = b'{"id": "x", "status": "succeeded"}'
    assert_problem(httpx.post(url, content=body), 401, "invalid_signature")
    forged = {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert_problem(httpx.post(url, content=body, headers=forged), 401, "invalid_signature")

    url = f"{stack.url}/api/payment/webhook"
    event = {"id": "evt_1", "object": "event", "type": "invoice.paid", "livemode": False, "data": {}}
    assert_problem(httpx.post(url, json=event), 401, "invalid_signature")
    forged = {"stripe-signature": f"t={int(time.time())},v1={'0' * 64}"}
    assert_problem(httpx.post(url, json=event, headers=forged), 401, "invalid_signature")
    assert (
        stack.rows("select external_id from webhook_receipts where external_id in ('msg_1', 'evt_1')") == []
    )
