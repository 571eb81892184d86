"""The page behind `hosted_invoice_url`: anybody with the link may see the invoice and pay it."""

from visiona.sandbox.stripe.engine.outcomes import Card, ChallengeRequired, Declined, Paid
from visiona.sandbox.stripe.engine.views import HostedInvoiceView


class HostedInvoices:
    def view(self, invoice_id: str) -> HostedInvoiceView:
        """Raises a `StripeError` with status 404 for an unknown invoice or a draft."""
        raise NotImplementedError

    def pay(self, invoice_id: str, card: Card | None = None) -> Paid | Declined | ChallengeRequired:
        """With a new card, or with the customer's own; an invoice that is not open is a `StripeError`."""
        raise NotImplementedError

    def answer_challenge(self, invoice_id: str, *, approve: bool) -> Paid | Declined:
        raise NotImplementedError
