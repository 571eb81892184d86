"""Objects behind signed links, opened as they are sent. Nothing else opens an object."""

import re
from typing import Annotated, Any

from litestar import HttpMethod, Request, Response, route
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Stream

from visiona.entrypoints.api import problems
from visiona.entrypoints.api.security import TheApp
from visiona.objects.model import ByteRange, RangeNotSatisfiable, content_type_of, day_of, is_export

AnyRequest = Request[Any, Any, Any]

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")

# What is smaller is read to its end, and so known to be whole, before the first byte is sent.
_AT_ONCE = 256 * 1024


@route("/media/{key:path}", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
async def media(
    app: TheApp,
    request: AnyRequest,
    key: FromPath[str],
    expires: Annotated[int, QueryParameter(ge=0, le=2**40)] = 0,
    signature: FromQuery[str] = "",
) -> Response[Any]:
    """One range at most is answered; of more than one, as of what cannot be understood, the whole."""
    name = key.lstrip("/")
    wanted = _wanted(request, _etag(name))
    # A copy of somebody's data can be had for as long as it is kept, whatever its link says.
    room = app.exports if is_export(name) else app.objects
    try:
        found = await room.open_link(name, expires, signature, wanted)
    except RangeNotSatisfiable as error:
        return problems.respond(
            416,
            "range_not_satisfiable",
            "The object is shorter than that.",
            headers={"Content-Range": f"bytes */{error.size}"},
        )
    status = 200 if wanted is None else 206
    kind = content_type_of(name)
    length = found.end - found.start
    headers = {
        "Accept-Ranges": "bytes",
        **_keeping(name, kind, int(expires - app.clock.now().timestamp())),
        "Content-Length": str(length),
        "ETag": _etag(name),
    }
    if wanted is not None:
        headers["Content-Range"] = f"bytes {found.start}-{found.end - 1}/{found.size}"
    if request.method == HttpMethod.HEAD:
        return Response(b"", media_type=kind, headers=headers, status_code=status)
    if length <= _AT_ONCE:
        content = b"".join([piece async for piece in found.body])
        return Response(content, media_type=kind, headers=headers, status_code=status)
    return Stream(found.body, media_type=kind, headers=headers, status_code=status)


def _keeping(name: str, kind: str, seconds: int) -> dict[str, str]:
    """Pictures are shown, and kept for as long as their link lives; a copy of somebody's data is saved where
    they want it, and nowhere else.
    """
    if kind.startswith("image/"):
        kept, how = f"private, max-age={seconds}, immutable", "inline"
    else:
        kept, how = "no-store", f'attachment; filename="visiona-export-{day_of(name)}.zip"'
    return {"Cache-Control": kept, "Content-Disposition": how}


def _etag(name: str) -> str:
    """An object is written once and never changed: its name says what it is."""
    return f'"{name.rpartition("/")[2]}"'


def _wanted(request: AnyRequest, etag: str) -> ByteRange | None:
    """The range asked for, None for the whole. For `HEAD`, ranges mean nothing."""
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or request.method == HttpMethod.HEAD:
        return None
    if request.headers.get("if-range", etag) != etag:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return ByteRange(None, int(suffix))
    if last and int(last) < int(first):
        return None
    return ByteRange(int(first), int(last) if last else None)


HANDLERS = [media]
