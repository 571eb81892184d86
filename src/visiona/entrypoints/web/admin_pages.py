"""Administrators' pages, and the page where a person reads who looked at their account.

For everybody but administrators these addresses do not exist. Each act is a form of its own with a
reason, sent back to the page that it stands on.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, FromQuery
from litestar.response import Redirect

from visiona.administration.model import (
    ENDINGS,
    ERASURES,
    GIFTS,
    LISTS,
    RETURNS,
    SUSPENSIONS,
    Content,
    Entitlement,
    PeopleList,
    PersonRecord,
    Reason,
    Search,
    chosen_reason,
    person_not_found,
    read_search,
)
from visiona.audit.model import Entry, Filter
from visiona.billing.model import Catalogue
from visiona.bootstrap import App
from visiona.core.errors import NotFound, VisionaError
from visiona.db.actor import AdminActor
from visiona.entrypoints.api.admin import admin_of
from visiona.entrypoints.api.parameters import RowId, row_id
from visiona.entrypoints.api.security import Caller, TheApp, actor_of, caller_of
from visiona.entrypoints.web.audit_words import REASONS, action_labels, log_lines
from visiona.entrypoints.web.history import history
from visiona.entrypoints.web.rendering import Flash
from visiona.entrypoints.web.responses import AnyRequest, as_refused, page

PEOPLE_SHOWN: Final = 30
LINES_SHOWN: Final = 40
CONTENT_SHOWN: Final = 12
LEDGER_SHOWN: Final = 20
SUPPORT_HOURS: Final = (1, 8, 24, 72)
ADMINISTRATORS: Final = "admin."

_DONE: Final = {
    "plan": "The plan is ordered; the worker sets it within seconds.",
    "suspended": "The account is suspended.",
    "unsuspended": "The suspension is lifted.",
    "sessions": "All sessions are ended.",
    "erased": "The deletion is ordered.",
}

_SOURCES: Final = {
    "subscription": "paid by a subscription",
    "gift": "given by an operator",
    "base": "everybody has it",
}

_T = TypeVar("_T")


@dataclass(slots=True)
class ActForm:
    reason: str = ""
    plan: str = ""


@dataclass(slots=True)
class SupportForm:
    hours: str = ""


ActBody = Annotated[ActForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
SupportBody = Annotated[SupportForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


# A person's own


@get("/account/history")
async def own_history(app: TheApp, request: AnyRequest, before: FromQuery[str] = "") -> Response[str]:
    entries = await app.administration.own_history(actor_of(request), LINES_SHOWN + 1, row_id(before))
    lines, earlier = _paged(log_lines(entries, own=True), LINES_SHOWN)
    return await page(
        app,
        request,
        "account_history.html.j2",
        lines=lines,
        earlier=None if earlier is None else earlier.id,
        paged=bool(before),
    )


@post("/account/support-access", page="/account", status_code=303)
async def allow_support(app: TheApp, request: AnyRequest, data: SupportBody) -> Redirect:
    await app.administration.allow_support(actor_of(request), row_id(data.hours) or 0)
    return Redirect("/account#support", status_code=303)


@post("/account/support-access/end", page="/account", status_code=303)
async def end_support(app: TheApp, request: AnyRequest) -> Redirect:
    await app.administration.end_support(actor_of(request))
    return Redirect("/account#support", status_code=303)


# Administrators'


@get("/admin")
async def people(
    app: TheApp,
    request: AnyRequest,
    q: FromQuery[str] = "",
    list: FromQuery[str] = "",  # noqa: A002 - the query's name
    before: FromQuery[str] = "",
) -> Response[str]:
    chosen = _list(list)
    last = row_id(before)
    if chosen is None:
        search = read_search(q[:254], PEOPLE_SHOWN + 1, last)
    else:
        search = Search(PEOPLE_SHOWN + 1, list=chosen, before=last)
    found = await app.administration.find(admin_of(request), search)
    shown, earlier = _paged(found, PEOPLE_SHOWN)
    return await page(
        app,
        request,
        "admin/people.html.j2",
        people=shown,
        earlier=None if earlier is None else earlier.id,
        paged=last is not None,
        q=q,
        list=search.list or "",
    )


@get("/admin/acts")
async def acts(
    app: TheApp,
    request: AnyRequest,
    who: FromQuery[str] = "",
    action: FromQuery[str] = ADMINISTRATORS,
    since: FromQuery[str] = "",
    until: FromQuery[str] = "",
    before: FromQuery[str] = "",
) -> Response[str]:
    """What is on record: what administrators did unless something else is chosen. Days are those of UTC."""
    last = _day(until)
    wanted = Filter(
        LINES_SHOWN + 1,
        user_id=row_id(who),
        action=action[:255] or None,
        since=_day(since),
        until=None if last is None else last + timedelta(days=1),
        before=row_id(before),
    )
    found: list[Entry] = []
    flashes: list[Flash] = []
    try:
        if who and wanted.user_id is None:  # nobody, which is not everybody
            raise person_not_found()
        found = await app.administration.log(admin_of(request), wanted)
    except NotFound as error:
        flashes = [Flash("bad", error.detail)]
    lines, earlier = _paged(log_lines(found), LINES_SHOWN)
    chosen = {"who": who, "action": action, "since": since, "until": until}
    return await page(
        app,
        request,
        "admin/acts.html.j2",
        flashes=flashes,
        lines=lines,
        earlier=None if earlier is None else earlier.id,
        paged=bool(before),
        chosen=chosen,
        query=urlencode({name: text for name, text in chosen.items() if text or name == "action"}),
        actions=[("", "Everything"), (ADMINISTRATORS, "What administrators did and saw"), *action_labels()],
    )


@get("/admin/users/{user_id:int}")
async def person(
    app: TheApp,
    request: AnyRequest,
    user_id: RowId,
    before: FromQuery[str] = "",
    done: FromQuery[str] = "",
) -> Response[str]:
    said = [Flash("good", _DONE[done])] if done in _DONE else []
    return await _person(app, request, user_id, before=before, flashes=said)


@get("/admin/users/{user_id:int}/content")
async def content(
    app: TheApp, request: AnyRequest, user_id: RowId, before: FromQuery[str] = ""
) -> Response[str]:
    admin = admin_of(request)
    found = await app.administration.content(admin, user_id, CONTENT_SHOWN + 1, row_id(before))
    record = await app.administration.look(admin, user_id)
    shown, earlier = _paged(found, CONTENT_SHOWN)
    return await page(
        app,
        request,
        "admin/content.html.j2",
        person=record,
        content=[await _content_view(app, one) for one in shown],
        earlier=None if earlier is None else earlier.id,
        paged=bool(before),
    )


@post("/admin/users/{user_id:int}/plan", page="/admin", status_code=303)
async def set_plan(
    app: TheApp, request: AnyRequest, user_id: RowId, data: ActBody
) -> Response[str] | Redirect:
    async def act(admin: AdminActor) -> None:
        reason = chosen_reason(data.reason, GIFTS)
        await app.administration.order_plan(admin, user_id, data.plan, reason)

    return await _acted(app, request, user_id, act, "plan")


@post("/admin/users/{user_id:int}/suspend", page="/admin", status_code=303)
async def suspend(
    app: TheApp, request: AnyRequest, user_id: RowId, data: ActBody
) -> Response[str] | Redirect:
    async def act(admin: AdminActor) -> None:
        await app.administration.suspend(admin, user_id, chosen_reason(data.reason, SUSPENSIONS))

    return await _acted(app, request, user_id, act, "suspended")


@post("/admin/users/{user_id:int}/unsuspend", page="/admin", status_code=303)
async def unsuspend(
    app: TheApp, request: AnyRequest, user_id: RowId, data: ActBody
) -> Response[str] | Redirect:
    async def act(admin: AdminActor) -> None:
        await app.administration.unsuspend(admin, user_id, chosen_reason(data.reason, RETURNS))

    return await _acted(app, request, user_id, act, "unsuspended")


@post("/admin/users/{user_id:int}/end-sessions", page="/admin", status_code=303)
async def end_sessions(
    app: TheApp, request: AnyRequest, user_id: RowId, data: ActBody
) -> Response[str] | Redirect:
    async def act(admin: AdminActor) -> None:
        await app.administration.end_sessions(admin, user_id, chosen_reason(data.reason, ENDINGS))

    return await _acted(app, request, user_id, act, "sessions")


@post("/admin/users/{user_id:int}/erase", page="/admin", status_code=303)
async def erase(app: TheApp, request: AnyRequest, user_id: RowId, data: ActBody) -> Response[str] | Redirect:
    async def act(admin: AdminActor) -> None:
        await app.privacy.order(admin, user_id, chosen_reason(data.reason, ERASURES))

    return await _acted(app, request, user_id, act, "erased")


async def _acted(
    app: App, request: AnyRequest, user_id: int, act: Callable[[AdminActor], Awaitable[None]], done: str
) -> Response[str] | Redirect:
    """To the person's page, which says what was done or why it was not."""
    try:
        await act(admin_of(request))
    except VisionaError as error:
        answer = await _person(app, request, user_id, flashes=[Flash("bad", error.detail)])
        return as_refused(request, error, answer)
    if user_id == caller_of(request).user_id and done == "sessions":
        return Redirect("/login?next=/admin", status_code=303)
    return Redirect(f"/admin/users/{user_id}?done={done}", status_code=303)


async def _person(
    app: App, request: AnyRequest, user_id: int, *, before: str = "", flashes: Sequence[Flash] = ()
) -> Response[str]:
    admin, catalogue = admin_of(request), app.billing.catalogue
    record = await app.administration.look(admin, user_id)
    entries = await app.administration.history(admin, user_id, LINES_SHOWN + 1, row_id(before))
    lines, earlier = _paged(log_lines(entries), LINES_SHOWN)
    return await page(
        app,
        request,
        "admin/person.html.j2",
        person=record,
        flashes=flashes,
        lines=lines,
        earlier=None if earlier is None else earlier.id,
        paged=bool(before),
        acts=acts_on(record, caller_of(request)),
        erasure=next(iter(await app.privacy.running(admin, 1, user_id)), None),
        grace_days=app.settings.erasure_grace_days,
        **standing_of(record, app.administration.entitlement(record), catalogue, app.clock.now()),
    )


def standing_of(
    record: PersonRecord, entitled: Entitlement, catalogue: Catalogue, now: datetime
) -> dict[str, Any]:
    """What the page says of a person's plan."""
    ledger = [row.entry_of_ledger() for row in record.ledger]
    return {
        "entitled": entitled,
        "source": _SOURCES[entitled.source],
        "meters": {
            "images": {"used": entitled.images.used, "limit": entitled.images.limit},
            "clones": {"used": entitled.clones.used, "limit": entitled.clones.limit},
        },
        "ledger": history(ledger, catalogue, now, LEDGER_SHOWN),
        "plan_names": [(plan.name, plan.title) for plan in catalogue],
        "given": catalogue.find(record.given_plan or catalogue.base).name,
    }


def acts_on(record: PersonRecord, caller: Caller) -> dict[str, Any]:
    """What this administrator may do to this person now, and the reasons to choose from."""
    return {
        "fresh": caller.fresh,
        "suspendable": record.role != "admin" and record.id != caller.user_id and record.status != "deleted",
        "gifts": _labelled(GIFTS),
        "endings": _labelled(ENDINGS),
        "erasures": _labelled(ERASURES),
        "suspensions": _labelled(SUSPENSIONS),
        "returns": _labelled(RETURNS),
    }


def _labelled(reasons: Sequence[Reason]) -> list[tuple[str, str]]:
    return [(reason.value, REASONS[reason].capitalize()) for reason in reasons]


async def support_of(app: App, request: AnyRequest) -> dict[str, Any]:
    """What the account page says of administrators: whether they may see words and pictures."""
    return {
        "until": await app.administration.supported_until(actor_of(request)),
        "hours": SUPPORT_HOURS,
        "administrator": caller_of(request).role == "admin",
    }


async def _content_view(app: App, one: Content) -> dict[str, Any]:
    return {
        "id": one.id,
        "state": one.state,
        "error_code": one.error_code,
        "prompt": one.prompt,
        "enhanced_prompt": one.enhanced_prompt,
        "created_at": one.created_at,
        "images": [
            {
                "image_url": await app.objects.link(image.image_key),
                "thumbnail_url": await app.objects.link(image.thumbnail_key),
                "width": image.width,
                "height": image.height,
            }
            for image in one.images
        ],
    }


def _paged(found: Sequence[_T], shown: int) -> tuple[Sequence[_T], _T | None]:
    """What is shown of one more than that, and the last of it where there are more."""
    return found[:shown], found[shown - 1] if len(found) > shown else None


def _list(name: str) -> PeopleList | None:
    return next((known for known in LISTS if known == name), None)


def _day(text: str) -> datetime | None:
    """The first moment of a day such as 2026-11-23; none where there is no such day."""
    try:
        return datetime.combine(date.fromisoformat(text), time.min, UTC)
    except ValueError:
        return None


HANDLERS: list[BaseRouteHandler] = [
    own_history,
    allow_support,
    end_support,
    people,
    acts,
    person,
    content,
    set_plan,
    suspend,
    unsuspend,
    end_sessions,
    erase,
]
