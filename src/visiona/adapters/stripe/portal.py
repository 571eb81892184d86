"""The customer portal: what its pages may do, and the steps that Visiona sends people to."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from visiona.adapters.stripe.answers import Id, Metadata, PortalSession
from visiona.adapters.stripe.calls import StripeCalls
from visiona.adapters.stripe.failures import PROVIDER
from visiona.adapters.stripe.prices import active_price
from visiona.ports.errors import ProviderNotFound, ProviderRejected
from visiona.ports.payments import PortalOrder

if TYPE_CHECKING:
    from stripe.params.billing_portal import SessionCreateParams, SessionCreateParamsFlowData

MARK = {"visiona": "portal"}
"""The metadata by which our configuration is known."""

_CONTENT = "visiona_content"
_REASONS = [
    "too_expensive",
    "missing_features",
    "switched_service",
    "unused",
    "customer_service",
    "too_complex",
    "low_quality",
    "other",
]


class Configuration(msgspec.Struct):
    id: Id
    active: bool
    features: dict[str, Any]
    metadata: Metadata | None = None


class Portal:
    def __init__(self, calls: StripeCalls) -> None:
        self._calls = calls
        self._configuration_id: str | None = None

    async def open(self, order: PortalOrder) -> str:
        """The session's address. Raises `ProviderNotFound` where no configuration was published."""
        flow = await self._flow(order)
        remembered = self._configuration_id
        if remembered is not None:
            try:
                return await self._session(order, flow, remembered)
            except (ProviderNotFound, ProviderRejected):
                # It may be the configuration that is gone or closed: then there is another by now.
                self._configuration_id = await self._find()
                if self._configuration_id == remembered:
                    raise
        self._configuration_id = self._configuration_id or await self._find()
        return await self._session(order, flow, self._configuration_id)

    async def _find(self) -> str:
        ours = await find_configuration(self._calls)
        if ours is None:
            raise ProviderNotFound(PROVIDER, "no portal configuration has been published")
        return ours.id

    async def _session(
        self, order: PortalOrder, flow: "SessionCreateParamsFlowData | None", configuration_id: str
    ) -> str:
        params: SessionCreateParams = {
            "customer": order.customer_id,
            "return_url": order.return_url,
            "configuration": configuration_id,
        }
        if flow is not None:
            params["flow_data"] = flow
        session = await self._calls.post(
            "open portal",
            lambda v1, options: v1.billing_portal.sessions.create_async(params, options),
            PortalSession,
        )
        return session.url

    async def _flow(self, order: PortalOrder) -> "SessionCreateParamsFlowData | None":
        change = order.change
        if change is not None:
            price_id = await active_price(self._calls, change.lookup_key)
            return {
                "type": "subscription_update_confirm",
                "subscription_update_confirm": {
                    "subscription": change.subscription_id,
                    "items": [{"id": change.item_id, "price": price_id, "quantity": 1}],
                },
                "after_completion": {"type": "redirect", "redirect": {"return_url": order.return_url}},
            }
        if order.cancel is not None:
            return {
                "type": "subscription_cancel",
                "subscription_cancel": {"subscription": order.cancel},
                "after_completion": {"type": "redirect", "redirect": {"return_url": order.return_url}},
            }
        if order.payment_method:
            return {
                "type": "payment_method_update",
                "after_completion": {"type": "redirect", "redirect": {"return_url": order.return_url}},
            }
        return None


async def find_configuration(calls: StripeCalls) -> Configuration | None:
    """Ours, the newest where there are several."""
    found = await calls.every(
        "find portal configuration",
        lambda v1, page: v1.billing_portal.configurations.list_async({**page, "active": True}),
        Configuration,
    )
    ours = [one for one in found if MARK.items() <= (one.metadata or {}).items()]
    return ours[0] if ours else None


def features(products: Mapping[str, Sequence[str]]) -> Any:
    """What customers may do themselves. `products` are the prices by product that they may change to:
    at once and charged where it costs more, at the end of the period where it costs less. The SDK has two
    types for this, alike: one to make a configuration and one to change it.
    """
    subscription_update: dict[str, Any] = {"enabled": False}
    if products:
        subscription_update = {
            "enabled": True,
            "default_allowed_updates": ["price"],
            "proration_behavior": "always_invoice",
            "products": [
                {"product": product, "prices": sorted(prices)} for product, prices in sorted(products.items())
            ],
            "schedule_at_period_end": {
                "conditions": [{"type": "decreasing_item_amount"}, {"type": "shortening_interval"}]
            },
        }
    return {
        "subscription_update": subscription_update,
        "subscription_cancel": {
            "enabled": True,
            "mode": "at_period_end",
            "cancellation_reason": {"enabled": True, "options": list(_REASONS)},
        },
        "payment_method_update": {"enabled": True},
        "invoice_history": {"enabled": True},
        "customer_update": {"enabled": True, "allowed_updates": ["address", "tax_id"]},
    }


def metadata(wanted: Any) -> Metadata:
    """The mark, and a digest of the features: Stripe does not show the products of a configuration."""
    text = msgspec.json.encode(wanted, order="deterministic")
    return MARK | {_CONTENT: hashlib.sha256(text).hexdigest()}


def is_as_wanted(configuration: Configuration, wanted: Any) -> bool:
    """By what is shown of it, and by the digest that was written when it was last published."""
    written = configuration.metadata or {}
    return metadata(wanted).items() <= written.items() and _covers(configuration.features, wanted)


def _covers(shown: Any, wanted: Any) -> bool:
    """Whether everything wanted is there, whatever else is. Lists are compared as sets."""
    if isinstance(wanted, dict):
        pairs = msgspec.convert(wanted, dict[str, Any])
        if not isinstance(shown, dict):
            return False
        there = msgspec.convert(shown, dict[str, Any])
        return all(
            (key == "products" and there.get(key) is None) or _covers(there.get(key), value)
            for key, value in pairs.items()
        )
    if isinstance(wanted, list):
        entries = msgspec.convert(wanted, list[Any])
        if not isinstance(shown, list) or len(entries) != len(shown := msgspec.convert(shown, list[Any])):
            return False
        return all(any(_covers(one, entry) for one in shown) for entry in entries)
    return bool(shown == wanted)
