"""The customer portal: sessions and configurations, and what a person does on its pages."""

from visiona.sandbox.stripe.engine.outcomes import Applied, Card, ChallengeRequired, Declined, Paid, Scheduled
from visiona.sandbox.stripe.engine.views import ChangePreview, PortalView


class Portal:
    """Every method takes the id of a portal session; an unknown or too old one is a `StripeError`."""

    def view(self, session_id: str) -> PortalView:
        raise NotImplementedError

    def preview_change(self, session_id: str, price_id: str) -> ChangePreview:
        raise NotImplementedError

    def change_price(
        self, session_id: str, price_id: str
    ) -> Paid | Applied | Scheduled | Declined | ChallengeRequired:
        """A payment that fails or asks for a challenge leaves the subscription as it was."""
        raise NotImplementedError

    def cancel(self, session_id: str) -> Applied | Scheduled:
        """`Scheduled` where the configuration cancels at the period's end."""
        raise NotImplementedError

    def resume(self, session_id: str) -> Applied:
        """Take a requested cancellation back."""
        raise NotImplementedError

    def undo_scheduled_change(self, session_id: str) -> Applied:
        raise NotImplementedError

    def set_card(self, session_id: str, card: Card) -> Applied | Declined | ChallengeRequired:
        raise NotImplementedError

    def pay_invoice(self, session_id: str, invoice_id: str) -> Paid | Declined | ChallengeRequired:
        raise NotImplementedError

    def answer_challenge(self, session_id: str, *, approve: bool) -> Paid | Applied | Declined:
        """The person's answer to whatever `change_price`, `set_card` or `pay_invoice` asked for."""
        raise NotImplementedError
