"""Reporting an image, by anybody; and what administrators do about it."""

from datetime import datetime
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, JSONBody

from visiona.bootstrap import App
from visiona.core.clock import rfc3339
from visiona.entrypoints.api.admin import admin_of
from visiona.entrypoints.api.parameters import RowId
from visiona.entrypoints.api.security import TheApp
from visiona.safety.model import (
    CaseNumber,
    Refusals,
    Report,
    ReportedImage,
    read_reason,
    read_reported,
)

AnyRequest = Request[Any, Any, Any]

REPORTS_SHOWN = 100


class ReportBody(msgspec.Struct, forbid_unknown_fields=True):
    """`image` is its link, or the SHA-256 of the downloaded file; `reason` is one of `minor`, `nudity`,
    `not_consented`, `harassment` and `other`.
    """

    image: str
    reason: str


class CaseView(msgspec.Struct):
    """`state` is `open`, `dismissed`, `taken_down`, or `gone` where the image was deleted before."""

    case: str
    state: str
    created_at: str
    due_at: str
    decided_at: str | None


class ReportView(msgspec.Struct):
    id: int
    user_id: int | None
    image_id: int | None
    reason: str
    state: str
    created_at: str
    due_at: str
    decided_at: str | None


class RefusalView(msgspec.Struct):
    """How often somebody's prompts were refused in 30 days, by rule."""

    user_id: int
    times: int
    rules: dict[str, int]
    last_day: str


class ReportsView(msgspec.Struct):
    """Those that wait, the oldest first; then those that were decided last."""

    waiting: list[ReportView]
    decided: list[ReportView]
    refusals: list[RefusalView]


class ReportedImageView(msgspec.Struct):
    """The image of the report and nothing beside it; `others` counts further open reports of it."""

    id: int
    user_id: int
    image_id: int
    reason: str
    created_at: str
    due_at: str
    image_url: str
    thumbnail_url: str
    width: int
    height: int
    made_at: str
    others: int


@post("/api/reports", status_code=201)
async def report(app: TheApp, data: JSONBody[ReportBody]) -> CaseView:
    """Say that an image must not be there. Nothing is kept of who says so: keep the case number."""
    number = await app.safety.reports.report(read_reported(data.image), read_reason(data.reason))
    return await case_view(app, number)


@get("/api/reports/{case:str}")
async def case(app: TheApp, case: FromPath[str]) -> CaseView:
    return await case_view(app, CaseNumber.read(case))


@get("/api/admin/reports")
async def list_reports(app: TheApp, request: AnyRequest) -> ReportsView:
    admin = admin_of(request)
    return ReportsView(
        waiting=[_report(one) for one in await app.safety.reports.waiting(admin, REPORTS_SHOWN)],
        decided=[_report(one) for one in await app.safety.reports.decided(admin, REPORTS_SHOWN)],
        refusals=[_refusal(one) for one in await app.safety.prompts.refusals(admin)],
    )


@get("/api/admin/reports/{report_id:int}")
async def look(app: TheApp, request: AnyRequest, report_id: RowId) -> ReportedImageView:
    """The look is in the history of whose image it is."""
    return await reported_view(app, await app.safety.reports.look(admin_of(request), report_id))


@post("/api/admin/reports/{report_id:int}/dismiss", status_code=204)
async def dismiss(app: TheApp, request: AnyRequest, report_id: RowId) -> None:
    await app.safety.reports.dismiss(admin_of(request), report_id)


@post("/api/admin/reports/{report_id:int}/take-down", status_code=204)
async def take_down(app: TheApp, request: AnyRequest, report_id: RowId) -> None:
    """The image and its thumbnail are deleted, and its owner is told."""
    await app.safety.reports.take_down(admin_of(request), report_id)


async def case_view(app: App, number: CaseNumber) -> CaseView:
    found = await app.safety.reports.state(number)
    return CaseView(
        case=number.text,
        state=found.state,
        created_at=rfc3339(found.created_at),
        due_at=rfc3339(found.due_at),
        decided_at=_moment(found.decided_at),
    )


async def reported_view(app: App, found: ReportedImage) -> ReportedImageView:
    return ReportedImageView(
        id=found.id,
        user_id=found.user_id,
        image_id=found.image_id,
        reason=found.reason,
        created_at=rfc3339(found.created_at),
        due_at=rfc3339(found.due_at),
        image_url=await app.objects.link(found.image_key),
        thumbnail_url=await app.objects.link(found.thumbnail_key),
        width=found.width,
        height=found.height,
        made_at=rfc3339(found.made_at),
        others=found.others,
    )


def _report(one: Report) -> ReportView:
    return ReportView(
        id=one.id,
        user_id=one.user_id,
        image_id=one.image_id,
        reason=one.reason,
        state=one.state,
        created_at=rfc3339(one.created_at),
        due_at=rfc3339(one.due_at),
        decided_at=_moment(one.decided_at),
    )


def _refusal(one: Refusals) -> RefusalView:
    return RefusalView(one.user_id, one.times, dict(one.rules), one.last_day.isoformat())


def _moment(value: datetime | None) -> str | None:
    return None if value is None else rfc3339(value)


HANDLERS = [report, case, list_reports, look, dismiss, take_down]
