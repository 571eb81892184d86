"""The protocol itself: keys, versions, forms, errors, lists and expansion."""

import asyncio
import base64
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from visiona.sandbox.guard import SandboxInProductionError
from visiona.sandbox.stripe import StripeSandboxConfig, create_app

KEY = "sk_test_sandbox0000000000"
VERSION = "2026-10-28.endive"


def error_of(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    assert set(body) == {"error"}
    assert re.fullmatch(r"req_[0-9A-Za-z]{14}", answer.headers["request-id"])
    assert answer.headers["x-visiona-sandbox"] == "stripe"
    return body["error"]


def test_the_sdk_pins_the_version_that_the_sandbox_speaks(sandbox: Any) -> None:
    customer = sandbox.customer()
    assert customer.last_response.headers["stripe-version"] == VERSION
    assert stripe.api_version == VERSION


# The SDK hands its form to httpx in a way that httpx has begun to discourage.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
async def test_the_asynchronous_sdk_works_too(sandbox: Any) -> None:
    http = stripe.HTTPXClient()
    client = sandbox.sdk(http_client=http)
    made = await client.v1.customers.create_async({"email": "async@example.com"})
    found = await client.v1.customers.retrieve_async(made.id)
    await http.close_async()
    assert found.email == "async@example.com"


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {KEY}",
        "Basic " + base64.b64encode(f"{KEY}:".encode()).decode(),
        "Basic " + base64.b64encode(KEY.encode()).decode(),
    ],
)
def test_the_key_may_be_a_bearer_token_or_a_user_name(sandbox: Any, authorization: str) -> None:
    answer = httpx.get(f"{sandbox.base}/v1/customers", headers={"authorization": authorization})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (None, "You did not provide an API key."),
        ("Basic !!!", "You did not provide an API key."),
        ("Bearer sk_live_0123456789abcdef", "Invalid API Key provided: sk_live_************cdef"),
        ("Bearer short", "Invalid API Key provided: ****"),
        ("Bearer sk_test_sch\xf6n000000000", "Invalid API Key provided: sk_test_"),
    ],
)
def test_a_wrong_key_is_refused(sandbox: Any, authorization: str | None, message: str) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    for path in ("/v1/customers", "/v1/customers/cus_nobody", "/v1/nothing"):
        answer = httpx.get(f"{sandbox.base}{path}", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="Stripe"'
        error = error_of(answer)
        assert error["type"] == "invalid_request_error"
        assert error["message"].startswith(message)


def test_the_sdk_knows_a_wrong_key(sandbox: Any) -> None:
    with pytest.raises(stripe.AuthenticationError):
        sandbox.sdk("sk_test_wrong_key_00").v1.customers.list()


@pytest.mark.parametrize("version", ["2025-03-31.basil", "2026-09-30.endive", "nonsense"])
def test_another_version_is_refused(sandbox: Any, version: str) -> None:
    answer = sandbox.raw.get("/v1/customers", headers={"stripe-version": version})
    assert answer.status_code == 400
    assert version in error_of(answer)["message"]
    assert VERSION in error_of(answer)["message"]


def test_an_unknown_address_is_stripes_404(sandbox: Any) -> None:
    for method, path in (
        ("GET", "/v1/unicorns"),
        ("PUT", "/v1/customers"),
        ("POST", "/v1/events"),
        ("GET", "/v1"),
    ):
        answer = sandbox.raw.request(method, path)
        assert answer.status_code == 404
        assert error_of(answer)["message"].startswith(f"Unrecognized request URL ({method}: {path})")


def test_a_missing_object_names_itself(sandbox: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.client.v1.customers.retrieve("cus_nobody")
    error = caught.value
    assert (error.http_status, error.code, error.param) == (404, "resource_missing", "id")
    assert error.user_message == "No such customer: 'cus_nobody'"
    assert error.request_id.startswith("req_")


def test_a_missing_object_in_a_parameter_is_a_400(sandbox: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.client.v1.prices.create({"currency": "usd", "unit_amount": 100, "product": "prod_none"})
    assert (caught.value.http_status, caught.value.param) == (400, "product")
    assert caught.value.user_message == "No such product: 'prod_none'"


@pytest.mark.parametrize(
    ("form", "code", "param", "message"),
    [
        ("emial=a", "parameter_unknown", "emial", "Received unknown parameter: emial. Did you mean email?"),
        ("q=1&z=2", "parameter_unknown", "q", "Received unknown parameters: q, z"),
        ("address[sea]=x", "parameter_unknown", "address[sea]", "Received unknown parameter: address[sea]"),
        (
            "shipping[name]=x",
            "parameter_missing",
            "shipping[address]",
            "Missing required param: shipping[address].",
        ),
        ("balance=ten", "parameter_invalid_integer", "balance", "Invalid integer: ten"),
        ("balance[x]=1", "parameter_invalid_integer", "balance", "Invalid integer: {x}"),
        ("balance=1.5", "parameter_invalid_integer", "balance", "Invalid integer: 1.5"),
        (f"balance={'9' * 30}", "parameter_invalid_integer", "balance", f"Invalid integer: {'9' * 30}"),
        (
            "next_invoice_sequence=0",
            "parameter_invalid_integer",
            "next_invoice_sequence",
            "This value must be greater than or equal to 1.",
        ),
        ("address=here", None, "address", "Invalid object"),
        ("preferred_locales=de", None, "preferred_locales", "Invalid array"),
        ("metadata=text", None, "metadata", "Invalid object"),
        (
            "tax_exempt=maybe",
            None,
            "tax_exempt",
            "Invalid tax_exempt: must be one of exempt, none, or reverse",
        ),
        (f"metadata[{'k' * 41}]=v", None, "metadata", "Metadata keys must be at most 40 characters"),
        (f"metadata[k]={'v' * 501}", None, "metadata[k]", "Metadata values must be at most 500 characters"),
        (f"email={'e' * 513}", None, "email", "Invalid string: eeeee...eeeee (513 characters)"),
    ],
)  # fmt: skip
def test_parameters_are_checked_strictly(
    sandbox: Any, form: str, code: str | None, param: str, message: str
) -> None:
    answer = sandbox.raw.post(
        "/v1/customers", content=form, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    error = error_of(answer)
    assert answer.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert (error.get("code"), error["param"]) == (code, param)
    assert error["message"].startswith(message)
    assert ("doc_url" in error) == (code is not None)


def test_a_query_is_checked_as_strictly(sandbox: Any) -> None:
    for query, param in (("limit=0", "limit"), ("limit=101", "limit"), ("color=red", "color")):
        assert error_of(sandbox.raw.get(f"/v1/customers?{query}"))["param"] == param


def test_what_cannot_be_unset_is_refused_when_empty(sandbox: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.client.v1.prices.create({"currency": "", "unit_amount": 100, "product_data": {"name": "x"}})
    assert (caught.value.code, caught.value.param) == ("parameter_invalid_empty", "currency")


@pytest.mark.parametrize(
    "form", ["a[b=1", "[a]=1", "a]=1&a[=2", "email=a&email[b]=c", "a[b]=1&a=2", "%ff=1", "a=%ff"]
)
def test_a_broken_form_is_a_400(sandbox: Any, form: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = sandbox.raw.post("/v1/customers", content=form, headers=headers)
    assert answer.status_code == 400
    assert error_of(answer)["type"] == "invalid_request_error"


def test_json_is_not_a_form(sandbox: Any) -> None:
    answer = sandbox.raw.post("/v1/customers", json={"email": "a@example.com"})
    assert answer.status_code == 400
    assert "application/x-www-form-urlencoded" in error_of(answer)["message"]


def test_too_large_a_body_is_refused(sandbox: Any) -> None:
    answer = sandbox.raw.post("/v1/customers", data={"description": "x" * 1_100_000})
    assert answer.status_code == 413
    assert error_of(answer)["type"] == "invalid_request_error"


def test_text_of_all_scripts_survives(sandbox: Any) -> None:
    made = sandbox.customer(name="Zoë 北京 🎨", metadata={"_key": "a=b&c[d]", "0": "zero"})
    found = sandbox.client.v1.customers.retrieve(made.id)
    assert found.name == "Zoë 北京 🎨"
    assert found.metadata.to_dict() == {"_key": "a=b&c[d]", "0": "zero"}


def test_metadata_is_merged_and_unset(sandbox: Any) -> None:
    made = sandbox.customer(metadata={"a": "1", "b": "2"})
    changed = sandbox.client.v1.customers.update(made.id, {"metadata": {"a": "", "c": "3"}})
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
    emptied = sandbox.client.v1.customers.update(made.id, {"metadata": ""})
    assert emptied.metadata.to_dict() == {}
    many = {f"k{index}": "v" for index in range(51)}
    with pytest.raises(stripe.InvalidRequestError, match="at most 50 keys"):
        sandbox.client.v1.customers.update(made.id, {"metadata": many})


def test_lists_are_newest_first_and_paged_both_ways(sandbox: Any) -> None:
    email = "pages@example.com"
    ids = [sandbox.customer(email=email).id for _ in range(7)][::-1]
    customers = sandbox.client.v1.customers
    first = customers.list({"email": email, "limit": 3})
    assert [one.id for one in first.data] == ids[:3]
    assert (first.has_more, first.url, first.object) == (True, "/v1/customers", "list")
    second = customers.list({"email": email, "limit": 3, "starting_after": ids[2]})
    assert [one.id for one in second.data] == ids[3:6]
    last = customers.list({"email": email, "limit": 3, "starting_after": ids[5]})
    assert [one.id for one in last.data] == ids[6:]
    assert not last.has_more
    back = customers.list({"email": email, "limit": 3, "ending_before": ids[5]})
    assert [one.id for one in back.data] == ids[2:5]
    assert back.has_more
    assert [one.id for one in first.auto_paging_iter()] == ids


def test_a_cursor_that_is_not_there_is_refused(sandbox: Any) -> None:
    for cursor in ("starting_after", "ending_before"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            sandbox.client.v1.customers.list({cursor: "cus_nobody"})
        assert (caught.value.http_status, caught.value.param) == (400, cursor)


def test_created_is_a_moment_or_bounds(sandbox: Any) -> None:
    made = sandbox.customer(email="when@example.com")
    listed = sandbox.client.v1.customers.list
    for created, count in (
        (made.created, 1),
        ({"gte": made.created, "lte": made.created}, 1),
        ({"gt": made.created}, 0),
        ({"lt": made.created}, 0),
    ):
        assert len(listed({"email": "when@example.com", "created": created}).data) == count


def test_ids_are_expanded_where_they_stand(sandbox: Any) -> None:
    price = sandbox.price()
    plain = sandbox.client.v1.prices.retrieve(price.id)
    assert isinstance(plain.product, str)
    whole = sandbox.client.v1.prices.retrieve(price.id, {"expand": ["product"]})
    assert whole.product.name == "Pro"
    listed = sandbox.client.v1.prices.list({"product": plain.product, "expand": ["data.product"]})
    assert [one.product.id for one in listed.data] == [plain.product]
    made = sandbox.client.v1.products.create(
        {
            "name": "Both",
            "default_price_data": {"currency": "eur", "unit_amount": 100},
            "expand": ["default_price.product"],
        }
    )
    assert made.default_price.product.default_price == made.default_price.id
    assert (
        sandbox.client.v1.products.create({"name": "None", "expand": ["default_price"]}).default_price is None
    )


def test_hidden_parts_are_shown_on_request_only(sandbox: Any) -> None:
    customer = sandbox.customer()
    assert "subscriptions" not in customer
    shown = sandbox.client.v1.customers.retrieve(
        customer.id, {"expand": ["subscriptions", "sources", "tax_ids"]}
    )
    assert shown.subscriptions.data == []
    assert shown.subscriptions.url == f"/v1/customers/{customer.id}/subscriptions"


@pytest.mark.parametrize(
    "path", ["email", "unicorn", "address.city", "product.x", "a.b.c.d.e", "data.product"]
)
def test_what_cannot_be_expanded_is_refused_without_effect(sandbox: Any, path: str) -> None:
    email = f"expand-{path}@example.com"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.customer(email=email, address={"city": "Bern"}, expand=[path])
    assert caught.value.http_status == 400
    assert sandbox.client.v1.customers.list({"email": email}).data == []


def test_the_front_door_says_what_it_is(sandbox: Any) -> None:
    answer = httpx.get(f"{sandbox.base}/")
    assert answer.json()["sandbox"] == "stripe"
    assert answer.headers["x-visiona-sandbox"] == "stripe"
    assert httpx.get(f"{sandbox.base}/nowhere").headers["x-visiona-sandbox"] == "stripe"


def test_controls_need_the_key(sandbox: Any) -> None:
    for method, path in (("POST", "faults"), ("GET", "state"), ("POST", "reset"), ("POST", "clock")):
        assert httpx.request(method, f"{sandbox.base}/_sandbox/{path}").status_code == 401


def config(folder: Path, **changes: Any) -> StripeSandboxConfig:
    given = {
        "public_url": "http://127.0.0.1:1",
        "secret_key": KEY,
        "webhook_url": None,
        "webhook_secret": "whsec_x",
        **changes,
    }
    return StripeSandboxConfig(folder, **given)


def test_it_never_starts_in_production(tmp_path: Path) -> None:
    with pytest.raises(SandboxInProductionError):
        create_app(config(tmp_path, environment="Production"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"public_url": "http://127.0.0.1:1/"},
        {"secret_key": "sk_live_1"},
        {"webhook_url": "https://example.com/hook"},
    ],
)
def test_settings_that_point_the_wrong_way_are_refused(tmp_path: Path, change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"sandbox|slash"):
        create_app(config(tmp_path, **change))


def test_secrets_do_not_show_in_the_configuration(tmp_path: Path) -> None:
    assert KEY not in repr(config(tmp_path))
    assert "whsec_x" not in repr(config(tmp_path))


async def test_requests_at_the_same_time_keep_apart(sandbox: Any) -> None:
    async with httpx.AsyncClient(base_url=sandbox.base, headers=dict(sandbox.raw.headers)) as client:
        answers = await asyncio.gather(
            *(client.post("/v1/customers", data={"name": f"Person {index}"}) for index in range(40))
        )
    assert sorted(answer.json()["name"] for answer in answers) == sorted(
        f"Person {index}" for index in range(40)
    )
    assert len({answer.json()["id"] for answer in answers}) == 40
