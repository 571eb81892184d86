"""What the pages' handlers are given, and how they answer what cannot be done."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from litestar import Request
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException
from litestar.params import Body
from litestar.response import Redirect

from visiona.sandbox.stripe.engine.outcomes import Declined
from visiona.sandbox.stripe.errors import StripeError
from visiona.sandbox.stripe.pages.attempts import Attempt, attempts_in
from visiona.sandbox.stripe.pages.cards import CardForm, Mistakes, mistakes_of, sample_form
from visiona.sandbox.stripe.pages.countries import country_of
from visiona.sandbox.stripe.pages.rendering import Page, see_other, show
from visiona.sandbox.stripe.service import Sandbox

AnyRequest = Request[Any, Any, Any]


@dataclass(slots=True)
class ChallengeForm:
    """What the bank's page sends."""

    answer: Literal["complete", "fail"]


CardBody = Annotated[CardForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
ChallengeBody = Annotated[ChallengeForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


def typed_so_far(request: AnyRequest) -> Attempt:
    """What a form starts with: what was refused, a test card, or nothing but a country."""
    query = request.query_params
    refused = attempts_in(request.app.state).find(query.get("attempt", ""))
    if refused is not None:
        return refused
    country = country_of(request.headers.get("accept-language", ""))
    return Attempt(sample_form(query.get("card", ""), country))


def try_again(
    request: AnyRequest, address: str, wrong: Mistakes | Declined, typed: CardForm | None = None
) -> Redirect:
    """Back to the form at `address`, which then says what was wrong. A refused card's code is not kept."""
    attempt = typed_so_far(request) if typed is None else Attempt(typed)
    if isinstance(wrong, Declined):
        attempt = Attempt(replace(attempt.form, cvc=""), mistakes_of(wrong))
    else:
        attempt = replace(attempt, mistakes=wrong)
    return see_other(f"{address}?attempt={attempts_in(request.app.state).keep(attempt)}")


def answer_stripe_error(request: AnyRequest, error: StripeError) -> Page:
    """An unknown address, or something that can no longer be done, as a page."""
    if request.scope["path"].startswith("/p/") and error.status == 404:
        return _refusal(
            error.status,
            title="This link has expired",
            text="Links to this page work for a short time only. Go back to the merchant and open it again.",
            testid="portal-expired",
            way_on=_way_back(request),
            way_on_testid="portal-return",
        )
    title, text = "This cannot be done", error.message
    if error.status == 404:
        title, text = "Nothing is here", "The address is not complete, or what it stood for is gone."
    return _refusal(error.status, title=title, text=text, testid="page-error")


def _refusal(status: int, **context: Any) -> Page:
    """The application marks only the answers that its handlers give."""
    page = show("state.html.j2", status=status, merchant=None, **context)
    page.headers["X-Visiona-Sandbox"] = "stripe"
    return page


def _way_back(request: AnyRequest) -> str | None:
    """Where a portal session came from, as long as it is remembered."""
    sandbox: Sandbox = request.app.state.sandbox
    session = sandbox.store.find("billing_portal.session", str(request.path_params["session_id"]))
    return None if session is None else session["return_url"]


def answer_http_error(_: AnyRequest, error: HTTPException) -> Page:
    """A request that no form of these pages sends."""
    return _refusal(
        error.status_code,
        title="This request cannot be answered",
        text="Go back, and try again from the page itself.",
        testid="page-error",
    )
