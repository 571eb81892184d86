"""Objects behind our own signed links, for stores that cannot sign. Nothing else opens an object."""

import re
from datetime import timedelta
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Stream

from visiona.core.errors import NotFound
from visiona.entrypoints.api.security import TheApp
from visiona.objects.model import content_type_of

_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")


@get("/media/{key:path}", include_in_schema=False)
async def media(
    app: TheApp,
    request: Request[Any, Any, Any],
    key: FromPath[str],
    expires: Annotated[int, QueryParameter(ge=0, le=2**40)] = 0,
    signature: FromQuery[str] = "",
) -> Response[Any]:
    name = key.lstrip("/")
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    byte_range = None
    if wanted:
        start, end = int(wanted[1]), int(wanted[2]) + 1 if wanted[2] else 2**62
        byte_range = (start, end) if start < end <= 2**62 else None
    found = await app.objects.open_link(name, expires, signature, byte_range)
    remaining = timedelta(seconds=expires - app.clock.now().timestamp())
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={int(remaining.total_seconds())}, immutable",
        "Content-Disposition": "inline",
        "ETag": f'"{found.etag.strip(chr(34))}"',
    }
    if byte_range is None:
        headers["Content-Length"] = str(found.size)
        return Stream(found.body, media_type=content_type_of(name), headers=headers)
    start, end = byte_range[0], min(byte_range[1], found.size)
    if start >= found.size:
        raise NotFound("not_found", "The range lies outside of the object.")
    headers["Content-Length"] = str(end - start)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    return Stream(found.body, media_type=content_type_of(name), headers=headers, status_code=206)


HANDLERS = [media]
