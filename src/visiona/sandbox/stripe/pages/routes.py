"""The handlers of all pages under one router, so that their errors are pages too."""

from typing import Final

from litestar import Router
from litestar.exceptions import HTTPException

from visiona.sandbox.stripe.errors import StripeError
from visiona.sandbox.stripe.pages import checkout, invoices, portal
from visiona.sandbox.stripe.pages.rendering import serve_static
from visiona.sandbox.stripe.pages.wiring import answer_http_error, answer_stripe_error

HANDLERS: Final = [
    Router(
        "/",
        route_handlers=[
            serve_static,
            checkout.show_checkout,
            checkout.pay_checkout,
            checkout.show_checkout_challenge,
            checkout.answer_checkout_challenge,
            portal.show_portal,
            portal.show_change,
            portal.change_plan,
            portal.show_cancel,
            portal.cancel_plan,
            portal.resume_plan,
            portal.undo_scheduled_change,
            portal.show_card,
            portal.save_card,
            portal.pay_invoice,
            portal.show_portal_challenge,
            portal.answer_portal_challenge,
            invoices.show_invoice,
            invoices.download_invoice,
            invoices.pay_with_saved_card,
            invoices.pay_with_new_card,
            invoices.show_invoice_challenge,
            invoices.answer_invoice_challenge,
        ],
        exception_handlers={StripeError: answer_stripe_error, HTTPException: answer_http_error},
        include_in_schema=False,
    )
]
