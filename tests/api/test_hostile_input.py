"""Input that nobody sends by accident gets its problem document, never an internal error."""

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

JSON = {"Content-Type": "application/json"}
PART = 'Content-Disposition: form-data; name="photos"; filename="{}"\r\nContent-Type: image/jpeg\r\n\r\n'


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/auth/signup", b'{"email": "a\xff@example.com", "password": "a quiet blue harbour"}'),
        ("/api/auth/login", b'{"email": "a\xed\xa0\x80@example.com", "password": "x"}'),
        ("/api/generate", b'{"model_id": 1, "prompt": "\xff"}'),
        ("/api/models/train", b"\xff\xfe\x00"),
        ("/api/payment/subscribe", b'{"plan": "\xff"}'),
        ("/api/payment/portal", b"\xff"),
    ],
)
async def test_bodies_that_are_not_text(
    stranger: httpx.AsyncClient, person: dict[str, str], path: str, body: bytes
) -> None:
    headers = {**JSON, "Authorization": person["token"]}
    answer = await stranger.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("wait", [b"wait=\xb2", b"wait=-1", b"wait=1e9", b"wait", b"wait=" + b"9" * 5000])
async def test_preferences_that_are_no_number(
    stranger: httpx.AsyncClient, person: dict[str, str], wait: bytes
) -> None:
    answer = await stranger.post(
        "/api/generate",
        json={"model_id": 1, "prompt": "me"},
        headers=[(b"Authorization", person["token"].encode()), (b"Prefer", wait)],
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("wanted", ["bytes=" + "1" * 5000 + "-", "bytes=0-" + "9" * 5000, "bytes=9-1"])
async def test_ranges_without_measure(stranger: httpx.AsyncClient, wanted: str) -> None:
    answer = await stranger.get("/media/u1/photos/x.jpg?expires=1&signature=x", headers={"Range": wanted})
    assert (answer.status_code, answer.json()["code"]) == (404, "link_expired")


@pytest.mark.parametrize(
    "part", [PART.format("x" * 5000), "X-Long: " + "x" * 9000 + "\r\n\r\n", "X: y\r\n" * 50 + "\r\n"]
)
async def test_uploads_with_headers_without_measure(
    stranger: httpx.AsyncClient, person: dict[str, str], part: str
) -> None:
    answer = await stranger.post(
        "/api/photos/upload",
        content=f"--x\r\n{part}hello\r\n--x--\r\n",
        headers={"Authorization": person["token"], "Content-Type": "multipart/form-data; boundary=x"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_upload")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"model_id": 1, "prompt": "me"}),
        ("/api/models/train", {"trigger_word": "TOK"}),
        ("/api/payment/subscribe", {"plan": "premium"}),
    ],
)
@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_an_idempotency_key_is_not_passed_over(
    stranger: httpx.AsyncClient, person: dict[str, str], path: str, body: Any, key: str
) -> None:
    """Who sends one counts on it: with a key that is none, nothing may be spent."""
    headers = {"Authorization": person["token"], "Idempotency-Key": key}
    answer = await stranger.post(path, json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_idempotency_key")


async def test_training_texts_that_no_row_could_keep(
    stranger: httpx.AsyncClient, person: dict[str, str]
) -> None:
    body = {"trigger_word": "TOK", "parameters": {"autocaption_prefix": "a\x00b"}}
    answer = await stranger.post("/api/models/train", json=body, headers={"Authorization": person["token"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert [error["field"] for error in answer.json()["errors"]] == ["parameters.autocaption_prefix"]


@pytest.mark.parametrize(
    "invoice", ["%00", "in_1%00", "%FF", "%F0%9F%92%A9", "in%201", "x" * 256, "x" * 5000]
)
async def test_invoices_that_no_row_could_be(
    stranger: httpx.AsyncClient, person: dict[str, str], invoice: str
) -> None:
    headers = {"Authorization": person["token"]}
    for path in (f"/api/payment/invoices/{invoice}", f"/api/payment/invoices/{invoice}/pdf"):
        answer = await stranger.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    answer = await stranger.get(f"/api/payment/invoices?cursor={invoice}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"plan": 1},
        {"plan": "x" * 41},
        {"plan": "premium", "interval": "week"},
        {"plan": "premium", "price": "0.01"},
        {"plan": "premium", "trial_days": 365},
        [],
        None,
    ],
)
async def test_wishes_to_subscribe_that_cannot_be_meant(
    stranger: httpx.AsyncClient, person: dict[str, str], body: Any
) -> None:
    """What a plan costs and how it begins is not the client's to say."""
    answer = await stranger.post(
        "/api/payment/subscribe", json=body, headers={"Authorization": person["token"]}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("plan", ["free", "gold", "", "Premium", "premium\x00", "../premium"])
async def test_plans_that_are_not_for_sale(
    stranger: httpx.AsyncClient, person: dict[str, str], plan: str
) -> None:
    answer = await stranger.post(
        "/api/payment/subscribe", json={"plan": plan}, headers={"Authorization": person["token"]}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_plan")


@pytest.mark.parametrize(
    "signature",
    [
        None,
        b"",
        b"t=1,v1=ab",
        b"t=,v1=",
        b"t=" + b"9" * 400 + b",v1=x",
        b"t=1;v1",
        b"\xff",
        b"v1=" + b"a" * 64,
    ],
)
async def test_payment_webhooks_that_nobody_signed(
    stranger: httpx.AsyncClient, signature: bytes | None
) -> None:
    headers = [] if signature is None else [(b"Stripe-Signature", signature)]
    answer = await stranger.post("/api/payment/webhook", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")


async def test_a_payment_webhook_without_measure(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.post("/api/payment/webhook", content=b"x" * (2 * 1024 * 1024))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
