"""What the Stripe adapter makes of answers, faults and delays, told by a server that does as it is told."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest
import stripe

from visiona.adapters.http import Timeouts
from visiona.adapters.stripe import PINNED_VERSION, StripeConfig, StripePayments, is_live
from visiona.core.guard import TransactionOpenError, transaction_marker
from visiona.ports.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)
from visiona.ports.payments import CustomerOrder

KEY = "sk_test_secret4711"
EMAIL = "jane@example.org"
ORDER = CustomerOrder(reference="user:7", email=EMAIL, key="customer:user:7")
NOBODY: dict[str, Any] = {"object": "list", "data": [], "has_more": False, "url": "/v1/customers"}
JANE: dict[str, Any] = {"id": "cus_1", "object": "customer", "metadata": {"visiona_user": "user:7"}}
CHARGE: dict[str, Any] = {"id": "ch_1", "object": "charge", "customer": "cus_1"}
SECRETS = (KEY, EMAIL, "https://")


@pytest.fixture
def config(scripted_server: Any) -> StripeConfig:
    return StripeConfig(api_key=KEY, base_url=scripted_server.url, call_deadline_s=5.0)


@pytest.fixture
async def payments(config: StripeConfig) -> AsyncGenerator[StripePayments]:
    adapter = StripePayments(config)
    yield adapter
    await adapter.aclose()


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiona.adapters.stripe.calls._PAUSE_S", 0.01)


def an_error(**details: Any) -> dict[str, Any]:
    sentence = f"About {EMAIL} and {KEY}, see https://stripe.com/docs"
    return {"error": {"type": "invalid_request_error", "message": sentence} | details}


async def failure_of(call: Awaitable[object]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await call
    shown = f"{caught.value} {caught.value!r} {getattr(caught.value, 'message', '')}"
    assert not any(secret in shown for secret in SECRETS)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


# What is sent


async def test_a_request_is_bounded_versioned_and_tells_nothing_about_us(
    payments: StripePayments, scripted_server: Any
) -> None:
    scripted_server.answers = [scripted_server.json(200, CHARGE)]

    assert await payments.customer_of_charge("ch_1") == "cus_1"

    sent = scripted_server.exchanges[0]
    assert (sent.method, sent.target) == ("GET", "/v1/charges/ch_1")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["stripe-version"] == PINNED_VERSION
    assert sent.headers["accept-encoding"] == "identity"
    assert "x-stripe-client-telemetry" not in sent.headers
    assert "platform" not in sent.headers["x-stripe-client-user-agent"]


async def test_an_id_cannot_lead_elsewhere(payments: StripePayments, scripted_server: Any) -> None:
    scripted_server.answers = [scripted_server.json(200, CHARGE)]

    await payments.customer_of_charge("../customers/cus_1?x=")

    assert scripted_server.exchanges[0].target == "/v1/charges/..%2Fcustomers%2Fcus_1%3Fx%3D"


async def test_a_customer_is_made_with_the_callers_key(
    payments: StripePayments, scripted_server: Any
) -> None:
    scripted_server.answers = [scripted_server.json(200, NOBODY), scripted_server.json(200, JANE)]

    assert await payments.customer(ORDER) == "cus_1"

    looked, made = scripted_server.exchanges
    assert looked.target == "/v1/customers?limit=100&email=jane%40example.org"
    assert made.headers["idempotency-key"] == ORDER.key
    assert parse_qs(made.body.decode()) == {"email": [EMAIL], "metadata[visiona_user]": ["user:7"]}


async def test_of_customers_with_the_email_only_ours_is_taken(
    payments: StripePayments, scripted_server: Any
) -> None:
    others: list[dict[str, Any]] = [
        {"id": "cus_a", "object": "customer", "metadata": {}},
        {"id": "cus_b", "object": "customer", "metadata": {"visiona_user": "user:70"}},
        {"id": "cus_c", "object": "customer", "metadata": None},
        JANE | {"id": "cus_d", "deleted": True},
    ]
    first = NOBODY | {"data": others, "has_more": True}
    scripted_server.answers = [
        scripted_server.json(200, first),
        scripted_server.json(200, NOBODY | {"data": [JANE]}),
    ]

    assert await payments.customer(ORDER) == "cus_1"

    assert "starting_after=cus_d" in scripted_server.exchanges[1].target
    assert len(scripted_server.exchanges) == 2


async def test_nothing_is_called_inside_a_transaction(payments: StripePayments, scripted_server: Any) -> None:
    with transaction_marker(), pytest.raises(TransactionOpenError):
        await payments.customer_of_charge("ch_1")

    assert scripted_server.connections == 0


# Answers with an error


@pytest.mark.parametrize(
    ("status", "error", "kind", "reason"),
    [
        (
            400,
            an_error(code="parameter_missing", param="email"),
            ProviderRejected,
            "parameter_missing (email)",
        ),
        (400, an_error(param="line_items[0][price]"), ProviderRejected, "invalid_request_error (line_items["),
        (400, an_error(type="idempotency_error"), ProviderRejected, "idempotency_error"),
        (400, an_error(code=EMAIL, param="https://x.test"), ProviderRejected, "refused"),
        (
            400,
            an_error(code="resource_missing", param="customer"),
            ProviderNotFound,
            "resource_missing (cust",
        ),
        (404, an_error(code="resource_missing", param="id"), ProviderNotFound, "resource_missing (id)"),
        (404, an_error(), ProviderRejected, "invalid_request_error"),
        (401, an_error(), ProviderRejected, "the API key is not accepted"),
        (402, an_error(type="card_error", code="card_declined"), ProviderRejected, "card_declined"),
        (403, an_error(), ProviderRejected, "lacks the permission for this"),
        (409, an_error(code="idempotency_key_in_use"), ProviderUnavailable, "conflict"),
        (409, an_error(type="idempotency_error"), ProviderUnavailable, "conflict"),
        (429, an_error(code="rate_limit"), ProviderUnavailable, "rate_limited"),
        (400, an_error(code="rate_limit"), ProviderUnavailable, "rate_limited"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refusal_is_told_apart(
    payments: StripePayments,
    scripted_server: Any,
    status: int,
    error: dict[str, Any],
    kind: type[ProviderError],
    reason: str,
    method: str,
) -> None:
    answer = scripted_server.json(status, error, Request_Id="req_1")
    scripted_server.answers = [answer]
    call = payments.customer_of_charge("ch_1")
    if method == "POST":
        call.close()
        scripted_server.answers = [scripted_server.json(200, NOBODY), answer]
        call = payments.customer(ORDER)

    failure = await failure_of(call)

    assert type(failure) is kind
    assert reason in failure.reason


async def test_a_missing_permission_is_named(payments: StripePayments, scripted_server: Any) -> None:
    sentence = f"The key '{KEY}' does not have the required permissions. Having the 'rak_charge_read' helps."
    scripted_server.answers = [scripted_server.json(403, an_error(message=sentence))]

    failure = await failure_of(payments.customer_of_charge("ch_1"))

    assert failure.reason == "the API key lacks the permission rak_charge_read"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("1e9", 3600.0), ("inf", None), ("nan", None), ("soon", None)],
)
async def test_how_long_to_wait_is_passed_on(
    payments: StripePayments, scripted_server: Any, told: str, seconds: float | None
) -> None:
    scripted_server.answers = [scripted_server.json(429, an_error(), Retry_After=told)]

    failure = await failure_of(payments.customer_of_charge("ch_1"))

    assert isinstance(failure, ProviderUnavailable)
    assert failure.retry_after == seconds
    assert len(scripted_server.exchanges) == 1


# Answers that are none

GARBAGE: list[tuple[int, bytes, str]] = [
    (200, b"<html><body>Welcome to the hotel, https://wifi.test</body></html>", "text/html"),
    (200, b"", "application/json"),
    (200, b'{"id": "cus_1", "object', "application/json"),
    (200, b"null", "application/json"),
    (200, b"7", "application/json"),
    (200, b'"cus_1"', "application/json"),
    (200, b"[]", "application/json"),
    (200, b'[{"id": "cus_1"}]', "application/json"),
    (200, b"{}", "application/json"),
    (200, b'{"id": null, "customer": 5, "object": "charge"}', "application/json"),
    (200, b'{"id": 5, "customer": [], "object": "price", "unit_amount_decimal": "x"}', "application/json"),
    (200, b'{"id": "", "customer": {}, "object": "list"}', "application/json"),
    (200, b'{"id": {}, "customer": {"id": 5}, "object": {}}', "application/json"),
    (200, b'{"id": "x", "metadata": [], "customer": 1.5, "object": 5}', "application/json"),
    (200, b"\xff\xfe\x00", "application/json"),
    (200, b"[" * 50_000, "application/json"),
    (302, b"", "text/html"),
    (307, b'{"id": "cus_1"}', "application/json"),
    (400, b"<html>bad gateway in disguise</html>", "text/html"),
    (401, b"<html>log in to the proxy</html>", "text/html"),
    (403, b"[]", "application/json"),
    (404, b'{"error": "not_found"}', "application/json"),
    (404, b'{"error": []}', "application/json"),
    (404, b'{"error": null}', "application/json"),
    (400, b'{"error": {"type": 5}}', "application/json"),
]


@pytest.mark.parametrize(("status", "body", "content_type"), GARBAGE)
async def test_an_answer_of_another_shape_to_a_get_had_no_effect(
    payments: StripePayments, scripted_server: Any, status: int, body: bytes, content_type: str
) -> None:
    location = "https://elsewhere.test/v1/charges/ch_1"
    scripted_server.answers = [scripted_server.reply(status, body, content_type, Location=location)]

    if body == b"{}":  # a charge that says nothing of its customer
        assert await payments.customer_of_charge("ch_1") is None
        return
    failure = await failure_of(payments.customer_of_charge("ch_1"))

    assert (type(failure), failure.reason) == (ProviderUnavailable, "unusable_answer")
    assert len(scripted_server.exchanges) == 1


@pytest.mark.parametrize(("status", "body", "content_type"), GARBAGE)
async def test_an_answer_of_another_shape_to_a_post_leaves_it_open(
    payments: StripePayments, scripted_server: Any, status: int, body: bytes, content_type: str
) -> None:
    scripted_server.answers = [
        scripted_server.json(200, NOBODY),
        scripted_server.reply(status, body, content_type),
    ]

    failure = await failure_of(payments.customer(ORDER))

    assert (type(failure), failure.reason) == (OutcomeUnknown, "unusable_answer")
    assert len(scripted_server.exchanges) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504, 424, 408])
async def test_a_server_error_of_a_post_leaves_it_open(
    payments: StripePayments, scripted_server: Any, status: int
) -> None:
    scripted_server.answers = [
        scripted_server.json(200, NOBODY),
        scripted_server.json(status, an_error(type="api_error")),
    ]

    failure = await failure_of(payments.customer(ORDER))

    assert (type(failure), failure.reason) == (OutcomeUnknown, "server_error")
    assert len(scripted_server.exchanges) == 2  # the same key would be given the same answer


async def test_a_server_error_of_a_get_is_tried_once_more(
    payments: StripePayments, scripted_server: Any
) -> None:
    broken = scripted_server.reply(502, b"<html>Bad Gateway</html>")
    scripted_server.answers = [broken, scripted_server.json(200, CHARGE)]
    assert await payments.customer_of_charge("ch_1") == "cus_1"

    scripted_server.answers = [broken]
    failure = await failure_of(payments.customer_of_charge("ch_1"))

    assert (type(failure), failure.reason) == (ProviderUnavailable, "server_error")
    assert len(scripted_server.exchanges) == 4


async def test_lists_that_lead_nowhere_or_never_end_are_left(
    payments: StripePayments, scripted_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visiona.adapters.stripe.calls._MAX_PAGES", 3)
    endless = NOBODY | {"data": [JANE | {"metadata": {}}], "has_more": True}
    for body in (NOBODY | {"has_more": True}, NOBODY | {"data": [{"object": "customer"}]}, endless):
        scripted_server.answers = [scripted_server.json(200, body)]
        failure = await failure_of(payments.customer(ORDER))
        assert (type(failure), failure.reason) == (ProviderUnavailable, "unusable_answer")

    assert len(scripted_server.exchanges) == 5


# Connections


async def test_a_refused_connection_had_no_effect(
    config: StripeConfig, unused_tcp_port_factory: Callable[[], int]
) -> None:
    payments = StripePayments(replace(config, base_url=f"http://127.0.0.1:{unused_tcp_port_factory()}"))

    for call in (payments.customer_of_charge("ch_1"), payments.customer(ORDER)):
        failure = await failure_of(call)
        assert (type(failure), failure.reason) == (ProviderUnavailable, "unreachable")
    await payments.aclose()


async def test_a_lost_answer_to_a_post_is_asked_for_again_with_the_same_key(
    payments: StripePayments, scripted_server: Any
) -> None:
    scripted_server.answers = [
        scripted_server.json(200, NOBODY),
        scripted_server.raw(b""),
        scripted_server.json(200, JANE),
    ]

    assert await payments.customer(ORDER) == "cus_1"

    keys = [exchange.headers.get("idempotency-key") for exchange in scripted_server.exchanges]
    assert keys == [None, ORDER.key, ORDER.key]


@pytest.mark.parametrize(
    "partial", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"]
)
async def test_a_connection_lost_twice_leaves_a_post_open(
    payments: StripePayments, scripted_server: Any, partial: bytes
) -> None:
    scripted_server.answers = [scripted_server.json(200, NOBODY), scripted_server.raw(partial)]

    failure = await failure_of(payments.customer(ORDER))

    assert (type(failure), failure.reason) == (OutcomeUnknown, "connection_lost")
    assert len(scripted_server.exchanges) == 3


async def test_that_the_second_attempt_did_nothing_says_nothing_about_the_first(
    payments: StripePayments, scripted_server: Any
) -> None:
    scripted_server.answers = [
        scripted_server.json(200, NOBODY),
        scripted_server.raw(b""),
        scripted_server.json(429, an_error()),
    ]

    failure = await failure_of(payments.customer(ORDER))

    assert (type(failure), failure.reason) == (OutcomeUnknown, "connection_lost")


async def test_a_lock_is_waited_for_once(payments: StripePayments, scripted_server: Any) -> None:
    scripted_server.answers = [
        scripted_server.json(200, NOBODY),
        scripted_server.json(409, an_error(code="idempotency_key_in_use")),
        scripted_server.json(200, JANE),
    ]

    assert await payments.customer(ORDER) == "cus_1"


async def test_silence_is_not_waited_for(config: StripeConfig, scripted_server: Any) -> None:
    async def silence(_exchange: Any, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    payments = StripePayments(replace(config, timeouts=Timeouts(read_s=0.3)))
    scripted_server.answers = [silence]
    got = await failure_of(payments.customer_of_charge("ch_1"))
    scripted_server.answers = [scripted_server.json(200, NOBODY), silence]
    posted = await failure_of(payments.customer(ORDER))
    await payments.aclose()

    assert (type(got), got.reason) == (ProviderUnavailable, "timeout")
    assert (type(posted), posted.reason) == (OutcomeUnknown, "timeout")
    assert len(scripted_server.exchanges) == 3


async def test_a_trickle_is_cut_off_by_the_deadline(config: StripeConfig, scripted_server: Any) -> None:
    async def trickle(_exchange: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    payments = StripePayments(replace(config, call_deadline_s=0.6))
    scripted_server.answers = [trickle]
    began = asyncio.get_running_loop().time()
    failure = await failure_of(payments.customer_of_charge("ch_1"))
    took = asyncio.get_running_loop().time() - began
    await payments.aclose()

    assert (type(failure), failure.reason) == (ProviderUnavailable, "timeout")
    assert took < 3.0


async def test_a_body_without_length_is_capped(config: StripeConfig, scripted_server: Any) -> None:
    sent = 0

    async def flood(_exchange: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            sent += 65_536
            await writer.drain()

    payments = StripePayments(replace(config, max_answer_bytes=1_000_000))
    scripted_server.answers = [flood]
    failure = await failure_of(payments.customer_of_charge("ch_1"))
    await payments.aclose()

    assert (type(failure), failure.reason) == (ProviderUnavailable, "unusable_answer")
    assert sent < 20_000_000


async def test_closed_it_can_be_used_again(payments: StripePayments, scripted_server: Any) -> None:
    scripted_server.answers = [scripted_server.json(200, CHARGE)]
    await payments.customer_of_charge("ch_1")
    await payments.aclose()
    await payments.aclose()

    assert await payments.customer_of_charge("ch_1") == "cus_1"


# What is written down


async def test_logs_name_requests_but_no_person_key_or_address(
    payments: StripePayments, scripted_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scripted_server.answers = [
        scripted_server.json(200, NOBODY),
        scripted_server.json(400, an_error(code="email_invalid"), Request_Id="req_Ab1"),
    ]
    await failure_of(payments.customer(ORDER))
    for body in (b"<html>https://x.test</html>", json.dumps({"customer": EMAIL * 99}).encode()):
        scripted_server.answers = [scripted_server.reply(200, body)]
        await failure_of(payments.customer_of_charge("ch_1"))

    assert "create customer: stripe: email_invalid, request req_Ab1" in caplog.text
    assert not any(secret in caplog.text for secret in SECRETS)


async def test_a_key_that_is_not_accepted_is_told_once(
    payments: StripePayments, scripted_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scripted_server.answers = [scripted_server.json(401, an_error(), Request_Id="https://evil.test")]
    for _ in range(3):
        failure = await failure_of(payments.customer_of_charge("ch_1"))
        assert isinstance(failure, ProviderRejected)
        assert failure.status == 401

    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "the API key is not accepted" in errors[0]
    assert "evil" not in errors[0]


async def test_notices_in_headers_are_no_warnings_of_ours(
    payments: StripePayments, scripted_server: Any
) -> None:
    notice = {"Stripe_Notice": "see https://stripe.com", "Set_Cookie": "a=b"}
    scripted_server.answers = [scripted_server.json(200, CHARGE, **notice)]

    await payments.customer_of_charge("ch_1")  # a warning would fail the test
    await payments.customer_of_charge("ch_1")

    assert "cookie" not in scripted_server.exchanges[1].headers


# The configuration


def test_a_configuration_hides_its_key() -> None:
    assert KEY not in repr(StripeConfig(api_key=KEY))
    assert StripeConfig(api_key=KEY).base_url == stripe.DEFAULT_API_BASE


async def test_without_a_key_nothing_is_sent(config: StripeConfig, scripted_server: Any) -> None:
    payments = StripePayments(replace(config, api_key=""))

    failure = await failure_of(payments.customer_of_charge("ch_1"))

    assert (type(failure), failure.reason) == (ProviderRejected, "no API key is configured")
    assert scripted_server.connections == 0


@pytest.mark.parametrize("key", [" ", "a b", "sk_test_\n", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="API key"):
        StripeConfig(api_key=key)


@pytest.mark.parametrize("url", ["", "api.stripe.com", "ftp://x", "http://x/v1", "http://x?y", "http://x/"])
def test_a_base_url_is_only_a_host(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        StripeConfig(api_key=KEY, base_url=url)


@pytest.mark.parametrize(
    ("key", "live"),
    [
        ("sk_test_1", False),
        ("rk_test_1", False),
        ("sk_org_test_1", False),
        ("sk_live_1", True),
        ("rk_live_1", True),
        ("sk_1", True),
        ("test_1", True),
        ("", True),
    ],
)
def test_a_key_tells_whether_money_is_real(key: str, live: bool) -> None:
    assert is_live(key) is live
