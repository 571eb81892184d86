"""Making Stripe's catalogue, portal and webhook endpoint as Visiona needs them.

Everything is looked for before it is made, so publishing again after a lost answer finds what the
first attempt did. What is there under our names is put right; nothing else is touched.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from visiona.adapters.stripe.answers import Id, Made, Metadata, Price, id_of
from visiona.adapters.stripe.calls import StripeCalls
from visiona.adapters.stripe.portal import features, find_configuration, is_as_wanted, metadata
from visiona.adapters.stripe.prices import PLAN, is_ours, price_report
from visiona.adapters.stripe.webhooks import EVENTS, PINNED_VERSION
from visiona.ports.errors import ProviderNotFound
from visiona.ports.payments import Offer, PublishedThing


class _Product(msgspec.Struct):
    id: Id
    name: str = ""
    active: bool = False
    metadata: Metadata | None = None


class _Endpoint(msgspec.Struct):
    id: Id
    url: str
    status: str
    enabled_events: list[str]
    api_version: str | None = None


class _NewEndpoint(msgspec.Struct):
    id: Id
    secret: str


class Publishing:
    """One run. `change` False: nothing is written, only told."""

    def __init__(self, calls: StripeCalls, *, change: bool) -> None:
        self._calls = calls
        self._change = change
        self._told: list[PublishedThing] = []

    async def run(self, offers: Sequence[Offer], webhook_url: str | None) -> list[PublishedThing]:
        titles = {offer.plan: offer.product for offer in offers}
        for plan, title in titles.items():
            await self._product(plan, title)
        current = {offer.lookup_key: await self._price(offer) for offer in offers}
        await self._portal(offers, current)
        # Last, as the portal must not list a price that is closed.
        for plan in titles:
            await self._close_old(plan, current.keys())
        if webhook_url is not None:
            await self._endpoint(webhook_url)
        return self._told

    def _tell(self, done: str, missing: str) -> None:
        """What was done, or without `change` what is to be done."""
        self._told.append(PublishedThing(self._change, done if self._change else missing))

    def _fine(self, what: str) -> None:
        self._told.append(PublishedThing(ok=True, what=what))

    async def _product(self, plan: str, title: str) -> None:
        product_id, marks = _product_id(plan), {PLAN: plan}
        try:
            found = await self._calls.get(
                "retrieve product", lambda v1: v1.products.retrieve_async(product_id), _Product
            )
        except ProviderNotFound:
            if self._change:
                await self._calls.post(
                    "create product",
                    lambda v1, options: v1.products.create_async(
                        {"id": product_id, "name": title, "metadata": marks}, options
                    ),
                    Made,
                )
            self._tell(f"Product {product_id} made.", f"Product {product_id} is missing.")
            return
        if (found.name, found.active) == (title, True) and marks.items() <= (found.metadata or {}).items():
            self._fine(f"Product {product_id} is there.")
            return
        if self._change:
            await self._calls.post(
                "update product",
                lambda v1, options: v1.products.update_async(
                    product_id, {"name": title, "active": True, "metadata": marks}, options
                ),
                Made,
            )
        self._tell(f"Product {product_id} put right.", f"Product {product_id} differs in name or state.")

    async def _price(self, offer: Offer) -> str | None:
        """The id of the offer's price; None while it is only missing."""
        holder = await self._holder(offer.lookup_key)
        if holder is None:
            price_id = await self._new_price(offer, "Price {key} made.", "Price {key} is missing.")
        elif not _same_terms(holder, offer):
            await self._name_plan(holder, offer.plan)
            price_id = await self._new_price(
                offer,
                "Price {key} replaced; who has the old one keeps it.",
                "Price {key} has other terms than the plan: a new one is to replace it.",
            )
        else:
            price_id = holder.id
            await self._mark(holder, offer)
        return price_id

    async def _name_plan(self, price: Price, plan: str) -> None:
        """Who pays a price made by hand is known by its lookup key, which it is about to lose."""
        if self._change and (price.metadata or {}).get(PLAN) is None:
            await self._calls.post(
                "name a price's plan",
                lambda v1, options: v1.prices.update_async(price.id, {"metadata": {PLAN: plan}}, options),
                Made,
            )

    async def _holder(self, lookup_key: str) -> Price | None:
        found = await self._calls.every(
            "find price", lambda v1, page: v1.prices.list_async({**page, "lookup_keys": [lookup_key]}), Price
        )
        return found[0] if found else None

    async def _new_price(self, offer: Offer, done: str, missing: str) -> str | None:
        price_id = None
        if self._change:
            await self._calls.post(
                "create price",
                lambda v1, options: v1.prices.create_async(
                    {
                        "product": _product_id(offer.plan),
                        "currency": offer.currency,
                        "unit_amount": offer.amount,
                        "recurring": {"interval": offer.interval},
                        "tax_behavior": "unspecified",
                        "lookup_key": offer.lookup_key,
                        "transfer_lookup_key": True,
                        "metadata": {PLAN: offer.plan},
                    },
                    options,
                ),
                Made,
            )
            # Somebody who publishes at the same time may have taken the key over: then theirs is it.
            holder = await self._holder(offer.lookup_key)
            price_id = None if holder is None else holder.id
        self._tell(done.format(key=offer.lookup_key), missing.format(key=offer.lookup_key))
        return price_id

    async def _mark(self, price: Price, offer: Offer) -> None:
        if price.active and (price.metadata or {}).get(PLAN) == offer.plan:
            self._fine(f"Price {offer.lookup_key} is there.")
            return
        if self._change:
            await self._calls.post(
                "update price",
                lambda v1, options: v1.prices.update_async(
                    price.id, {"active": True, "metadata": {PLAN: offer.plan}}, options
                ),
                Made,
            )
        self._tell(
            f"Price {offer.lookup_key} put right.",
            f"Price {offer.lookup_key} is closed or does not name its plan.",
        )

    async def _close_old(self, plan: str, offered: Collection[str]) -> None:
        """Prices of ours that hold no offered key: subscriptions that have one keep it."""
        product_id = _product_id(plan)
        try:
            found = await self._calls.every(
                "list prices",
                lambda v1, page: v1.prices.list_async({**page, "product": product_id, "active": True}),
                Price,
            )
        except ProviderNotFound:  # the product is not made yet
            return
        for price in found:
            if price.lookup_key in offered or not is_ours(price_report(price)):
                continue
            if self._change:
                await self._calls.post(
                    "close price",
                    lambda v1, options, price_id=price.id: v1.prices.update_async(
                        price_id, {"active": False}, options
                    ),
                    Made,
                )
            self._tell(f"Old price {price.id} closed.", f"Old price {price.id} is still open.")

    async def _portal(self, offers: Sequence[Offer], current: Mapping[str, str | None]) -> None:
        products: dict[str, list[str]] = {}
        for offer in offers:
            price_id = current[offer.lookup_key]
            if price_id is not None:
                products.setdefault(_product_id(offer.plan), []).append(price_id)
        wanted = features(products)
        found = await find_configuration(self._calls)
        if found is None:
            if self._change:
                await self._calls.post(
                    "create portal configuration",
                    lambda v1, options: v1.billing_portal.configurations.create_async(
                        {"features": wanted, "metadata": metadata(wanted)}, options
                    ),
                    Made,
                )
            self._tell("Portal configuration made.", "The portal's configuration is missing.")
        elif is_as_wanted(found, wanted):
            self._fine("Portal configuration is there.")
        else:
            if self._change:
                await self._calls.post(
                    "update portal configuration",
                    lambda v1, options: v1.billing_portal.configurations.update_async(
                        found.id, {"features": wanted, "metadata": metadata(wanted)}, options
                    ),
                    Made,
                )
            self._tell("Portal configuration put right.", "The portal's configuration differs.")

    async def _endpoint(self, url: str) -> None:
        found = await self._calls.every(
            "list webhook endpoints", lambda v1, page: v1.webhook_endpoints.list_async({**page}), _Endpoint
        )
        at_url = [endpoint for endpoint in found if endpoint.url == url]
        if not at_url:
            await self._new_endpoint(url)
        for endpoint in at_url:
            await self._keep_endpoint(url, endpoint)
        if len(at_url) > 1:
            self._act(f"{len(at_url)} webhook endpoints deliver to {url}: delete all but one at Stripe.")

    async def _new_endpoint(self, url: str) -> None:
        if not self._change:
            self._act(f"No webhook endpoint delivers to {url}.")
            return
        made = await self._calls.post(
            "create webhook endpoint",
            lambda v1, options: v1.webhook_endpoints.create_async(
                {
                    "url": url,
                    "enabled_events": list(EVENTS),
                    "api_version": PINNED_VERSION,
                    "metadata": {"visiona": "webhook"},
                },
                options,
            ),
            _NewEndpoint,
        )
        self._act(
            f"Webhook endpoint {made.id} made. Its secret is shown only now: "
            f"set VISIONA_STRIPE_WEBHOOK_SECRET={made.secret}"
        )

    async def _keep_endpoint(self, url: str, endpoint: _Endpoint) -> None:
        if endpoint.api_version != PINNED_VERSION:
            self._act(
                f"Webhook endpoint {endpoint.id} speaks API version {endpoint.api_version or 'by default'}, "
                f"not {PINNED_VERSION}, which cannot be changed: delete it at Stripe and publish again; "
                "the new one has a new secret."
            )
            return
        if set(endpoint.enabled_events) == set(EVENTS) and endpoint.status == "enabled":
            self._fine(f"Webhook endpoint {endpoint.id} delivers to {url}.")
            return
        if self._change:
            await self._calls.post(
                "update webhook endpoint",
                lambda v1, options: v1.webhook_endpoints.update_async(
                    endpoint.id, {"enabled_events": list(EVENTS), "disabled": False}, options
                ),
                Made,
            )
        self._tell(
            f"Webhook endpoint {endpoint.id} put right.",
            f"Webhook endpoint {endpoint.id} is disabled or sends other events.",
        )

    def _act(self, what: str) -> None:
        self._told.append(PublishedThing(ok=False, what=what))


def _product_id(plan: str) -> str:
    return f"visiona_{plan}"


def _same_terms(price: Price, offer: Offer) -> bool:
    report = price_report(price)
    terms = (id_of(price.product), price.unit_amount, report.currency, report.interval)
    return terms == (_product_id(offer.plan), offer.amount, offer.currency, offer.interval)
