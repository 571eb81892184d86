"""Implements `ports.payments.Payments` on Stripe."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from visiona.adapters.stripe.answers import Canceled, ChargeOwner, Customer, InvoiceLinks, Session, id_of
from visiona.adapters.stripe.calls import StripeCalls
from visiona.adapters.stripe.config import StripeConfig
from visiona.adapters.stripe.portal import Portal
from visiona.adapters.stripe.prices import PLAN, active_price
from visiona.adapters.stripe.publishing import Publishing
from visiona.adapters.stripe.reports import CustomerReports
from visiona.ports.errors import ProviderNotFound, ProviderRejected
from visiona.ports.payments import (
    Checkout,
    CheckoutOrder,
    CustomerOrder,
    CustomerReport,
    InvoicePages,
    Offer,
    PortalOrder,
    PublishedThing,
)

if TYPE_CHECKING:
    from stripe.params.checkout import SessionCreateParams

_USER = "visiona_user"
_SESSION_STATES: dict[str, Literal["open", "complete", "expired"]] = {
    "open": "open",
    "complete": "complete",
    "expired": "expired",
}


class StripePayments:
    """One account at Stripe. Idempotency keys are the caller's; Stripe keeps them for a day or more,
    and repeats under one of them what it first answered, failures included.
    """

    def __init__(self, config: StripeConfig) -> None:
        self._calls = StripeCalls(config)
        self._portal = Portal(self._calls)
        self._reports = CustomerReports(self._calls)

    async def customer(self, order: CustomerOrder) -> str:
        """One with the same e-mail but another reference, or none, is somebody else's: left alone."""
        for known in await self.customers_of(order.reference, order.email):
            return known
        made = await self._calls.post(
            "create customer",
            lambda v1, options: v1.customers.create_async(
                {"email": order.email, "metadata": {_USER: order.reference}}, options
            ),
            Customer,
            key=order.key,
        )
        return made.id

    async def customers_of(self, reference: str, email: str) -> list[str]:
        found = await self._calls.every(
            "find customer",
            lambda v1, page: v1.customers.list_async({**page, "email": email}),
            Customer,
        )
        return [
            customer.id
            for customer in found
            if not customer.deleted and (customer.metadata or {}).get(_USER) == reference
        ]

    async def open_checkout(self, order: CheckoutOrder) -> Checkout:
        price_id = await active_price(self._calls, order.lookup_key)
        marks = {_USER: order.reference, PLAN: order.plan}
        params: SessionCreateParams = {
            "mode": "subscription",
            "customer": order.customer_id,
            "client_reference_id": order.reference,
            "line_items": [{"price": price_id, "quantity": 1}],
            "allow_promotion_codes": True,
            # The session's metadata does not reach the subscription by itself.
            "metadata": marks,
            "subscription_data": {"metadata": marks},
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
            "expires_at": int(order.expires_at.timestamp()),
        }
        if order.trial_days > 0:
            params["subscription_data"] = {"metadata": marks, "trial_period_days": order.trial_days}
        session = await self._calls.post(
            "create checkout",
            lambda v1, options: v1.checkout.sessions.create_async(params, options),
            Session,
            key=order.key,
        )
        return self._checkout(session, repeatable=False)

    async def get_checkout(self, checkout_id: str) -> Checkout:
        session = await self._calls.get(
            "retrieve checkout", lambda v1: v1.checkout.sessions.retrieve_async(checkout_id), Session
        )
        return self._checkout(session, repeatable=True)

    async def close_checkout(self, checkout_id: str) -> Checkout:
        try:
            session = await self._calls.post(
                "expire checkout",
                lambda v1, options: v1.checkout.sessions.expire_async(checkout_id, {}, options),
                Session,
            )
        except ProviderRejected:
            # Not open any more: paid, expired, or closed by an attempt whose answer was lost.
            checkout = await self.get_checkout(checkout_id)
            if checkout.status == "open":
                raise
            return checkout
        return self._checkout(session, repeatable=False)

    async def open_portal(self, order: PortalOrder) -> str:
        return await self._portal.open(order)

    async def report(self, customer_id: str) -> CustomerReport:
        return await self._reports.report(customer_id)

    async def end_subscription(self, subscription_id: str) -> None:
        with contextlib.suppress(ProviderNotFound):
            await self._calls.post(
                "cancel subscription",
                lambda v1, options: v1.subscriptions.cancel_async(subscription_id, {}, options),
                Canceled,
            )

    async def delete_customer(self, customer_id: str) -> None:
        try:
            await self._calls.post(
                "delete customer",
                lambda v1, options: v1.customers.delete_async(customer_id, {}, options),
                Customer,
            )
        except ProviderNotFound:
            # Those who were deleted before cannot be again, but are still shown.
            known = await self._calls.get(
                "retrieve customer", lambda v1: v1.customers.retrieve_async(customer_id), Customer
            )
            if not known.deleted:
                raise

    async def customer_of_charge(self, charge_id: str) -> str | None:
        charge = await self._calls.get(
            "retrieve charge", lambda v1: v1.charges.retrieve_async(charge_id), ChargeOwner
        )
        return id_of(charge.customer) if charge.customer else None

    async def invoice_pages(self, invoice_id: str) -> InvoicePages:
        invoice = await self._calls.get(
            "retrieve invoice", lambda v1: v1.invoices.retrieve_async(invoice_id), InvoiceLinks
        )
        return InvoicePages(id_of(invoice.customer), invoice.hosted_invoice_url, invoice.invoice_pdf)

    async def publish(
        self, offers: Sequence[Offer], *, webhook_url: str | None, change: bool
    ) -> list[PublishedThing]:
        return await Publishing(self._calls, change=change).run(offers, webhook_url)

    async def aclose(self) -> None:
        await self._calls.aclose()

    def _checkout(self, session: Session, *, repeatable: bool) -> Checkout:
        state = _SESSION_STATES.get(session.status)
        if state is None:
            raise self._calls.unusable("checkout", "an unknown state", repeatable=repeatable)
        return Checkout(session.id, state, session.url)
