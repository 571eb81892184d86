"""Prices: which of them are Visiona's, and what they are, asked for once an hour at most."""

import time
from collections.abc import Iterable

from visiona.adapters.stripe.answers import Price
from visiona.adapters.stripe.calls import StripeCalls, gathered
from visiona.adapters.stripe.failures import PROVIDER
from visiona.ports.errors import ProviderNotFound
from visiona.ports.payments import Interval, PriceReport

PLAN = "visiona_plan"
"""The name under which a price's plan is written in its metadata."""

_OUR_KEYS = "visiona_"
_KEPT_S = 3600.0
_INTERVALS: dict[str, Interval] = {"month": "month", "year": "year"}


def price_report(price: Price) -> PriceReport:
    """A price without a fixed whole amount counts as nothing, and an interval other than one month or
    one year as none: such prices are never Visiona's.
    """
    recurring = price.recurring
    single = recurring is not None and recurring.interval_count == 1
    return PriceReport(
        id=price.id,
        lookup_key=price.lookup_key,
        plan=(price.metadata or {}).get(PLAN),
        amount=price.unit_amount or 0,
        currency=price.currency,
        interval=_INTERVALS.get(recurring.interval) if recurring and single else None,
    )


def is_ours(price: PriceReport) -> bool:
    return price.plan is not None or (price.lookup_key or "").startswith(_OUR_KEYS)


def is_better(price: PriceReport, than: PriceReport) -> bool:
    """Ours go before others', and among ours the dearest; of others' none is better."""
    if not is_ours(price):
        return False
    return not is_ours(than) or price.amount > than.amount


async def active_price(calls: StripeCalls, lookup_key: str) -> str:
    """The id of the price to be had under this key. Raises `ProviderNotFound`."""
    found = await calls.every(
        "find price",
        lambda v1, page: v1.prices.list_async({**page, "lookup_keys": [lookup_key], "active": True}),
        Price,
    )
    if not found:
        raise ProviderNotFound(PROVIDER, "no active price has the lookup key")
    return found[0].id


class PriceBook:
    """What was learnt about prices. Amount, currency and interval of a price never change."""

    def __init__(self, calls: StripeCalls) -> None:
        self._calls = calls
        self._known: dict[str, tuple[float, PriceReport]] = {}

    def learn(self, price: Price) -> PriceReport:
        report = price_report(price)
        self._known[report.id] = (time.monotonic(), report)
        return report

    async def look_up(self, ids: Iterable[str]) -> dict[str, PriceReport]:
        """By id, those that exist."""
        limit = time.monotonic() - _KEPT_S
        self._known = {key: entry for key, entry in self._known.items() if entry[0] > limit}
        wanted = set(ids)
        fresh = {key: self._known[key][1] for key in wanted & self._known.keys()}
        found = await gathered(self._retrieve(price_id) for price_id in sorted(wanted - fresh.keys()))
        return fresh | {price.id: price for price in found if price is not None}

    async def _retrieve(self, price_id: str) -> PriceReport | None:
        try:
            price = await self._calls.get(
                "retrieve price", lambda v1: v1.prices.retrieve_async(price_id), Price
            )
        except ProviderNotFound:
            return None
        return self.learn(price)
