"""What the pages' handlers are given, and how they answer what cannot be done."""

from typing import Annotated, Any

from litestar import Request
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException
from litestar.params import Body

from visiona.sandbox.stripe.errors import StripeError
from visiona.sandbox.stripe.pages.cards import CardForm
from visiona.sandbox.stripe.pages.countries import country_of
from visiona.sandbox.stripe.pages.rendering import Page, show

AnyRequest = Request[Any, Any, Any]
CardBody = Annotated[CardForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


def country_for(request: AnyRequest) -> str:
    """The country that a card form starts with."""
    return country_of(request.headers.get("accept-language", ""))


def answer_stripe_error(request: AnyRequest, error: StripeError) -> Page:
    """An unknown address, or something that can no longer be done, as a page."""
    path: str = request.scope["path"]
    if path.startswith("/p/") and error.status == 404:
        title, text = "This link has expired", (
            "Links to this page work for a short time only. Go back to where you came from and open it again."
        )  # fmt: skip
    elif error.status == 404:
        title, text = "Nothing is here", "The address is not complete, or what it stood for is gone."
    else:
        title, text = "This cannot be done", error.message
    testid = "portal-expired" if path.startswith("/p/") else "page-error"
    return show("state.html.j2", status=error.status, merchant=None, title=title, text=text, testid=testid)


def answer_http_error(_: AnyRequest, error: HTTPException) -> Page:
    """A request that no form of these pages sends."""
    return show(
        "state.html.j2",
        status=error.status_code,
        merchant=None,
        title="This request cannot be answered",
        text="Go back, and try again from the page itself.",
        testid="page-error",
    )
