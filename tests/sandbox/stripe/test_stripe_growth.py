"""Twenty thousand objects: lists are still answered at once, and reading them costs no memory for good."""

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.sandbox.stripe.conftest import Server, run_stripe

from visiona.sandbox.stripe.store import Obj, Store

MANY = 20_000
CATALOGUE = {"product", "price"}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One customer's whole history, some hundred times."""
    folder = tmp_path_factory.mktemp("stripe")
    with run_stripe(folder) as server:
        _live_once(server)
    _multiply(Store(folder / "stripe"))
    with run_stripe(folder) as server:
        yield server


def _live_once(server: Server) -> None:
    """A checkout that is paid, a change of plan, a refund, a dispute."""
    v1 = server.client.v1
    params: Any = {
        "mode": "subscription",
        "customer": server.customer().id,
        "line_items": [{"price": server.price(900).id, "quantity": 1}],
        "success_url": "https://shop.example",
    }
    session = v1.checkout.sessions.create(params)
    server.control(f"pay/{session.id}")
    sub = v1.subscriptions.list({"customer": params["customer"]}).data[0]
    change: Any = {
        "items": [{"id": sub["items"].data[0].id, "price": server.price(2900).id}],
        "proration_behavior": "always_invoice",
    }
    v1.subscriptions.update(sub.id, change)
    second, first = v1.charges.list({"customer": params["customer"]}).data
    v1.refunds.create({"charge": first.id, "amount": 100})
    server.control("disputes", charge=second.id)


def _multiply(store: Store) -> None:
    """Copies have ids of their own, wherever these stand."""
    template: list[Obj] = [
        obj
        for kind in store.kinds()
        if not kind.startswith("_") and kind not in CATALOGUE
        for obj in store.each(kind)
    ]
    text = msgspec.json.encode(template).decode()
    ids = [str(obj["id"]) for obj in template]
    ids += [
        item["id"] for obj in template if obj["object"] == "subscription" for item in obj["items"]["data"]
    ]
    for number in range(MANY // len(template)):
        copy = text
        for id_ in ids:
            copy = copy.replace(id_, f"{id_[:-6]}{number:06d}")
        for obj in msgspec.json.decode(copy, type=list[Obj]):
            store.put(obj)


@pytest.mark.parametrize(
    "path",
    [
        "events",
        "events?type=invoice.paid",
        "events?types[]=invoice.*&types[]=charge.*",
        "events?delivery_success=false",
        "customers",
        "customers?email=nobody@example.com",
        "customers?expand[]=data.subscriptions",
        "subscriptions",
        "subscriptions?status=all&expand[]=data.latest_invoice",
        "invoices",
        "invoices?expand[]=data.payments",
        "invoice_payments",
        "charges",
        "charges?expand[]=data.refunds",
        "payment_intents",
        "payment_methods",
        "refunds",
        "disputes",
        "balance_transactions",
        "checkout/sessions",
    ],
)
def test_a_list_of_many_is_short(crowded: Server, path: str) -> None:
    address = f"/v1/{path}{'&' if '?' in path else '?'}limit=10"
    durations: list[float] = []
    for _ in range(10):
        began = time.perf_counter()
        answer = crowded.raw.get(address)
        durations.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.text
    assert min(durations) < 0.06, durations


def test_what_belongs_to_one_customer_is_not_searched_for(crowded: Server) -> None:
    customer = crowded.client.v1.customers.list({"limit": 1}).data[0].id
    for path in ("subscriptions", "invoices", "charges", "payment_methods", "checkout/sessions"):
        durations: list[float] = []
        for _ in range(10):
            began = time.perf_counter()
            answer = crowded.raw.get(f"/v1/{path}?customer={customer}&limit=10")
            durations.append(time.perf_counter() - began)
            assert len(answer.json()["data"]) >= 1, path
        assert min(durations) < 0.02, path


def test_one_more_customer_is_no_slower_than_the_first(crowded: Server) -> None:
    """Nor does letting them go again look at everybody else."""
    durations: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        made = crowded.raw.post("/v1/customers", data={"email": "late@example.com"}).json()
        assert crowded.raw.delete(f"/v1/customers/{made['id']}").json()["deleted"] is True
        durations.append(time.perf_counter() - began)
    assert min(durations) < 0.06


def test_reading_leaves_nothing_behind(crowded: Server) -> None:
    def read(times: int) -> None:
        for _ in range(times):
            for path in ("events?limit=100", "subscriptions?limit=100", "invoices?limit=100"):
                assert crowded.raw.get(f"/v1/{path}").status_code == 200

    read(3)
    gc.collect()
    before = len(gc.get_objects())
    read(20)
    gc.collect()
    assert len(gc.get_objects()) - before < before / 1000


def test_a_reset_lets_go_of_everything(tmp_path: Path) -> None:
    with run_stripe(tmp_path) as server:
        _live_once(server)
        assert server.state()["counts"]["customer"] == 1
        server.raw.post("/_sandbox/reset")
        assert server.state()["counts"] == {}
        server.advance(60 * 24 * 3600)
        assert server.state()["events"] == []
