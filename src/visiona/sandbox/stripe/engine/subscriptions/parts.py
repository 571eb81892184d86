"""What the handling of subscriptions works with."""

from dataclasses import dataclass

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.collection import Collection
from visiona.sandbox.stripe.engine.invoices import Invoices
from visiona.sandbox.stripe.engine.payment_methods import PaymentMethods
from visiona.sandbox.stripe.engine.payments import Payments
from visiona.sandbox.stripe.engine.prices import Prices
from visiona.sandbox.stripe.engine.setups import Setups
from visiona.sandbox.stripe.engine.subscriptions.billing import Billing
from visiona.sandbox.stripe.engine.subscriptions.standing import Standing


@dataclass(frozen=True, slots=True)
class Parts:
    books: Books
    methods: PaymentMethods
    payments: Payments
    setups: Setups
    prices: Prices
    invoices: Invoices
    collection: Collection
    billing: Billing
    standing: Standing
