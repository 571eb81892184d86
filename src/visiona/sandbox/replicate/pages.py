"""Cursor pagination: pages of 100 that stay stable while newer things are added."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec

from visiona.sandbox.replicate import wire
from visiona.sandbox.replicate.problems import InvalidField, invalid

SIZE = 100

_Record = TypeVar("_Record")


class Place(NamedTuple):
    """Where something stands in a list: its instant, then its id."""

    at: datetime
    id: str


class _Cursor(msgspec.Struct):
    """Continue after (`older`) or before a place in a list that runs from new to old."""

    older: bool
    at: datetime
    id: str


def page(
    records: Sequence[_Record],
    place: Callable[[_Record], Place],
    show: Callable[[_Record], dict[str, Any]],
    url: str,
    query: Mapping[str, str],
) -> dict[str, Any]:
    """One page of `records`, newest first, with absolute URLs of its neighbours.

    `url` is the list's own; `query` the request's parameters, which the neighbours keep.
    """
    ordered = sorted(records, key=place, reverse=True)
    begin = _begin(ordered, place, query.get("cursor"))
    shown = ordered[begin : begin + SIZE]
    following = previous = None
    if begin + SIZE < len(ordered):
        following = _link(url, query, place(shown[-1]), older=True)
    if begin > 0 and shown:
        previous = _link(url, query, place(shown[0]), older=False)
    return wire.page(map(show, shown), following, previous)


def _begin(ordered: Sequence[_Record], place: Callable[[_Record], Place], text: str | None) -> int:
    """Index of the first record to show."""
    if text is None:
        return 0
    cursor = _decode(text)
    here = Place(cursor.at, cursor.id)
    if cursor.older:
        return sum(1 for record in ordered if place(record) >= here)
    return max(0, sum(1 for record in ordered if place(record) > here) - SIZE)


def _link(url: str, query: Mapping[str, str], place: Place, *, older: bool) -> str:
    data = msgspec.json.encode(_Cursor(older=older, at=place.at, id=place.id))
    text = base64.urlsafe_b64encode(data).decode()
    return f"{url}?{urlencode({**query, 'cursor': text})}"


def _decode(text: str) -> _Cursor:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=_Cursor)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise invalid([InvalidField("format", "cursor", "cursor is not valid")]) from error
