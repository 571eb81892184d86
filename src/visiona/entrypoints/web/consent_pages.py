"""Consent to the use of a face: before the first photo, by a link for somebody else, and withdrawing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, FromPath, FromQuery
from litestar.response import Redirect

from visiona.bootstrap import App
from visiona.consents.model import (
    MAX_NAME,
    Answer,
    State,
    Subject,
    check_statements,
    current_text,
)
from visiona.core.errors import NotFound, VisionaError
from visiona.db.actor import UserActor
from visiona.entrypoints.api.consents import consent_view, read_id, text_view
from visiona.entrypoints.api.security import (
    TheApp,
    actor_for,
    actor_of,
    check_origin,
    client_of,
    visitor_of,
)
from visiona.entrypoints.web.rendering import Flash
from visiona.entrypoints.web.responses import AnyRequest, as_refused, html, linked, page, safe_path
from visiona.entrypoints.web.sign_in_pages import refusal

CONSENTS: Final = "/account/consents"

_DONE: Final[Mapping[str, Flash]] = {
    "given": Flash("good", "Thank you. Your consent is on record, and you can withdraw it here at any time."),
    "withdrawn": Flash(
        "good", "Withdrawn. The photos, clones and pictures that hang on it are being deleted now."
    ),
}


@dataclass(slots=True)
class SignedForm:
    """Boxes are sent as `yes`, or not at all."""

    version: str = ""
    name: str = ""
    adult: str = ""
    agreed: str = ""
    next: str = ""


@dataclass(slots=True)
class AskForm:
    label: str = ""


@dataclass(slots=True)
class WithdrawForm:
    consent_id: str = ""


SignedBody = Annotated[SignedForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
AskBody = Annotated[AskForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
WithdrawBody = Annotated[WithdrawForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


# One's own


@get("/consent")
async def consent(app: TheApp, request: AnyRequest, next: FromQuery[str] = "") -> Response[str]:  # noqa: A002 - as in addresses of the other pages
    return await _own(app, request, SignedForm(next=next))


@post("/consent", page="/consent", status_code=303)
async def give(app: TheApp, request: AnyRequest, data: SignedBody) -> Response[str] | Redirect:
    try:
        _check(data)
        await app.consents.give(actor_of(request), Answer(data.name, client_of(request)))
    except VisionaError as error:
        return as_refused(request, error, await _own(app, request, data, error))
    return Redirect(safe_path(data.next) if data.next else f"{CONSENTS}?done=given", status_code=303)


# All of them


@get(CONSENTS)
async def consents(app: TheApp, request: AnyRequest, done: FromQuery[str] = "") -> Response[str]:
    said = _DONE.get(done)
    return await _consents(app, request, flashes=[said] if said else [])


@post("/account/consents/ask", page=CONSENTS, status_code=303)
async def ask(app: TheApp, request: AnyRequest, data: AskBody) -> Response[str]:
    try:
        asked, link = await app.consents.ask(actor_of(request), data.label)
    except VisionaError as error:
        return as_refused(request, error, await _consents(app, request, label=data.label, **refusal(error)))
    return await _consents(app, request, made={"label": asked.label, "link": link})


@post("/account/consents/withdraw", page=CONSENTS, status_code=303)
async def withdraw(app: TheApp, request: AnyRequest, data: WithdrawBody) -> Response[str] | Redirect:
    try:
        await app.consents.withdraw(actor_of(request), read_id(data.consent_id))
    except VisionaError as error:
        return as_refused(request, error, await _consents(app, request, flashes=[Flash("bad", error.detail)]))
    return Redirect(f"{CONSENTS}?done=withdrawn", status_code=303)


# Somebody else's, by their link


@get("/consent/{token:str}")
async def asked(
    app: TheApp, request: AnyRequest, token: FromPath[str], done: FromQuery[str] = ""
) -> Response[str]:
    return await _asked(app, request, token, SignedForm(), done=done)


@post("/consent/{token:str}", status_code=303)
async def answer(
    app: TheApp, request: AnyRequest, token: FromPath[str], data: SignedBody
) -> Response[str] | Redirect:
    check_origin(request)
    try:
        _check(data)
        await app.consents.answer(token, Answer(data.name, client_of(request)), _visitor(request))
    except NotFound:
        raise
    except VisionaError as error:
        return as_refused(request, error, await _asked(app, request, token, data, error))
    return Redirect(f"/consent/{token}?done=given", status_code=303)


@post("/consent/{token:str}/end", status_code=303)
async def end(app: TheApp, request: AnyRequest, token: FromPath[str]) -> Redirect:
    """Refuse, or withdraw what was given."""
    check_origin(request)
    await app.consents.end(token)
    return Redirect(f"/consent/{token}", status_code=303)


def _visitor(request: AnyRequest) -> UserActor | None:
    session = visitor_of(request)
    return None if session is None else actor_for(session)


def _check(form: SignedForm) -> None:
    check_statements(version=form.version, adult=form.adult == "yes", agreed=form.agreed == "yes")


async def _own(
    app: App, request: AnyRequest, form: SignedForm, error: VisionaError | None = None
) -> Response[str]:
    return await page(
        app,
        request,
        "consent.html.j2",
        text=text_view(),
        form=form,
        leads_to=safe_path(form.next) if form.next else "",
        given=await app.consents.has_own(actor_of(request)),
        name_max=MAX_NAME,
        **refusal(error),
    )


async def _consents(
    app: App,
    request: AnyRequest,
    *,
    made: Mapping[str, Any] | None = None,
    label: str = "",
    errors: Any = (),
    detail: str | None = None,
    **context: Any,
) -> Response[str]:
    found = [consent_view(app, one) for one in await app.consents.page(actor_of(request))]
    own = [one for one in found if one.subject is Subject.SELF]
    return await page(
        app,
        request,
        "consents.html.j2",
        own=[msgspec.to_builtins(one) for one in own if one.state is State.GIVEN][:1],
        others=[msgspec.to_builtins(one) for one in found if one.subject is Subject.OTHER],
        past=[msgspec.to_builtins(one) for one in own if one.state is State.WITHDRAWN],
        version=current_text().version,
        made=made,
        label=label,
        name_max=MAX_NAME,
        errors=errors,
        detail=detail,
        **context,
    )


async def _asked(
    app: App,
    request: AnyRequest,
    token: str,
    form: SignedForm,
    error: VisionaError | None = None,
    done: str = "",
) -> Response[str]:
    found = await app.consents.asked(token)
    visitor = _visitor(request)
    answer = html(
        request,
        "consent_asked.html.j2",
        text=text_view(),
        form=form,
        token=token,
        state=str(found.state),
        label=found.label,
        expires_at=found.expires_at.isoformat(),
        done=done == "given",
        asked_by_visitor=visitor is not None and visitor.user_id == found.user_id,
        name_max=MAX_NAME,
        **refusal(error),
    )
    return linked(answer)


HANDLERS: list[BaseRouteHandler] = [consent, give, consents, ask, withdraw, asked, answer, end]
