"""Test clocks, and doing whatever is due on them or on the sandbox's own time."""

from collections.abc import Callable
from typing import Any, Final

from visiona.sandbox.stripe.engine.agenda import clock_of
from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.calendar import DAY_S, boundary
from visiona.sandbox.stripe.engine.changes import copy_of
from visiona.sandbox.stripe.engine.subscriptions.objects import ENDED, items_of
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj

_DELETED_AFTER_S: Final = 30 * DAY_S
_FARTHEST_INTERVALS: Final = 2
_FARTHEST_WITHOUT_S: Final = 2 * 366 * DAY_S


class Clocks:
    def __init__(self, books: Books, end_all: Callable[[str], None]) -> None:
        self._books = books
        self._end_all = end_all
        self._unsure = True

    def create(self, params: Obj) -> Obj:
        now = self._books.now()
        return self._books.add(
            {
                "id": new_id("clock"),
                "object": "test_helpers.test_clock",
                "created": now,
                "deletes_after": now + _DELETED_AFTER_S,
                "frozen_time": params["frozen_time"],
                "livemode": False,
                "name": params.get("name"),
                "status": "ready",
                "status_details": {},
            },
            "test_helpers.test_clock.created",
        )

    def advance(self, clock: Obj, frozen_time: int) -> Obj:
        """Do everything that is due up to then, and stand there.

        Gives the clock as it was while it advanced, which is how Stripe answers; by then it is `ready`.
        """
        if frozen_time <= clock["frozen_time"]:
            raise invalid(
                "The `frozen_time` must be later than the test clock's current time.", param="frozen_time"
            )
        if frozen_time > self._farthest(clock):
            raise invalid(
                "A test clock can be advanced by at most two intervals of the shortest subscription on it, "
                "or two years.",
                param="frozen_time",
            )
        with self._books.changing(clock, None):
            clock["status"] = "advancing"
            clock["status_details"] = {"advancing": {"target_frozen_time": frozen_time}}
        advancing = copy_of(clock)
        self._books.tell("test_helpers.test_clock.advancing", clock)
        self._run(clock["id"], frozen_time, clock)
        with self._books.changing(clock, None):
            clock |= {"frozen_time": frozen_time, "status": "ready", "status_details": {}}
        self._books.tell("test_helpers.test_clock.ready", clock)
        return advancing

    def delete(self, clock: Obj) -> Obj:
        """Whoever lived by it goes with it, and everything of theirs."""
        books = self._books
        customers = books.where("customer", "test_clock", clock["id"])
        for customer in customers:
            self._end_all(customer["id"])
            books.tell("customer.deleted", customer)
        gone = {customer["id"] for customer in customers}
        for kind in books.store.kinds():
            theirs = [
                obj["id"]
                for obj in books.store.each(kind)
                if kind != "event" and (clock_of(obj) == clock["id"] or _customer_of(obj) in gone)
            ]
            for id_ in theirs:
                books.store.delete(kind, id_)
        for customer in customers:
            books.keep({"id": customer["id"], "object": "customer", "deleted": True})
        books.tell("test_helpers.test_clock.deleted", clock)
        books.store.delete("test_helpers.test_clock", clock["id"])
        return {"id": clock["id"], "object": clock["object"], "deleted": True}

    def run_due(self, now: int) -> None:
        """Do everything that is due by `now` for objects without a test clock."""
        self._run(None, now, None)

    def _run(self, test_clock: str | None, until: int, clock: Obj | None) -> None:
        """In the order of time. After a failure the agenda is made anew, as the records may be the old
        ones again.
        """
        books = self._books
        if self._unsure:
            books.reload()
        self._unsure = True
        while (entry := books.agenda.pop(test_clock, until)) is not None:
            moment, kind, id_ = entry
            obj = books.store.find(kind, id_)
            if obj is None or not books.agenda.is_due(obj, moment):
                continue
            if clock is not None:
                clock["frozen_time"] = max(moment, clock["frozen_time"])
            with books.at(test_clock, moment):
                books.agenda.step(obj)
                books.agenda.note(obj)
        self._unsure = False

    def _farthest(self, clock: Obj) -> int:
        now: int = clock["frozen_time"]
        ends: list[int] = []
        for subscription in self._books.where("subscription", "test_clock", clock["id"]):
            if subscription["status"] not in ENDED:
                recurring = items_of(subscription)[0]["price"]["recurring"]
                steps = _FARTHEST_INTERVALS * recurring["interval_count"]
                ends.append(boundary(now, recurring["interval"], steps))
        return min(ends, default=now + _FARTHEST_WITHOUT_S)


def _customer_of(obj: Obj) -> Any:
    customer = obj.get("customer")
    return customer if isinstance(customer, str) else None
