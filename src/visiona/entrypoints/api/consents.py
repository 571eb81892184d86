"""Consents: the text, one's own, those of other people whose face is used, and withdrawing."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from visiona.bootstrap import App
from visiona.consents.model import (
    PURPOSE,
    RETENTION,
    Answer,
    Consent,
    State,
    Subject,
    check_statements,
    current_text,
    not_found,
)
from visiona.core.clock import rfc3339
from visiona.entrypoints.api.security import TheApp, actor_of, client_of

AnyRequest = Request[Any, Any, Any]


class SectionView(msgspec.Struct):
    title: str
    paragraphs: list[str]


class TextView(msgspec.Struct):
    """`sha256` is of the text's file, in hexadecimal digits; it is kept with every answer."""

    version: str
    sha256: str
    title: str
    sections: list[SectionView]
    confirmations: list[str]
    purpose: str
    retention: str


class ConsentView(msgspec.Struct):
    """`current` says whether photos of this face may be used now. `link` is where somebody else answers."""

    id: UUID
    subject: Subject
    state: State
    current: bool
    version: str | None
    label: str | None
    name: str | None
    asked_at: str
    expires_at: str | None
    answered_at: str | None
    withdrawn_at: str | None
    link: str | None


class ConsentsView(msgspec.Struct):
    """`needed` says whether the person still has to consent before photos of them can be added."""

    needed: bool
    text: TextView
    items: list[ConsentView]


class ConsentBody(msgspec.Struct, forbid_unknown_fields=True):
    """`version` is that of the text that was read; `name` is the person's full name, as a signature."""

    version: str
    name: str
    adult: bool
    agreed: bool


class RequestBody(msgspec.Struct, forbid_unknown_fields=True):
    """`label` is what the account holder calls the other person."""

    label: str


@get("/api/consents")
async def list_consents(app: TheApp, request: AnyRequest) -> ConsentsView:
    """The text that is current, and every consent there is or was."""
    consents = await app.consents.page(actor_of(request))
    own = any(consent.subject is Subject.SELF and consent.current for consent in consents)
    return ConsentsView(not own, text_view(), [consent_view(app, consent) for consent in consents])


@post("/api/consents", status_code=201)
async def give_consent(app: TheApp, request: AnyRequest, data: JSONBody[ConsentBody]) -> ConsentView:
    """For one's own face."""
    check_statements(version=data.version, adult=data.adult, agreed=data.agreed)
    consent = await app.consents.give(actor_of(request), Answer(data.name, client_of(request)))
    return consent_view(app, consent)


@post("/api/consents/requests", status_code=201)
async def ask_for_consent(
    app: TheApp, request: AnyRequest, data: JSONBody[RequestBody]
) -> Response[ConsentView]:
    """For somebody else's face: send them the `link`. They answer there, within 14 days."""
    consent, _ = await app.consents.ask(actor_of(request), data.label)
    return Response(consent_view(app, consent), status_code=201, headers={"Cache-Control": "no-store"})


@delete("/api/consents/{consent_id:str}", status_code=202)
async def withdraw_consent(app: TheApp, request: AnyRequest, consent_id: FromPath[str]) -> None:
    """The photos, clones and images that hang on it are deleted, here and at the processor."""
    await app.consents.withdraw(actor_of(request), read_id(consent_id))


def read_id(text: str) -> UUID:
    """Raises `NotFound` for what is no id."""
    try:
        return UUID(text)
    except ValueError:
        raise not_found() from None


def text_view() -> TextView:
    text = current_text()
    return TextView(
        text.version,
        text.sha256.hex(),
        text.title,
        [SectionView(section.title, list(section.paragraphs)) for section in text.sections],
        list(text.confirmations),
        PURPOSE,
        RETENTION,
    )


def consent_view(app: App, consent: Consent) -> ConsentView:
    linked = consent.subject is Subject.OTHER and consent.state in {State.ASKED, State.GIVEN}
    return ConsentView(
        id=consent.id,
        subject=consent.subject,
        state=consent.state,
        current=consent.current,
        version=consent.version,
        label=consent.label,
        name=consent.name,
        asked_at=rfc3339(consent.asked_at),
        expires_at=consent.expires_at and rfc3339(consent.expires_at),
        answered_at=consent.answered_at and rfc3339(consent.answered_at),
        withdrawn_at=consent.withdrawn_at and rfc3339(consent.withdrawn_at),
        link=app.consents.link(consent) if linked else None,
    )


HANDLERS = [list_consents, give_consent, ask_for_consent, withdraw_consent]
