"""The billing logic of Stripe's sandbox, without any HTTP.

`Engine(store, clock, emit, public_url)` has one part for each kind of thing. Methods are synchronous,
finish a whole action before they return, and say what happened by emitting events in natural order.
Whoever calls one does so within `store.atomic()`.
"""

from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.checkout import Checkout
from visiona.sandbox.stripe.engine.hosted_invoice import HostedInvoices
from visiona.sandbox.stripe.engine.links import Links
from visiona.sandbox.stripe.engine.payment_methods import PaymentMethods
from visiona.sandbox.stripe.engine.portal import Portal
from visiona.sandbox.stripe.engine.settings import BillingSettings
from visiona.sandbox.stripe.events import Emit
from visiona.sandbox.stripe.store import Store


class Engine:
    """`payment_methods` makes, attaches and detaches cards: `create`, `find` (which knows the test names
    like `pm_card_visa`), `attach`, `detach`.
    """

    checkout: Checkout
    portal: Portal
    hosted_invoices: HostedInvoices

    def __init__(
        self,
        store: Store,
        clock: Clock,
        emit: Emit,
        public_url: str,
        settings: BillingSettings | None = None,
    ) -> None:
        books = self._books = Books(store, clock, emit, Links(public_url), settings or BillingSettings())
        self.payment_methods = PaymentMethods(books)
