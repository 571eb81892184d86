"""What happened, as Stripe tells it: events are kept for 30 days and delivered to endpoints."""

from collections.abc import Callable

from visiona.sandbox.stripe.store import Obj

Emit = Callable[[str, Obj, Obj | None], None]
"""`emit(type, obj, previous_attributes)`: keep an event that shows `obj` as it is now, and deliver it."""
