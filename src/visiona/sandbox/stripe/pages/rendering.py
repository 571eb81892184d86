"""Renders the hosted pages: Jinja, static files under a hash of their contents, and each page's headers."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect

from visiona.sandbox.stripe.pages.cards import SAMPLES
from visiona.sandbox.stripe.pages.countries import COUNTRIES
from visiona.sandbox.stripe.pages.wording import format_amount, format_date, format_interval

_ROOT: Final = Path(__file__).parent
_MEDIA_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_STATIC_CACHE: Final = "public, max-age=31536000, immutable"

Page = Response[str]


def show(template: str, *, status: int = 200, leads_to: Iterable[str | None] = (), **context: Any) -> Page:
    """A page as HTML.

    `leads_to` are the merchant's addresses that a form on the page may end at: browsers hold a form's
    redirects to the policy too.
    """
    html = _environment().get_template(template).render(**context)
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": _policy(leads_to),
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(html, status_code=status, media_type=MediaType.HTML, headers=headers)


def see_other(url: str) -> Redirect:
    return Redirect(url, status_code=303, headers={"Cache-Control": "no-store"})


@get("/hosted/{version:str}/{name:str}", sync_to_thread=False)
def serve_static(version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    files = _static_files()
    if name not in files or version != _static_version():
        raise NotFoundException
    headers = {"Cache-Control": _STATIC_CACHE, "X-Content-Type-Options": "nosniff"}
    return Response(files[name], media_type=_MEDIA_TYPES[Path(name).suffix], headers=headers)


def _static_url(name: str) -> str:
    if name not in _static_files():
        raise LookupError(f"no static file {name!r}")
    return f"/hosted/{_static_version()}/{name}"


def _policy(leads_to: Iterable[str | None]) -> str:
    parts = [urlsplit(url) for url in leads_to if url]
    origins = dict.fromkeys(f"{part.scheme}://{part.netloc}" for part in parts)
    targets = " ".join(["'self'", *origins])
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
    template_globals: dict[str, Any] = {"static": _static_url, "countries": COUNTRIES, "samples": SAMPLES}
    environment.globals.update(template_globals)
    template_filters: dict[str, Any] = {
        "money": format_amount,
        "interval": format_interval,
        "date": format_date,
    }
    environment.filters.update(template_filters)
    return environment
