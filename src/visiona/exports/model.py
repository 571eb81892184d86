"""An export as it is seen, and what of each table is in one. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec

from visiona.core.clock import rfc3339
from visiona.core.errors import Conflict, NotFound
from visiona.privacy.catalogue import CATALOGUE, PLACES, Kind, Table
from visiona.vault.model import Cipher, Unreadable

KEPT_FOR: Final = timedelta(days=7)
"""How long a copy can be had; then it is deleted."""
MAX_CRASHES: Final = 5
"""How many workers may die of a copy, before it is taken for their murderer."""


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"


class Standing(StrEnum):
    """What an attempt to make a copy is to its row."""

    CURRENT = "current"
    OUTDATED = "outdated"
    """Something was deleted since it began."""
    SUPERSEDED = "superseded"
    """The copy is not wanted any more, or another attempt makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """`progress` is in percent, `size` in bytes; `size` and `sha256` are there once it is ready."""

    id: int
    user_id: int
    state: str
    progress: int
    object_key: str | None
    size: int | None
    sha256: str | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None


# What is in one

_EXPORTED: Final = frozenset({Kind.SEALED, Kind.PSEUDONYM, Kind.FACT})
WHOLE: Final = frozenset({"erasures"})
"""Tables whose rows are somebody's only until they are gone, and have no owner in the catalogue."""

_DOCUMENTS: Final = frozenset(
    {
        "models.parameters",
        "runs.inputs",
        "generations.parameters",
        "audit_logs.client",
        "audit_logs.private",
    }
)
"""What is sealed as JSON, by its place."""

_OTHERS: Final = frozenset({("audit_logs", "client")})
"""What another's key can have sealed: where an administrator was."""

ABSENT: Final = (
    (
        "Passwords, secret keys and codes",
        "only scrambled forms of them are kept, which prove and tell nothing",
    ),
    ("Invoices as files", "the payment service makes and keeps them; Billing in your account leads there"),
    (
        "Training archives and trained weights",
        "they are at the firm that trains, the weights until you delete the clone",
    ),
    ("Queues and news in transit", "they name you by number only, and are gone within days"),
    (
        "Where an administrator was",
        "that is data of theirs; what they did to your account is in the activity",
    ),
    ("Other people", "whoever consented for a face of theirs is named as they signed, and nothing more"),
)
"""What is not in an export, and why."""


@dataclass(frozen=True, slots=True)
class Read:
    """What of a table is read: the rows whose `owner` is the person, and of these `columns`."""

    table: str
    owner: str
    columns: tuple[str, ...]


def reads() -> list[Read]:
    """Every table with rows of people, and every column that is theirs or about them."""
    return [_read(table) for table in CATALOGUE if table.owner is not None or table.name in WHOLE]


def _read(table: Table) -> Read:
    columns = tuple(name for name, kind in table.columns.items() if kind in _EXPORTED)
    return Read(table.name, table.owner or "user_id", columns)


@dataclass(frozen=True, slots=True)
class Opened:
    """A row as it goes into a file of JSON, and the names of values that should be in it and do not open."""

    facts: dict[str, Any]
    damaged: tuple[str, ...]


def opened(table: str, row: Mapping[str, Any], cipher: Cipher) -> Opened:
    """Sealed values opened, all of it plain. What does not open is left out."""
    facts: dict[str, Any] = {}
    damaged: list[str] = []
    for name, value in row.items():
        try:
            facts[name] = _value(PLACES.get((table, name)), value, cipher)
        except Unreadable:
            facts[name] = None
            if (table, name) not in _OTHERS:
                damaged.append(name)
    return Opened(facts, tuple(damaged))


def _value(place: str | None, value: Any, cipher: Cipher) -> Any:
    if place is None or value is None:
        return plain(value)
    text = cipher.open(place, bytes(value))
    if place not in _DOCUMENTS:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def encoded(facts: Mapping[str, Any]) -> bytes:
    """As JSON in UTF-8, in the person's own script. Halves of a character, which UTF-8 has no room for, stay
    escaped as they came.
    """
    return json.dumps(facts, ensure_ascii=False).encode("utf-8", "backslashreplace")


def plain(value: Any) -> Any:
    """As JSON has it: times in UTC by RFC 3339, amounts as text, bytes in base64."""
    return rfc3339(value) if isinstance(value, datetime) else msgspec.to_builtins(value)


@dataclass(frozen=True, slots=True)
class Picture:
    """An object that goes into an export, and where; `sha256` is of what is in it, `size` in bytes."""

    key: str
    path: str
    sha256: str
    size: int


_PICTURES: Final = {
    "photos": ("file_url", "uploaded_at", "photos/{day}-photo-{id}.{extension}"),
    "generations": ("image_url", "created_at", "images/{day}-image-{id}.{extension}"),
}


def picture_of(table: str, row: Mapping[str, Any]) -> Picture | None:
    """The object that a row (as `opened` answers it) is about."""
    if table not in _PICTURES:
        return None
    column, moment, pattern = _PICTURES[table]
    key = str(row[column])
    path = pattern.format(day=str(row[moment])[:10], id=row["id"], extension=key.rpartition(".")[2])
    return Picture(key, path, str(row["sha256"]), int(row["size"]))


FAILED: Final = "export_failed"
FAILED_WORDS: Final = (
    "This copy could not be made, though it was tried again and again. Ask for a new one; if that fails too, "
    "write to whoever runs this Visiona: they can make it for you."
)


# Refusals


def export_not_found() -> NotFound:
    return NotFound("export_not_found", "There is no such copy any more. Ask for a new one.")


def export_not_ready() -> Conflict:
    return Conflict("export_not_ready", "This copy is not ready. Wait until it is, or ask for a new one.")
