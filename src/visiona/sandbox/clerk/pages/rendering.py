"""Renders the hosted pages: Jinja, static files under a hash of their contents, and each page's headers."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect

from visiona.sandbox.clerk.pages.wording import describe_session, format_date
from visiona.sandbox.clerk.redirects import origin_of

_ROOT: Final = Path(__file__).parent
_MEDIA_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_STATIC_CACHE: Final = "public, max-age=31536000, immutable"

Page = Response[str]


def show(template: str, *, status: int = 200, leads_to: str | None = None, **context: Any) -> Page:
    """A page as HTML.

    `leads_to` is the address that a form on the page may end at: browsers hold a form's redirects to the
    policy too.
    """
    html = _environment().get_template(template).render(**context)
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": _policy(leads_to),
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(html, status_code=status, media_type=MediaType.HTML, headers=headers)


def see_other(url: str, *, cookie: str | None = None) -> Redirect:
    headers = {"Cache-Control": "no-store"}
    if cookie is not None:
        headers["Set-Cookie"] = cookie
    return Redirect(url, status_code=303, headers=headers)


@get("/portal/{version:str}/{name:str}", sync_to_thread=False)
def serve_static(version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    files = _static_files()
    if name not in files or version != _static_version():
        raise NotFoundException
    headers = {"Cache-Control": _STATIC_CACHE, "X-Content-Type-Options": "nosniff"}
    return Response(files[name], media_type=_MEDIA_TYPES[Path(name).suffix], headers=headers)


@get("/avatar.svg", sync_to_thread=False)
def serve_avatar() -> Response[bytes]:
    """Everybody's picture."""
    return Response(_static_files()["avatar.svg"], media_type=_MEDIA_TYPES[".svg"])


def _static_url(name: str) -> str:
    if name not in _static_files():
        raise LookupError(f"no static file {name!r}")
    return f"/portal/{_static_version()}/{name}"


def _policy(leads_to: str | None) -> str:
    targets = "'self'" if leads_to is None else f"'self' {origin_of(leads_to)}"
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action {targets}"
    )


@cache
def _static_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((_ROOT / "static").iterdir())}


@cache
def _static_version() -> str:
    digest = hashlib.sha256()
    for name, content in _static_files().items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_ROOT / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    template_globals: dict[str, Any] = {"static": _static_url}
    environment.globals.update(template_globals)
    template_filters: dict[str, Any] = {"date": format_date, "device": describe_session}
    environment.filters.update(template_filters)
    return environment
