"""Pages of payments: what is sold, and where a person stands. Money itself moves on Stripe's own pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, FromQuery
from litestar.response import Redirect

from visiona.bootstrap import App
from visiona.core.errors import VisionaError
from visiona.entrypoints.api.payment import invoice_view, plans_view
from visiona.entrypoints.api.security import TheApp, actor_for, actor_of, visitor_of
from visiona.entrypoints.web.history import history
from visiona.entrypoints.web.offers import Reader, cards, chosen_interval, has_choice, most_saved
from visiona.entrypoints.web.rendering import Flash
from visiona.entrypoints.web.responses import AnyRequest, as_refused, page
from visiona.entrypoints.web.standing import standing
from visiona.payments.model import Overview
from visiona.ports.payments import Interval

INVOICES_SHOWN: Final = 12
HISTORY_SHOWN: Final = 20
_HISTORY_READ: Final = 200
"""More than is shown: some are of periods to come, and what came of a reservation is told by two."""

RETURNED: Final = frozenset({"paid", "changed"})
"""What the address of somebody says who comes from Stripe's pages: their account is read again."""
THANKS: Final = "thanks"
"""What it says when the page asks for itself again and goes on thanking."""
TRIES: Final = 15
"""How often a page without scripts asks again whether the payment is on record."""

Arrival = Literal["waiting", "slow", "ready", "changed"]


@dataclass(slots=True)
class SubscribeForm:
    """What a button of the pricing page sends where there are no scripts."""

    plan: str = ""
    interval: str = ""


@dataclass(slots=True)
class PortalForm:
    step: str = ""


@get("/pricing")
async def pricing(
    app: TheApp, request: AnyRequest, interval: FromQuery[str] = "", checkout: FromQuery[str] = ""
) -> Response[str]:
    return await _pricing(app, request, interval=interval, left=checkout == "left")


@post("/billing/subscribe", page="/pricing", status_code=303)
async def subscribe(
    app: TheApp,
    request: AnyRequest,
    data: Annotated[SubscribeForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[str] | Redirect:
    interval = chosen_interval(app.billing.catalogue, data.plan, data.interval)
    try:
        user = await app.accounts.me(actor_of(request))
        url = await app.payments.subscribe(actor_of(request), user.email, data.plan, interval)
    except VisionaError as error:
        answer = await _pricing(app, request, interval=interval, flashes=[Flash("bad", error.detail)])
        return as_refused(request, error, answer)
    return _away(url)


@get("/billing")
async def billing(
    app: TheApp,
    request: AnyRequest,
    checkout: FromQuery[str] = "",
    before: FromQuery[str] = "",
    tries: FromQuery[str] = "",
) -> Response[str]:
    if checkout in RETURNED:
        await app.payments.look_again(actor_of(request))
    tried = int(tries) if tries.isascii() and tries.isdigit() and len(tries) < 3 else 0
    return await _billing(app, request, checkout=checkout, before=before, tried=tried)


@post("/billing/portal", page="/billing", status_code=303)
async def portal(
    app: TheApp,
    request: AnyRequest,
    data: Annotated[PortalForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[str] | Redirect:
    try:
        url = await app.payments.portal(actor_of(request), data.step or None)
    except VisionaError as error:
        answer = await _billing(app, request, flashes=[Flash("bad", error.detail)])
        return as_refused(request, error, answer)
    return _away(url)


def _away(url: str) -> Redirect:
    return Redirect(url, status_code=303, headers={"Cache-Control": "no-store"})


async def _pricing(
    app: App, request: AnyRequest, *, interval: str, left: bool = False, flashes: Sequence[Flash] = ()
) -> Response[str]:
    session = visitor_of(request)
    overview, reader = None, None
    if session is not None:
        actor = actor_for(session)
        overview = await app.payments.overview(actor)
        reader = _reader((await app.billing.quota(actor)).plan.name, overview)
    catalogue = app.billing.catalogue
    shown = cards(plans_view(app), reader, catalogue)
    bought = None if reader is None else reader.subscription
    unlisted = bought is not None and bought.plan is not None and not any(card.current for card in shown)
    return await page(
        app,
        request,
        "pricing.html.j2",
        plans=shown,
        choice=has_choice(shown),
        saving=most_saved(shown),
        interval=_interval(interval, bought.interval if bought else None),
        left=left,
        problem=overview.problem if overview else None,
        unlisted=catalogue.find(bought.plan or "").title if bought and unlisted else None,
        subscribed=bought is not None,
        flashes=flashes,
    )


def _reader(plan: str, overview: Overview) -> Reader:
    subscription = overview.subscription
    live = subscription if subscription is not None and subscription.live else None
    return Reader(plan, live, subscribed_before=subscription is not None)


def _interval(asked: str, theirs: Interval | None) -> Interval:
    """What the switch shows first."""
    if asked in {"month", "year"}:
        return "year" if asked == "year" else "month"
    return theirs or "month"


async def _billing(
    app: App,
    request: AnyRequest,
    *,
    checkout: str = "",
    before: str = "",
    tried: int = 0,
    flashes: Sequence[Flash] = (),
) -> Response[str]:
    actor, catalogue = actor_of(request), app.billing.catalogue
    overview = await app.payments.overview(actor)
    quota = await app.billing.quota(actor)
    last = before if before.isprintable() else ""
    invoices = await app.payments.invoices(actor, INVOICES_SHOWN + 1, last or None)
    ledger = await app.billing.ledger(actor, _HISTORY_READ)
    return await page(
        app,
        request,
        "billing.html.j2",
        standing=standing(overview, quota, catalogue, sells=app.payments.enabled),
        problem=overview.problem,
        customer=overview.is_customer and app.payments.enabled,
        invoices=[invoice_view(one) for one in invoices[:INVOICES_SHOWN]],
        earlier=invoices[INVOICES_SHOWN - 1].id if len(invoices) > INVOICES_SHOWN else None,
        paged=bool(last),
        history=history(ledger, catalogue, app.clock.now(), HISTORY_SHOWN),
        arrival=_arrival(checkout, overview, tried),
        tried=tried,
        flashes=flashes,
    )


def _arrival(checkout: str, overview: Overview, tried: int) -> Arrival | None:
    """What is to say to somebody who comes back from Stripe's pages."""
    if checkout not in {*RETURNED, THANKS} or not overview.is_customer:
        return None
    if checkout == "changed":
        return "changed"
    subscription = overview.subscription
    if subscription is not None and subscription.live:
        return "ready" if subscription.changeable else None
    if checkout == THANKS:
        return None
    return "slow" if tried >= TRIES else "waiting"


HANDLERS: list[BaseRouteHandler] = [pricing, subscribe, billing, portal]
