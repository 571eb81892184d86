"""The inbox in a browser: everybody's mails, newest first, and each as its reader sees it."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Request, Response, get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath, FromQuery

from visiona.sandbox.mail.cleaning import clean
from visiona.sandbox.mail.desk import TheDesk
from visiona.sandbox.mail.letters import Letter, split_links

_ROOT: Final = Path(__file__).parent
_MEDIA_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# What a mail brings along runs nothing, loads nothing, and is of no origin; its links open elsewhere.
_MAIL_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)

View = Literal["html", "text", "source"]


@get("/", sync_to_thread=False)
def show_inbox(desk: TheDesk, to: FromQuery[str] = "") -> Response[str]:
    """All mails, or those to an address that contains `to`."""
    return _page("inbox.html.j2", letters=desk.mailbox.search(to), to=to, total=len(desk.mailbox))


@get("/mails/{number:int}", sync_to_thread=False)
def show_mail(desk: TheDesk, number: FromPath[int], view: FromQuery[View] = "html") -> Response[str]:
    letter = _letter(desk, number)
    shown: View = "text" if view == "html" and not letter.html else view
    return _page("mail.html.j2", letter=letter, view=shown, pieces=split_links(letter.text))


@get("/mails/{number:int}/html", sync_to_thread=False)
def show_mail_html(desk: TheDesk, number: FromPath[int]) -> Response[str]:
    """The mail's own page, for the frame in ours."""
    return _html(clean(_letter(desk, number).html), _MAIL_POLICY)


@get("/inbox/{version:str}/{name:str}", sync_to_thread=False)
def serve_static(version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    files = _static_files()
    if name not in files or version != _static_version():
        raise NotFoundException
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(files[name], media_type=_MEDIA_TYPES[Path(name).suffix], headers=headers)


HANDLERS: Final = [show_inbox, show_mail, show_mail_html, serve_static]


def answer_http_error(_: Request[Any, Any, Any], error: HTTPException) -> Response[str]:
    """An address that leads nowhere, as a page."""
    return _page("missing.html.j2", status=error.status_code)


def _letter(desk: TheDesk, number: int) -> Letter:
    letter = desk.mailbox.find(number)
    if letter is None:
        raise NotFoundException
    return letter


def _page(template: str, *, status: int = 200, **context: Any) -> Response[str]:
    return _html(_environment().get_template(template).render(**context), _PAGE_POLICY, status)


def _html(html: str, policy: str, status: int = 200) -> Response[str]:
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        # Addresses of mails lead to one-time links: nobody else learns them.
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(html, status_code=status, media_type=MediaType.HTML, headers=headers)


def _static_url(name: str) -> str:
    if name not in _static_files():
        raise LookupError(f"no static file {name!r}")
    return f"/inbox/{_static_version()}/{name}"


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
    return environment
