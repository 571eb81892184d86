"""Renders the pages: the Jinja environment, addresses of static files, and filters for times and words."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from visiona.core.clock import Clock
from visiona.core.money import format_money
from visiona.entrypoints.web import wording

WEB_ROOT: Final = Path(__file__).parent
TEMPLATE_ROOT: Final = WEB_ROOT / "templates"
STATIC_ROOT: Final = WEB_ROOT / "static"

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_THUMBNAIL_SIDE: Final = 480


class StaticTree:
    """The static files under one version, a hash of all their contents.

    The version is a path segment and not a query, so that modules importing each other by relative
    path stay within it: everything under `mount` may be cached for ever.
    """

    def __init__(self, root: Path = STATIC_ROOT, prefix: str = "/static") -> None:
        self.root = root
        self._files = frozenset(
            path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()
        )
        self.version = _tree_hash(root, sorted(self._files))
        self.mount = f"{prefix}/{self.version}"

    def url(self, path: str) -> str:
        """The address of a file; a name that does not exist fails at rendering, not in the browser."""
        if path not in self._files:
            raise LookupError(f"no static file {path!r}")
        return f"{self.mount}/{path}"


@dataclass(frozen=True, slots=True)
class Flash:
    """A message that is shown once, on the next page."""

    kind: Literal["info", "good", "bad"]
    message: str


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the local sandbox stands in for; the pages say so.

    `identity` is None where Visiona keeps the accounts itself, `mail` where no mail is sent at all.
    `inbox_url` is where simulated mails are read.
    """

    images: bool = False
    prompts: bool = False
    payments: bool = False
    identity: bool | None = None
    mail: bool | None = None
    inbox_url: str | None = None


class Pages:
    """Renders templates by name. What each needs is written at its top; a missing name raises.

    `sells` says whether there is anything to buy on this server.
    """

    def __init__(self, *, static: StaticTree, clock: Clock, sandbox: Simulated, sells: bool) -> None:
        self._clock = clock
        # Caller's values are escaped everywhere: every template is HTML.
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATE_ROOT),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        words = {
            "photo_warnings": wording.PHOTO_WARNINGS,
            "other_photo_warning": wording.OTHER_PHOTO_WARNING,
            "enhancements": wording.ENHANCEMENTS,
            "providers": wording.SANDBOX_PROVIDERS if sandbox.prompts else wording.PROVIDERS,
        }
        template_globals: dict[str, Any] = {
            "static": static.url,
            "sandbox": sandbox,
            "sandbox_note": wording.sandbox_note(
                images=sandbox.images,
                prompts=sandbox.prompts,
                payments=sandbox.payments,
                sells=sells,
                identity=sandbox.identity,
                mail=sandbox.mail,
            ),
            "sells": sells,
            "invoice_words": wording.INVOICES,
            "words": words,
        }
        template_filters: dict[str, Any] = {
            "date": format_date,
            "datetime": format_datetime,
            "relative": self._relative,
            "percent": percent,
            "size": wording.size,
            "number": wording.number,
            "counted": wording.counted,
            "money": money,
            "photo_warning": wording.photo_warning,
            "thumbnail_width": thumbnail_width,
        }
        self._environment.globals.update(template_globals)
        self._environment.filters.update(template_filters)

    def render(
        self,
        template: str,
        *,
        path: str,
        user: Mapping[str, Any] | None = None,
        flashes: Sequence[Flash] = (),
        **context: Any,
    ) -> str:
        """The page as HTML. `path` marks the current place in the navigation; `user` is None for visitors."""
        return self._environment.get_template(template).render(
            path=path, user=user, flashes=flashes, **context
        )

    def _relative(self, value: str | datetime) -> str:
        return relative_time(value, self._clock.now())


def instant(value: str | datetime) -> datetime:
    """A time of the API (RFC 3339) or an aware `datetime`, in UTC."""
    parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    return parsed.astimezone(UTC)


def format_date(value: str | datetime) -> str:
    """`23 November 2026`."""
    moment = instant(value)
    return f"{moment.day} {moment:%B %Y}"


def format_datetime(value: str | datetime) -> str:
    """`23 Nov 2026, 12:00 UTC`."""
    moment = instant(value)
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"


def relative_time(value: str | datetime, now: datetime) -> str:
    """`just now`, `5 minutes ago`, `3 days ago`; a date once it is more than a week away."""
    seconds = (now - instant(value)).total_seconds()
    if seconds < _MINUTE:
        return "just now"
    if seconds < _HOUR:
        return _ago(seconds / _MINUTE, "minute")
    if seconds < _DAY:
        return _ago(seconds / _HOUR, "hour")
    if seconds < 7 * _DAY:
        return _ago(seconds / _DAY, "day")
    return format_date(value)


def percent(share: float) -> str:
    """`42%` for 0.42; never 100 before the end."""
    return f"{int(min(max(share, 0.0), 1.0) * 100)}%"


def money(amount: Decimal | str, currency: str) -> str:
    """`$1,290.00`, of an amount in the currency's own units."""
    return format_money(Decimal(amount), currency)


def thumbnail_width(image: Mapping[str, Any]) -> int:
    """How wide the thumbnail of an image is: its longer side is scaled down to 480 px."""
    width, height = int(image["width"]), int(image["height"])
    return round(width * min(1.0, _THUMBNAIL_SIDE / max(width, height)))


def _ago(amount: float, unit: str) -> str:
    count = int(amount)
    return f"{count} {unit}{'' if count == 1 else 's'} ago"


def _tree_hash(root: Path, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + hashlib.sha256((root / name).read_bytes()).digest())
    return digest.hexdigest()[:16]
