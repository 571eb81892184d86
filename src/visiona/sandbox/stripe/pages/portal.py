"""The customer portal: the plan, the card and the invoices, and deep links into one task of it."""

from typing import Any, Final

from litestar import get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from visiona.sandbox.stripe.engine.outcomes import Applied, ChallengeRequired, Declined, Paid, Scheduled
from visiona.sandbox.stripe.engine.views import PortalView
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.pages.cards import Mistakes, read_card
from visiona.sandbox.stripe.pages.rendering import Page, see_other, show
from visiona.sandbox.stripe.pages.wiring import AnyRequest, CardBody, ChallengeBody, try_again, typed_so_far
from visiona.sandbox.stripe.service import Sandbox, TheSandbox
from visiona.sandbox.stripe.store import Store

_DONE: Final = {
    "changed": "Your plan has been changed.",
    "scheduled": "Your plan will change at the end of the period.",
    "canceled": "Your plan has been canceled.",
    "resumed": "Your plan continues.",
    "undone": "The scheduled change has been undone.",
    "card": "Your card has been saved.",
    "paid": "The invoice is paid.",
    "confirmed": "Your bank has confirmed it, and everything is done.",
}

_TASKS: Final = {
    "subscription_update",
    "subscription_update_confirm",
    "subscription_cancel",
    "payment_method_update",
}

_Outcome = Paid | Applied | Scheduled | Declined | ChallengeRequired


@get("/p/session/{session_id:str}", sync_to_thread=False)
def show_portal(
    sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str], done: FromQuery[str] = ""
) -> Page:
    """The overview, or the one task that a deep link is for. `done` names what has just happened."""
    view = sandbox.engine.portal.view(session_id)
    flow = view.flow
    if flow is None or flow.type not in _TASKS or (flow.completed and not flow.redirect_url):
        return _page(request, view, "portal.html.j2", done=_DONE.get(done), names=_names(view, sandbox.store))
    if flow.completed:
        return _flow_completed(view)
    match flow.type:
        case "subscription_update":
            return _page(request, view, "portal_plans.html.j2", names=_names(view, sandbox.store))
        case "subscription_update_confirm" if flow.price_id:
            return _confirm_change(sandbox, request, view, flow.price_id)
        case "subscription_cancel":
            return _confirm_cancel(request, view)
        case _:
            return _card_form(request, view)


@get("/p/session/{session_id:str}/change/{price_id:str}", sync_to_thread=False)
def show_change(
    sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str], price_id: FromPath[str]
) -> Page:
    return _confirm_change(sandbox, request, sandbox.engine.portal.view(session_id), price_id)


@post("/p/session/{session_id:str}/change/{price_id:str}", status_code=303, sync_to_thread=False)
def change_plan(
    sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str], price_id: FromPath[str]
) -> Redirect:
    view = sandbox.engine.portal.view(session_id)
    subscription = view.subscription
    if subscription is not None and price_id == subscription.price.id and subscription.scheduled is None:
        return _onwards(sandbox, session_id, "changed")  # the form was sent twice
    if subscription is not None and subscription.scheduled and price_id == subscription.scheduled.price.id:
        return _onwards(sandbox, session_id, "scheduled")
    with sandbox.store.atomic():
        outcome = sandbox.engine.portal.change_price(session_id, price_id)
    if isinstance(outcome, Declined):
        return try_again(request, f"{_address(view)}/change/{price_id}", outcome)
    done = "scheduled" if isinstance(outcome, Scheduled) else "changed"
    return _follow(sandbox, session_id, outcome, done)


@get("/p/session/{session_id:str}/cancel", sync_to_thread=False)
def show_cancel(sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str]) -> Page:
    return _confirm_cancel(request, sandbox.engine.portal.view(session_id))


@post("/p/session/{session_id:str}/cancel", status_code=303, sync_to_thread=False)
def cancel_plan(sandbox: TheSandbox, session_id: FromPath[str]) -> Redirect:
    subscription = sandbox.engine.portal.view(session_id).subscription
    if subscription is None or subscription.ends_at is not None:
        return _onwards(sandbox, session_id, "canceled")
    with sandbox.store.atomic():
        outcome = sandbox.engine.portal.cancel(session_id)
    return _follow(sandbox, session_id, outcome, "canceled")


@post("/p/session/{session_id:str}/resume", status_code=303, sync_to_thread=False)
def resume_plan(sandbox: TheSandbox, session_id: FromPath[str]) -> Redirect:
    subscription = sandbox.engine.portal.view(session_id).subscription
    if subscription is not None and subscription.ends_at is None:
        return _onwards(sandbox, session_id, "resumed")
    with sandbox.store.atomic():
        outcome = sandbox.engine.portal.resume(session_id)
    return _follow(sandbox, session_id, outcome, "resumed")


@post("/p/session/{session_id:str}/undo", status_code=303, sync_to_thread=False)
def undo_scheduled_change(sandbox: TheSandbox, session_id: FromPath[str]) -> Redirect:
    subscription = sandbox.engine.portal.view(session_id).subscription
    if subscription is not None and subscription.scheduled is None:
        return _onwards(sandbox, session_id, "undone")
    with sandbox.store.atomic():
        outcome = sandbox.engine.portal.undo_scheduled_change(session_id)
    return _follow(sandbox, session_id, outcome, "undone")


@get("/p/session/{session_id:str}/card", sync_to_thread=False)
def show_card(sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str]) -> Page:
    return _card_form(request, sandbox.engine.portal.view(session_id))


@post("/p/session/{session_id:str}/card", status_code=303, sync_to_thread=False)
def save_card(
    sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str], data: CardBody
) -> Redirect:
    view = sandbox.engine.portal.view(session_id)
    form = f"{_address(view)}/card"
    card = read_card(data)
    if isinstance(card, Mistakes):
        return try_again(request, form, card, data)
    with sandbox.store.atomic():
        outcome = sandbox.engine.portal.set_card(session_id, card)
    if isinstance(outcome, Declined):
        return try_again(request, form, outcome, data)
    return _follow(sandbox, session_id, outcome, "card")


@post("/p/session/{session_id:str}/invoices/{invoice_id:str}/pay", status_code=303, sync_to_thread=False)
def pay_invoice(
    sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str], invoice_id: FromPath[str]
) -> Redirect:
    view = sandbox.engine.portal.view(session_id)
    if any(invoice.id == invoice_id and invoice.status == "paid" for invoice in view.invoices):
        return _onwards(sandbox, session_id, "paid")
    with sandbox.store.atomic():
        outcome = sandbox.engine.portal.pay_invoice(session_id, invoice_id)
    if isinstance(outcome, Declined):
        return try_again(request, _address(view), outcome)
    return _follow(sandbox, session_id, outcome, "paid")


@get("/p/session/{session_id:str}/challenge", sync_to_thread=False)
def show_portal_challenge(sandbox: TheSandbox, session_id: FromPath[str]) -> Page | Redirect:
    view = sandbox.engine.portal.view(session_id)
    if not view.challenge:
        return see_other(_address(view))
    return show(
        "challenge.html.j2", leads_to=_leads_to(view), merchant=view.merchant, amount=None, currency=None
    )


@post("/p/session/{session_id:str}/challenge", status_code=303, sync_to_thread=False)
def answer_portal_challenge(
    sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str], data: ChallengeBody
) -> Redirect:
    view = sandbox.engine.portal.view(session_id)
    if not view.challenge:
        return _onwards(sandbox, session_id, "")
    with sandbox.store.atomic():
        outcome = sandbox.engine.portal.answer_challenge(session_id, approve=data.answer == "complete")
    if isinstance(outcome, Declined):
        return try_again(request, _address(view), outcome)
    return _follow(sandbox, session_id, outcome, "confirmed")


def _follow(sandbox: Sandbox, session_id: str, outcome: _Outcome, done: str) -> Redirect:
    """Where a page leads once its action has been taken."""
    if isinstance(outcome, ChallengeRequired):
        return see_other(f"/p/session/{session_id}/challenge")
    if not isinstance(outcome, Declined) and outcome.redirect_url:
        return see_other(outcome.redirect_url)
    return _onwards(sandbox, session_id, done)


def _onwards(sandbox: Sandbox, session_id: str, done: str) -> Redirect:
    """To the merchant where a deep link's task is done, else to the overview."""
    view = sandbox.engine.portal.view(session_id)
    if view.flow is not None and view.flow.completed and view.flow.redirect_url:
        return see_other(view.flow.redirect_url)
    return see_other(f"{_address(view)}?done={done}" if done else _address(view))


def _confirm_change(sandbox: Sandbox, request: AnyRequest, view: PortalView, price_id: str) -> Page:
    preview = sandbox.engine.portal.preview_change(view.session_id, price_id)
    return _page(request, view, "portal_change.html.j2", preview=preview)


def _confirm_cancel(request: AnyRequest, view: PortalView) -> Page:
    if view.subscription is None or not view.can_cancel:
        raise invalid("There is no plan that can be canceled here.")
    return _page(request, view, "portal_cancel.html.j2")


def _card_form(request: AnyRequest, view: PortalView) -> Page:
    if not view.can_change_card:
        raise invalid("The card cannot be changed here.")
    return _page(request, view, "portal_card.html.j2")


def _page(request: AnyRequest, view: PortalView, template: str, **context: Any) -> Page:
    """`way_back` leads out of a task; a deep link knows no overview before its task is done."""
    attempt = typed_so_far(request)
    in_flow = view.flow is not None and not view.flow.completed
    return show(
        template,
        leads_to=_leads_to(view),
        merchant=view.merchant,
        view=view,
        here=_address(view),
        way_back=view.return_url if in_flow else _address(view),
        form=attempt.form,
        mistakes=attempt.mistakes,
        **context,
    )


def _flow_completed(view: PortalView) -> Page:
    return show(
        "state.html.j2",
        merchant=view.merchant,
        title="All done",
        text="There is nothing left to do here.",
        testid="portal-done",
        way_on=view.flow.redirect_url if view.flow else None,
        way_on_testid="portal-return",
    )


def _names(view: PortalView, store: Store) -> dict[str, str]:
    """What each price is called in test ids: its lookup key, or its id where it has none."""
    return {price.id: store.get("price", price.id)["lookup_key"] or price.id for price in view.prices}


def _leads_to(view: PortalView) -> list[str | None]:
    return [view.return_url, view.flow.redirect_url if view.flow else None]


def _address(view: PortalView) -> str:
    return f"/p/session/{view.session_id}"
