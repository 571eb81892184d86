"""What all parts of the engine share: the records, the time, and the telling of events."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.engine.agenda import Agenda, clock_of
from visiona.sandbox.stripe.engine.changes import copy_of, previous_attributes
from visiona.sandbox.stripe.engine.links import Links
from visiona.sandbox.stripe.engine.settings import BillingSettings
from visiona.sandbox.stripe.errors import missing
from visiona.sandbox.stripe.events import Emit
from visiona.sandbox.stripe.store import Obj, Store

_INDEXED: Final[dict[str, tuple[str, ...]]] = {
    "subscription": ("customer", "test_clock"),
    "subscription_schedule": ("customer",),
    "invoice": ("customer", "_of_subscription"),
    "invoiceitem": ("customer",),
    "invoice_payment": ("invoice", "_of_intent"),
    "payment_intent": ("customer",),
    "charge": ("customer", "payment_intent"),
    "refund": ("charge",),
    "dispute": ("charge",),
    "checkout.session": ("customer",),
    "setup_intent": ("customer",),
    "customer": ("test_clock",),
    "customer_balance_transaction": ("customer",),
    "payment_method": ("customer",),
}


class Books:
    """Everything that the engine changes goes through here, so that nothing due is forgotten."""

    def __init__(
        self, store: Store, clock: Clock, emit: Emit, links: Links, settings: BillingSettings
    ) -> None:
        self.store = store
        self.links = links
        self.settings = settings
        self.agenda = Agenda()
        self.clock = clock
        self._emit = emit
        self._moment: tuple[str | None, int] | None = None
        self._index: dict[tuple[str, str, str], dict[str, None]] = {}

    def reload(self) -> None:
        """Look at every object again, after the records were replaced."""
        self.agenda.clear()
        self._index.clear()
        for kind in self.store.kinds():
            for obj in self.store.each(kind):
                self._notice(obj)

    def now(self, test_clock: str | None = None) -> int:
        """Unix seconds; while something due is being done, the moment at which it was due."""
        if self._moment is not None and self._moment[0] == test_clock:
            return self._moment[1]
        return self.clock.now(test_clock)

    def now_for(self, obj: Obj) -> int:
        """The time on the clock that an object belongs to."""
        return self.now(clock_of(obj))

    @contextmanager
    def at(self, test_clock: str | None, moment: int) -> Generator[None]:
        """Do what is in the block as if it were `moment`."""
        outer, self._moment = self._moment, (test_clock, moment)
        try:
            yield
        finally:
            self._moment = outer

    def customer(self, id_: str, *, param: str = "customer") -> Obj:
        """A customer that exists. Raises a `StripeError` for one that was deleted, too."""
        found = self.store.find("customer", id_)
        if found is None or found.get("deleted"):
            raise missing("customer", id_, param=param)
        return found

    def add(self, obj: Obj, event: str | None = None) -> Obj:
        """Keep a new object and tell of it."""
        self.keep(obj)
        if event is not None:
            self._emit(event, obj, None)
        return obj

    def keep(self, obj: Obj) -> None:
        """Make changes last without telling anybody."""
        self.store.put(obj)
        self._notice(obj)

    def tell(self, event: str, obj: Obj) -> None:
        self._emit(event, obj, None)

    @contextmanager
    def changing(self, obj: Obj, event: str | None) -> Generator[None]:
        """Keep what the block changes, and tell of it with the previous values if anything shows."""
        before = copy_of(obj)
        yield
        self.keep(obj)
        if event is not None and (previous := previous_attributes(before, obj)):
            self._emit(event, obj, previous)

    def where(self, kind: str, field: str, value: str) -> list[Obj]:
        """Objects of a kind by one of its indexed fields, oldest first."""
        ids = self._index.get((kind, field, value), {})
        found = (self.store.find(kind, id_) for id_ in list(ids))
        return [obj for obj in found if obj is not None and obj.get(field) == value]

    def _notice(self, obj: Obj) -> None:
        kind = obj["object"]
        for field in _INDEXED.get(kind, ()):
            value = obj.get(field)
            if value is not None:
                self._index.setdefault((kind, field, value), {})[obj["id"]] = None
        self.agenda.note(obj)
