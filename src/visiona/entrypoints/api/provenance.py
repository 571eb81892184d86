"""Where an image comes from, for anybody who has one."""

from typing import Any

import msgspec
from litestar import Request, post

from visiona.bootstrap import App
from visiona.core.errors import TooLarge
from visiona.core.scratch import scratch_folder
from visiona.entrypoints.api.security import TheApp, client_of
from visiona.entrypoints.api.uploads import receive_files
from visiona.ports.provenance import Credentials, Finding, Signer
from visiona.provenance.model import MAX_FILE_BYTES

# The file, and what the form puts around it.
MAX_BODY_BYTES = MAX_FILE_BYTES + 64 * 1024

AnyRequest = Request[Any, Any, Any]


class FindingView(msgspec.Struct, kw_only=True):
    """`made_with_ai` is true when anything says so; false means only that nothing does.

    `credentials` are the signed Content Credentials (C2PA), `signer` whose certificate signed valid ones,
    `signed_as_ai` what they say. `labelled_as_ai` is said by metadata that anybody can change, and
    `watermarked` by Visiona's mark in the pixels.
    """

    made_with_ai: bool
    credentials: Credentials
    signer: Signer | None
    signer_name: str
    generator: str
    signed_as_ai: bool
    labelled_as_ai: bool
    watermarked: bool


@post("/api/provenance/check", status_code=200, request_max_body_size=MAX_BODY_BYTES)
async def check_image(app: TheApp, request: AnyRequest) -> FindingView:
    """Multipart field `image`: a JPEG, PNG, WebP or HEIC file. It is read and not kept."""
    found = await find(app, request)
    return FindingView(
        made_with_ai=found.made_with_ai,
        credentials=found.credentials,
        signer=found.signer,
        signer_name=found.signer_name,
        generator=found.generator,
        signed_as_ai=found.signed_as_ai,
        labelled_as_ai=found.labelled_as_ai,
        watermarked=found.watermarked,
    )


async def find(app: App, request: AnyRequest) -> Finding:
    """Of the file in the form field `image`. Raises what `receive_files` and the service raise, and
    `TooLarge` (`file_too_large`).
    """
    await app.provenance.admit(client_of(request))
    with scratch_folder() as folder:
        [file] = await receive_files(
            request, folder, field="image", max_files=1, max_file_bytes=MAX_FILE_BYTES
        )
        if file.oversized:
            limit = MAX_FILE_BYTES // (1024 * 1024)
            raise TooLarge(
                "file_too_large", f"This file has more than {limit} MB. Check a smaller copy of it."
            )
        return await app.provenance.check(file.path)


HANDLERS = [check_image]
