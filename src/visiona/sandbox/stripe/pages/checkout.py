"""The checkout page: a card form beside a summary, and the bank's question where a card asks for one."""

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect

from visiona.sandbox.stripe.engine.outcomes import ChallengeRequired, Declined, Paid
from visiona.sandbox.stripe.engine.views import CheckoutView
from visiona.sandbox.stripe.pages.cards import CardForm, Mistakes, read_card
from visiona.sandbox.stripe.pages.rendering import Page, see_other, show
from visiona.sandbox.stripe.pages.wiring import AnyRequest, CardBody, ChallengeBody, try_again, typed_so_far
from visiona.sandbox.stripe.service import TheSandbox


@get("/c/pay/{session_id:str}", sync_to_thread=False)
def show_checkout(sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str]) -> Page:
    view = sandbox.engine.checkout.view(session_id)
    if view.status != "open":
        return _closed(view)
    attempt = typed_so_far(request)
    return show(
        "checkout.html.j2",
        leads_to=[view.success_url],
        merchant=view.merchant,
        view=view,
        here=_address(view),
        form=attempt.form,
        mistakes=attempt.mistakes,
    )


@post("/c/pay/{session_id:str}", status_code=303, sync_to_thread=False)
def pay_checkout(
    sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str], data: CardBody
) -> Redirect:
    view = sandbox.engine.checkout.view(session_id)
    if view.status == "complete":  # the form was sent twice
        return see_other(_after(view))
    if view.status == "expired":
        return see_other(_address(view))
    card = read_card(data, needs_email=view.email is None)
    if isinstance(card, Mistakes):
        return try_again(request, _address(view), card, data)
    with sandbox.store.atomic():
        outcome = sandbox.engine.checkout.pay(session_id, card, data.email.strip() or None)
    return _follow(request, view, outcome, data)


@get("/c/pay/{session_id:str}/challenge", sync_to_thread=False)
def show_checkout_challenge(sandbox: TheSandbox, session_id: FromPath[str]) -> Page | Redirect:
    view = sandbox.engine.checkout.view(session_id)
    if view.status != "open" or not view.challenge:
        return see_other(_address(view))
    return show(
        "challenge.html.j2",
        leads_to=[view.success_url],
        merchant=view.merchant,
        amount=view.amount,
        currency=view.currency,
    )


@post("/c/pay/{session_id:str}/challenge", status_code=303, sync_to_thread=False)
def answer_checkout_challenge(
    sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str], data: ChallengeBody
) -> Redirect:
    view = sandbox.engine.checkout.view(session_id)
    if view.status == "complete":
        return see_other(_after(view))
    if view.status == "expired" or not view.challenge:
        return see_other(_address(view))
    with sandbox.store.atomic():
        outcome = sandbox.engine.checkout.answer_challenge(session_id, approve=data.answer == "complete")
    return _follow(request, view, outcome)


def _follow(
    request: AnyRequest,
    view: CheckoutView,
    outcome: Paid | Declined | ChallengeRequired,
    typed: CardForm | None = None,
) -> Redirect:
    match outcome:
        case Paid(redirect_url):
            return see_other(redirect_url or _address(view))
        case ChallengeRequired():
            return see_other(f"{_address(view)}/challenge")
        case Declined():
            return try_again(request, _address(view), outcome, typed)


def _closed(view: CheckoutView) -> Page:
    """A session on which nothing can be paid any more."""
    if view.status == "complete":
        return show(
            "state.html.j2",
            merchant=view.merchant,
            title="This checkout is already completed",
            text="There is nothing left to pay, and a second payment cannot happen here.",
            testid="checkout-complete",
            way_on=_after(view) if view.success_url else None,
            way_on_testid="checkout-continue",
        )
    return show(
        "state.html.j2",
        status=410,
        merchant=view.merchant,
        title="This checkout has expired",
        text="Nothing was charged. Go back to the merchant and start again.",
        testid="checkout-expired",
        way_on=view.cancel_url,
        way_on_testid="checkout-cancel",
    )


def _address(view: CheckoutView) -> str:
    return f"/c/pay/{view.session_id}"


def _after(view: CheckoutView) -> str:
    """Where a finished checkout leads."""
    if view.success_url is None:
        return _address(view)
    return view.success_url.replace("{CHECKOUT_SESSION_ID}", view.session_id)
