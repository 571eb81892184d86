"""What is there after a restart, and what a reset forgets."""

from pathlib import Path
from typing import Any

import pytest
import stripe

from visiona.sandbox.stripe.errors import StripeError
from visiona.sandbox.stripe.store import Store


def thing(id_: str, **fields: Any) -> dict[str, Any]:
    return {"object": "thing", "id": id_, **fields}


def test_records_outlive_a_restart_in_their_order(run_stripe: Any, tmp_path: Path) -> None:
    with run_stripe(tmp_path) as server:
        server.advance(3 * 86400)
        ids = [server.customer(name=str(index)).id for index in range(5)]
        card = server.client.v1.payment_methods.attach("pm_card_visa", {"customer": ids[0]})
        price = server.price(lookup_key="kept")
        events = server.state()["events"]
        now = server.state()["clock"]["now"]
    with run_stripe(tmp_path) as server:
        assert [one.id for one in server.client.v1.customers.list().data] == ids[::-1]
        assert server.client.v1.payment_methods.retrieve(card.id).customer == ids[0]
        assert server.client.v1.prices.list({"lookup_keys": ["kept"]}).data[0].id == price.id
        assert server.state()["events"] == events
        assert server.state()["clock"]["now"] >= now
        newest = server.customer()
        assert server.client.v1.customers.list({"limit": 1}).data[0].id == newest.id


def test_idempotency_keys_outlive_a_restart(run_stripe: Any, tmp_path: Path) -> None:
    options: Any = {"idempotency_key": "over the night"}
    with run_stripe(tmp_path) as server:
        first = server.client.v1.customers.create({"name": "One"}, options)
    with run_stripe(tmp_path) as server:
        again = server.client.v1.customers.create({"name": "One"}, options)
        assert again.id == first.id
        with pytest.raises(stripe.IdempotencyError):
            server.client.v1.customers.create({"name": "Two"}, options)


def test_webhooks_that_were_not_delivered_go_on_after_a_restart(
    run_stripe: Any, tmp_path: Path, receiver: Any
) -> None:
    with run_stripe(tmp_path, webhook_url=receiver.url) as server:
        server.control("webhooks/hold")
        customer = server.customer()
        assert server.state()["pending_deliveries"] == 1
    assert receiver.received == []
    with run_stripe(tmp_path, webhook_url=receiver.url) as server:
        server.settle()
    (got,) = receiver.received
    assert got.json["data"]["object"]["id"] == customer.id


def test_a_deleted_customer_is_still_deleted(run_stripe: Any, tmp_path: Path) -> None:
    with run_stripe(tmp_path) as server:
        customer = server.customer()
        server.client.v1.customers.delete(customer.id)
    with run_stripe(tmp_path) as server:
        assert server.client.v1.customers.retrieve(customer.id).deleted


def test_reset_forgets_everything_also_after_a_restart(run_stripe: Any, tmp_path: Path) -> None:
    with run_stripe(tmp_path) as server:
        server.customer()
        server.advance(86400)
        server.fault("rate_limit", times=None)
        server.control("reset")
        state = server.state()
        assert (state["counts"], state["events"], state["faults"]) == ({}, [], [])
        assert state["clock"]["offset_s"] == 0
        server.customer(name="after")
    with run_stripe(tmp_path) as server:
        assert [one.name for one in server.client.v1.customers.list().data] == ["after"]


def test_secrets_are_readable_by_the_owner_alone(run_stripe: Any, tmp_path: Path) -> None:
    with run_stripe(tmp_path) as server:
        server.customer()
    assert (tmp_path / "stripe").stat().st_mode & 0o077 == 0


def test_a_block_that_raises_leaves_no_trace(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(thing("a", count=1))
    store.put(thing("b", parts=[1]))
    a, b = store.get("thing", "a"), store.get("thing", "b")
    with pytest.raises(ZeroDivisionError), store.atomic():
        store.get("thing", "a")["count"] = 2
        store.put(a)
        store.all("thing")[1]["parts"].append(2)
        store.put(thing("c"))
        store.delete("thing", "a")
        with store.atomic():
            store.put(thing("d"))
        1 / 0  # noqa: B018 - the mistake
    assert store.all("thing") == [thing("a", count=1), thing("b", parts=[1])]
    assert store.get("thing", "a") is a
    assert b["parts"] == [1]
    assert Store(tmp_path).all("thing") == store.all("thing")


def test_a_decline_keeps_what_happened_and_a_refusal_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for status, kept in ((402, 1), (400, 1), (404, 1)):
        with pytest.raises(StripeError), store.atomic():
            store.put(thing(f"at-{status}"))
            raise StripeError(status, "card_error", "no")
        assert store.count("thing") == kept
    assert [one["id"] for one in Store(tmp_path).all("thing")] == ["at-402"]


def test_nothing_reaches_the_disk_before_a_block_is_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.atomic():
        store.put(thing("a"))
        assert Store(tmp_path).all("thing") == []
    assert Store(tmp_path).all("thing") == [thing("a")]


def test_a_death_while_a_block_is_written_leaves_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    for name in ("a", "b", "c"):
        store.put(thing(name, count=1))
    written = Store._write

    def dies_at_b(self: Store, entry: Any) -> None:
        if entry.id == "b":
            raise KeyboardInterrupt
        written(self, entry)

    monkeypatch.setattr(Store, "_write", dies_at_b)
    with pytest.raises(KeyboardInterrupt), store.atomic():
        for name in ("a", "b"):
            store.put(thing(name, count=2))
        store.delete("thing", "c")
    monkeypatch.undo()
    assert Store(tmp_path).all("thing") == [thing("a", count=2), thing("b", count=2)]
    assert Store(tmp_path).all("thing") == [thing("a", count=2), thing("b", count=2)]


def test_half_written_files_are_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(thing("a"))
    (tmp_path / "thing" / "b.new").write_text('{"sequence": 2, "obj')
    assert Store(tmp_path).all("thing") == [thing("a")]
    assert [path.name for path in (tmp_path / "thing").iterdir()] == ["a.json"]


@pytest.mark.parametrize("id_", ["../x", "a/b", "", "x" * 201, "a b"])
def test_an_id_is_never_a_path(tmp_path: Path, id_: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        Store(tmp_path).put(thing(id_))
