"""The billing logic of Stripe's sandbox, without any HTTP.

`Engine(store, clock, emit, public_url)` has one part for each kind of thing. Methods are synchronous,
finish a whole action before they return, and say what happened by emitting events in natural order.
Whoever calls one does so within `store.atomic()`.
"""

from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.checkout import Checkout
from visiona.sandbox.stripe.engine.clocks import Clocks
from visiona.sandbox.stripe.engine.collection import Collection
from visiona.sandbox.stripe.engine.disputes import Disputes
from visiona.sandbox.stripe.engine.hosted_invoice import HostedInvoices
from visiona.sandbox.stripe.engine.invoices import Invoices
from visiona.sandbox.stripe.engine.links import Links
from visiona.sandbox.stripe.engine.payment_methods import PaymentMethods
from visiona.sandbox.stripe.engine.payments import Payments
from visiona.sandbox.stripe.engine.portal import Portal
from visiona.sandbox.stripe.engine.prices import Prices
from visiona.sandbox.stripe.engine.refunds import Refunds
from visiona.sandbox.stripe.engine.schedules import Schedules
from visiona.sandbox.stripe.engine.settings import BillingSettings
from visiona.sandbox.stripe.engine.setups import Setups
from visiona.sandbox.stripe.engine.subscriptions import Parts, Subscriptions
from visiona.sandbox.stripe.engine.subscriptions.billing import Billing
from visiona.sandbox.stripe.engine.subscriptions.standing import Standing
from visiona.sandbox.stripe.events import Emit
from visiona.sandbox.stripe.store import Store


class Engine:
    """`payment_methods` makes, attaches and detaches cards: `create`, `find` (which knows the test names
    like `pm_card_visa`), `attach`, `detach`. `clocks.run_due` is to be called as time goes by; `settings`
    may be replaced while it runs.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        emit: Emit,
        public_url: str,
        settings: BillingSettings | None = None,
    ) -> None:
        books = self.books = Books(store, clock, emit, Links(public_url), settings or BillingSettings())
        self.prices = Prices(books)
        self.payment_methods = PaymentMethods(books)
        self.payments = Payments(books)
        self.setups = Setups(books, self.payment_methods)
        self.invoices = Invoices(books, self.payments)
        self.collection = Collection(books, self.payments, self.payment_methods, self.invoices)
        standing = self.invoices.follower = Standing(books, self.invoices)
        self.setups.after_success.append(standing.setup_done)
        self.subscriptions = Subscriptions(
            Parts(
                books,
                self.payment_methods,
                self.payments,
                self.setups,
                self.prices,
                self.invoices,
                self.collection,
                Billing(books, self.invoices, self.prices),
                standing,
            )
        )
        self.schedules = Schedules(books, self.prices, self.subscriptions)
        self.refunds = Refunds(books)
        self.disputes = Disputes(books)
        self.payments.after_charge.append(self.disputes.card_was_charged)
        self.clocks = Clocks(books, self.subscriptions.end_all)
        self.hosted_invoices = HostedInvoices(books, self.payment_methods, self.invoices, self.collection)
        self.checkout = Checkout(
            books,
            self.payment_methods,
            self.payments,
            self.setups,
            self.prices,
            self.collection,
            self.subscriptions,
        )
        self.portal = Portal(
            books,
            self.payment_methods,
            self.payments,
            self.setups,
            self.prices,
            self.subscriptions,
            self.schedules,
            self.hosted_invoices,
        )
        agenda = books.agenda
        # At one moment, a schedule changes what a renewal then bills.
        agenda.register("subscription_schedule", 0, self.schedules.due, self.schedules.step)
        agenda.register("subscription", 1, self.subscriptions.cycle.due, self.subscriptions.cycle.step)
        agenda.register("invoice", 2, self.collection.due, self.collection.step)
        agenda.register("refund", 3, self.refunds.due, self.refunds.step)
        agenda.register("checkout.session", 3, self.checkout.due, self.checkout.step)
        books.reload()

    @property
    def settings(self) -> BillingSettings:
        return self.books.settings

    @settings.setter
    def settings(self, settings: BillingSettings) -> None:
        self.books.settings = settings
