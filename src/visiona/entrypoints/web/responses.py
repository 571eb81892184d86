"""Answers that are pages: with what all of them show of whoever is signed in, and failures as pages too."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException, ValidationException

from visiona.bootstrap import App
from visiona.core.errors import NotFound, VisionaError
from visiona.entrypoints.api import problems
from visiona.entrypoints.api.origins import request_id_of
from visiona.entrypoints.api.security import actor_for, visitor_of
from visiona.entrypoints.api.views import me_view
from visiona.entrypoints.web.offers import with_a_way_up
from visiona.entrypoints.web.rendering import Pages
from visiona.ports.storage import ObjectMissing
from visiona.vault.model import Unreadable

AnyRequest = Request[Any, Any, Any]

_LINK_HEADERS: Final = {"Referrer-Policy": "strict-origin", "X-Robots-Tag": "noindex"}
"""For pages whose address holds a secret. With `no-referrer` their own forms would come from the origin
`null`, as another site's do.
"""


async def page(
    app: App, request: AnyRequest, template: str, http_status: int = 200, **context: Any
) -> Response[str]:
    """A page; of whoever is signed in it has `user`, `quota`, `plan_title`, `upgradable` (the plans above
    which there is another to buy), `unconfirmed` (whether they have yet to confirm their address) and
    `leaving`: the erasure that is open, or none.
    """
    session = visitor_of(request)
    if session is None:
        return html(request, template, http_status, **context)
    actor = actor_for(session)
    quota = await app.billing.quota(actor)
    user: dict[str, Any] = msgspec.to_builtins(me_view(await app.accounts.me(actor), quota))
    return html(
        request,
        template,
        http_status,
        user=user,
        quota=user["quota"],
        plan_title=quota.plan.title,
        upgradable=with_a_way_up(app.billing.catalogue) if app.payments.enabled else [],
        unconfirmed=not (user["email_verified"] or app.settings.hosted_identity),
        leaving=await app.privacy.pending(actor),
        **context,
    )


def html(
    request: AnyRequest,
    template: str,
    http_status: int = 200,
    user: Mapping[str, Any] | None = None,
    **context: Any,
) -> Response[str]:
    rendered = _pages(request).render(template, path=request.scope["path"], user=user, **context)
    return Response(
        rendered, status_code=http_status, media_type="text/html", headers={"Cache-Control": "no-store"}
    )


def linked(answer: Response[str]) -> Response[str]:
    """This page, whose address is the permission to see it: other sites are told the origin alone, and
    nothing that crawls keeps it.
    """
    answer.headers.update(_LINK_HEADERS)
    return answer


def as_refused(request: AnyRequest, error: VisionaError, answer: Response[str]) -> Response[str]:
    """The page with the status of this refusal, and when to try again."""
    refusal = problems.on_visiona_error(request, error)
    answer.status_code = refusal.status_code or 422
    retry_after = refusal.headers.get("Retry-After")
    if retry_after is not None:
        answer.headers["Retry-After"] = retry_after
    return answer


def on_page_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """Any failure of a page, as a page. What is no address to whoever asks is answered as others are not."""
    if isinstance(error, NotFound) and error.code == "not_found":
        return on_unrouted(request, NotFoundException())
    if isinstance(error, VisionaError):
        status, detail = problems.on_visiona_error(request, error).status_code or 500, error.detail
    elif isinstance(error, ValidationException):
        status = problems.on_validation_error(request, error).status_code or 422
        detail = "There is nothing at this address." if status == 404 else "This request cannot be answered."
    elif isinstance(error, HTTPException):
        status = error.status_code
        detail = "There is nothing at this address." if status == 404 else "This request cannot be answered."
    elif isinstance(error, Unreadable):
        status = problems.on_unreadable_object(request, error).status_code or 500
        detail = "This picture was damaged where it is kept, and is not shown."
    else:
        status = problems.on_unexpected(request, error).status_code or 500
        detail = "Something went wrong on our side. Try again in a moment."
    answer = html(
        request,
        "error.html.j2",
        status,
        status=status,
        title=HTTPStatus(status).phrase,
        detail=detail,
        request_id=request_id_of(request.scope) if status >= 500 else None,
    )
    return as_refused(request, error, answer) if isinstance(error, VisionaError) else answer


def on_unrouted(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """An address that no route has: a page for a browser, a problem document for a program."""
    if reads_pages(request) and not request.scope["path"].startswith("/api/"):
        return on_page_error(request, error)
    return problems.on_http_exception(request, error)


def _on_link_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """Whoever follows an old link in a browser reads what has become of it; programs and `<img>` get the
    problem document.
    """
    if reads_pages(request):
        return on_page_error(request, NotFoundException() if isinstance(error, ObjectMissing) else error)
    return next(problems.HANDLERS[kind] for kind in type(error).__mro__ if kind in problems.HANDLERS)(
        request, error
    )


def reads_pages(request: AnyRequest) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _pages(request: AnyRequest) -> Pages:
    return request.app.state.pages


def safe_path(wanted: str) -> str:
    """A page of ours, never another site: browsers read `//host`, and with a backslash too, as one."""
    own = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if own else "/studio"


PAGE_ERRORS = dict.fromkeys(problems.HANDLERS, on_page_error)
"""Failures as pages, for Litestar."""

LINK_ERRORS = dict.fromkeys(problems.HANDLERS, _on_link_error)
"""Failures of links to objects."""
