"""The page on which anybody reports an image, and the administrators' pages about reports."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Final

from litestar import Response, get, post
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, FromQuery
from litestar.response import Redirect

from visiona.administration.model import SUSPENSIONS
from visiona.bootstrap import App
from visiona.core.errors import VisionaError
from visiona.entrypoints.api.admin import admin_of
from visiona.entrypoints.api.parameters import RowId
from visiona.entrypoints.api.reports import REPORTS_SHOWN, CaseView, case_view, reported_view
from visiona.entrypoints.api.security import TheApp, caller_of
from visiona.entrypoints.web.audit_words import REASONS
from visiona.entrypoints.web.rendering import Flash
from visiona.entrypoints.web.responses import AnyRequest, as_refused, page
from visiona.safety.model import (
    CaseNumber,
    ReportedThing,
    ReportReason,
    Rule,
    read_reason,
    read_reported,
)

MAX_FILE_BYTES: Final = 40 * 1024 * 1024
_CHUNK: Final = 1024 * 1024

REASON_WORDS: Final = {
    ReportReason.NOT_CONSENTED: "It shows me, or somebody who did not agree to it",
    ReportReason.MINOR: "It shows a child, or somebody who looks like one",
    ReportReason.NUDITY: "It shows somebody naked, or is sexual",
    ReportReason.HARASSMENT: "It is meant to hurt, threaten or deceive",
    ReportReason.OTHER: "Something else",
}
RULE_WORDS: Final = {
    Rule.MINORS: "minors",
    Rule.NUDITY: "nudity",
    Rule.OTHER_PERSON: "other people",
    Rule.VIOLENCE: "violence",
    Rule.HATE: "hate",
    Rule.SELF_HARM: "self-harm",
    Rule.ILLICIT: "crime",
}
_DONE: Final = {
    "dismissed": "The report is closed; the image stays.",
    "taken_down": "The image is deleted. Its copies go within seconds, and its owner is told by mail.",
}


@dataclass(slots=True)
class ReportForm:
    link: str = ""
    reason: str = ""
    image: UploadFile | None = None


ReportFormBody = Annotated[ReportForm, Body(media_type=RequestEncodingType.MULTI_PART)]


@get("/report")
async def report_page(app: TheApp, request: AnyRequest) -> Response[str]:
    return await _report_page(app, request)


@post("/report", status_code=200, request_max_body_size=MAX_FILE_BYTES)
async def report(app: TheApp, request: AnyRequest, data: ReportFormBody) -> Response[str]:
    try:
        number = await app.safety.reports.report(await _reported(data), read_reason(data.reason))
    except VisionaError as error:
        answer = await _report_page(app, request, error=error, link=data.link, reason=data.reason)
        return as_refused(request, error, answer)
    return await _case_page(app, request, number, fresh=True)


@get("/report/case")
async def case(app: TheApp, request: AnyRequest, number: FromQuery[str] = "") -> Response[str]:
    try:
        return await _case_page(app, request, CaseNumber.read(number[:100]))
    except VisionaError as error:
        return as_refused(request, error, await _report_page(app, request, case_error=error.detail))


async def _reported(form: ReportForm) -> ReportedThing:
    """The file where there is one, the link otherwise. Only what the file hashes to is looked at."""
    if form.image is None or not form.image.filename:
        return read_reported(form.link)
    digest = hashlib.sha256()
    while chunk := await form.image.read(_CHUNK):
        digest.update(chunk)
    return ReportedThing(digest=digest.hexdigest())


async def _report_page(app: App, request: AnyRequest, **said: Any) -> Response[str]:
    error: VisionaError | None = said.get("error")
    return await page(
        app,
        request,
        "report.html.j2",
        reasons=[(reason.value, words) for reason, words in REASON_WORDS.items()],
        detail=None if error is None else error.detail,
        errors=[] if error is None else error.errors,
        link=said.get("link", ""),
        reason=said.get("reason", ""),
        case_error=said.get("case_error"),
        max_mb=MAX_FILE_BYTES // (1024 * 1024),
    )


async def _case_page(
    app: App, request: AnyRequest, number: CaseNumber, *, fresh: bool = False
) -> Response[str]:
    found: CaseView = await case_view(app, number)
    return await page(app, request, "report_case.html.j2", case=found, fresh=fresh)


# Administrators'


@get("/admin/reports")
async def reports(app: TheApp, request: AnyRequest, done: FromQuery[str] = "") -> Response[str]:
    admin = admin_of(request)
    return await page(
        app,
        request,
        "admin/reports.html.j2",
        waiting=await app.safety.reports.waiting(admin, REPORTS_SHOWN),
        decided=await app.safety.reports.decided(admin, REPORTS_SHOWN),
        refusals=await app.safety.prompts.refusals(admin),
        now=app.clock.now(),
        reason_words=REASON_WORDS,
        rule_words=RULE_WORDS,
        flashes=[Flash("good", _DONE[done])] if done in _DONE else [],
    )


@get("/admin/reports/{report_id:int}")
async def reported(app: TheApp, request: AnyRequest, report_id: RowId) -> Response[str]:
    found = await app.safety.reports.look(admin_of(request), report_id)
    return await page(
        app,
        request,
        "admin/report.html.j2",
        report=await reported_view(app, found),
        late=app.clock.now() > found.due_at,
        reason_words=REASON_WORDS,
        suspensions=[(reason.value, REASONS[reason].capitalize()) for reason in SUSPENSIONS],
        fresh=caller_of(request).fresh,
    )


@post("/admin/reports/{report_id:int}/dismiss", page="/admin/reports", status_code=303)
async def dismiss(app: TheApp, request: AnyRequest, report_id: RowId) -> Redirect:
    await app.safety.reports.dismiss(admin_of(request), report_id)
    return Redirect("/admin/reports?done=dismissed", status_code=303)


@post("/admin/reports/{report_id:int}/take-down", page="/admin/reports", status_code=303)
async def take_down(app: TheApp, request: AnyRequest, report_id: RowId) -> Redirect:
    await app.safety.reports.take_down(admin_of(request), report_id)
    return Redirect("/admin/reports?done=taken_down", status_code=303)


HANDLERS: list[BaseRouteHandler] = [report_page, report, case, reports, reported, dismiss, take_down]
