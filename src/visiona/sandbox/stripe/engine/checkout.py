"""Checkout sessions: made over the API, paid on the hosted page."""

from visiona.sandbox.stripe.engine.outcomes import Card, ChallengeRequired, Declined, Paid
from visiona.sandbox.stripe.engine.views import CheckoutView


class Checkout:
    """A session that is complete or expired refuses `pay` and `answer_challenge` with a `StripeError`."""

    def view(self, session_id: str) -> CheckoutView:
        """Raises a `StripeError` with status 404 where there is no such session."""
        raise NotImplementedError

    def pay(
        self, session_id: str, card: Card, email: str | None = None
    ) -> Paid | Declined | ChallengeRequired:
        """`email` is what the person typed, where the session has none yet."""
        raise NotImplementedError

    def answer_challenge(self, session_id: str, *, approve: bool) -> Paid | Declined:
        """The person's answer on the bank's page."""
        raise NotImplementedError
