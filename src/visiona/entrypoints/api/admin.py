"""Administration, and what a person says about it: who may see their words and pictures, and who looked."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from visiona.administration.model import (
    ENDINGS,
    GIFTS,
    RETURNS,
    SUSPENSIONS,
    PeopleList,
    PersonLine,
    PersonRecord,
    Reason,
    Search,
    chosen_reason,
    read_search,
)
from visiona.audit.model import Entry, Filter
from visiona.core.clock import rfc3339
from visiona.db.actor import AdminActor
from visiona.entrypoints.api.parameters import Cursor, Limit, RowId
from visiona.entrypoints.api.security import TheApp, actor_of, caller_of
from visiona.entrypoints.api.views import QuotaView, UseView, next_cursor

AnyRequest = Request[Any, Any, Any]

SearchText = Annotated[
    str, QueryParameter(max_length=254, description="An id, a subject, or a whole address.")
]


OfUser = Annotated[int | None, QueryParameter(ge=1, le=2**63 - 1, description="Of this person only.")]
OfAction = Annotated[
    str,
    QueryParameter(
        max_length=255, description="`admin.` is all that administrators do; nothing is everything."
    ),
]


class SupportBody(msgspec.Struct, forbid_unknown_fields=True):
    """`hours` from 1 to 72."""

    hours: int


class SupportView(msgspec.Struct):
    """Until when administrators may see prompts and pictures; null where they may not."""

    expires_at: str | None


class WhereView(msgspec.Struct):
    address: str
    client: str


class EntryView(msgspec.Struct):
    """`actor_kind` is `person`, `key`, `admin`, `system` or `visitor`, and `actor_id` the number of the API
    key or administrator or the part of Visiona; without `object_kind` it was done to the account itself.
    """

    id: int
    action: str
    details: Mapping[str, Any]
    created_at: str
    actor_kind: str | None
    actor_id: str | None
    object_kind: str | None
    object_id: str | None
    request_id: str | None
    where: WhereView | None


class EntryPage(msgspec.Struct):
    items: list[EntryView]
    next_cursor: str | None


class PersonLineView(msgspec.Struct):
    id: int
    email: str
    email_verified: bool
    status: str
    barred: bool
    role: str
    created_at: str


class PeoplePage(msgspec.Struct):
    items: list[PersonLineView]
    next_cursor: str | None


class PersonView(msgspec.Struct):
    """`source` says where the plan comes from: a subscription, a gift, or that everybody has it."""

    person: PersonRecord
    plan: str
    source: str
    quota: QuotaView


class ActView(EntryView):
    """`user_id` is whose log it is in; null once they are gone."""

    user_id: int | None


class ActPage(msgspec.Struct):
    items: list[ActView]
    next_cursor: str | None


class ReasonBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: Reason


class PlanBody(msgspec.Struct, forbid_unknown_fields=True):
    plan: Annotated[str, msgspec.Meta(max_length=40)]
    reason: Reason


def admin_of(request: AnyRequest) -> AdminActor:
    """Of routes that want the role; the database asks for it again."""
    caller = caller_of(request)
    return AdminActor(caller.user_id, caller.subject)


# The person's own


@get("/api/account/support-access")
async def get_support_access(app: TheApp, request: AnyRequest) -> SupportView:
    until = await app.administration.supported_until(actor_of(request))
    return SupportView(None if until is None else rfc3339(until))


@post("/api/account/support-access", status_code=200)
async def allow_support_access(app: TheApp, request: AnyRequest, data: JSONBody[SupportBody]) -> SupportView:
    """Let administrators see your prompts and pictures for some hours; each look is in your history."""
    until = await app.administration.allow_support(actor_of(request), data.hours)
    return SupportView(rfc3339(until))


@delete("/api/account/support-access", status_code=204)
async def end_support_access(app: TheApp, request: AnyRequest) -> None:
    await app.administration.end_support(actor_of(request))


@get("/api/account/history")
async def own_history(
    app: TheApp, request: AnyRequest, limit: Limit = 20, cursor: Cursor = None
) -> EntryPage:
    """What happened to your account, newest first; what administrators did and saw is among it."""
    entries = await app.administration.own_history(actor_of(request), limit, cursor)
    return EntryPage([_entry(entry) for entry in entries], next_cursor([one.id for one in entries], limit))


# Administrators'


@get("/api/admin/users")
async def find_people(
    app: TheApp,
    request: AnyRequest,
    q: SearchText = "",
    list: FromQuery[PeopleList | None] = None,  # noqa: A002 - the query's name
    limit: Limit = 20,
    cursor: Cursor = None,
) -> PeoplePage:
    """Newest first: those of a list, or those whom `q` names."""
    search = read_search(q, limit, cursor) if list is None else Search(limit, list=list, before=cursor)
    people = await app.administration.find(admin_of(request), search)
    return PeoplePage([_line(one) for one in people], next_cursor([one.id for one in people], limit))


@get("/api/admin/users/{user_id:int}")
async def get_person(app: TheApp, request: AnyRequest, user_id: RowId) -> PersonView:
    """What is known of a person. The look is in their history."""
    record = await app.administration.look(admin_of(request), user_id)
    entitled = app.administration.entitlement(record)
    return PersonView(
        person=record,
        plan=entitled.plan.name,
        source=entitled.source,
        quota=QuotaView(
            UseView(entitled.images.used, entitled.images.limit),
            UseView(entitled.clones.used, entitled.clones.limit),
            rfc3339(entitled.period.end),
        ),
    )


@get("/api/admin/acts")
async def list_acts(
    app: TheApp,
    request: AnyRequest,
    user_id: OfUser = None,
    action: OfAction = "admin.",
    since: FromQuery[datetime | None] = None,
    until: FromQuery[datetime | None] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> ActPage:
    """What is on record, newest first: what administrators did and whom they looked at unless something
    else is chosen. The look is on record, too.
    """
    wanted = Filter(limit, user_id, action or None, since, until, cursor)
    found = await app.administration.log(admin_of(request), wanted)
    return ActPage([_act(one) for one in found], next_cursor([one.id for one in found], limit))


@post("/api/admin/users/{user_id:int}/plan", status_code=202)
async def set_plan(app: TheApp, request: AnyRequest, user_id: RowId, data: JSONBody[PlanBody]) -> None:
    """Put a person on a plan without payment; the plan that everybody has takes it back."""
    reason = chosen_reason(data.reason, GIFTS)
    await app.administration.order_plan(admin_of(request), user_id, data.plan, reason)


@post("/api/admin/users/{user_id:int}/suspend", status_code=204)
async def suspend(app: TheApp, request: AnyRequest, user_id: RowId, data: JSONBody[ReasonBody]) -> None:
    """Sessions end, API keys open nothing, open work is given up, and nothing new begins."""
    reason = chosen_reason(data.reason, SUSPENSIONS)
    await app.administration.suspend(admin_of(request), user_id, reason)


@post("/api/admin/users/{user_id:int}/unsuspend", status_code=204)
async def unsuspend(app: TheApp, request: AnyRequest, user_id: RowId, data: JSONBody[ReasonBody]) -> None:
    reason = chosen_reason(data.reason, RETURNS)
    await app.administration.unsuspend(admin_of(request), user_id, reason)


@post("/api/admin/users/{user_id:int}/end-sessions", status_code=204)
async def end_sessions(app: TheApp, request: AnyRequest, user_id: RowId, data: JSONBody[ReasonBody]) -> None:
    reason = chosen_reason(data.reason, ENDINGS)
    await app.administration.end_sessions(admin_of(request), user_id, reason)


def _entry(entry: Entry) -> EntryView:
    return EntryView(**_facts(entry))


def _act(entry: Entry) -> ActView:
    return ActView(**_facts(entry), user_id=entry.user_id)


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "action": entry.action,
        "details": entry.details or {},
        "created_at": rfc3339(entry.created_at),
        "actor_kind": entry.actor_kind,
        "actor_id": entry.actor_id,
        "object_kind": entry.object_kind,
        "object_id": entry.object_id,
        "request_id": entry.request_id,
        "where": None if entry.where is None else WhereView(entry.where.address, entry.where.client),
    }


def _line(person: PersonLine) -> PersonLineView:
    return PersonLineView(
        id=person.id,
        email=person.email,
        email_verified=person.verified,
        status=person.status,
        barred=person.barred,
        role=person.role,
        created_at=rfc3339(person.created_at),
    )


HANDLERS = [
    get_support_access,
    allow_support_access,
    end_support_access,
    own_history,
    find_people,
    get_person,
    list_acts,
    set_plan,
    suspend,
    unsuspend,
    end_sessions,
]
