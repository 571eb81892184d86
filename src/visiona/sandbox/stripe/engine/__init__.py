"""The billing logic of Stripe's sandbox, without any HTTP.

`Engine(store, clock, emit, public_url)` has one part for each kind of thing. Methods are synchronous,
finish a whole action before they return, and say what happened by emitting events in natural order.
"""

from visiona.sandbox.stripe.engine.checkout import Checkout
from visiona.sandbox.stripe.engine.hosted_invoice import HostedInvoices
from visiona.sandbox.stripe.engine.portal import Portal


class Engine:
    checkout: Checkout
    portal: Portal
    hosted_invoices: HostedInvoices
