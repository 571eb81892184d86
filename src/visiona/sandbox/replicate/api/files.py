"""The Files API."""

from typing import Any

from litestar import delete, get, post
from litestar.params import FromPath
from litestar.response import File

from visiona.sandbox.replicate import pages, wire
from visiona.sandbox.replicate.api.requests import AnyRequest
from visiona.sandbox.replicate.pages import Place
from visiona.sandbox.replicate.problems import not_found
from visiona.sandbox.replicate.records import StoredFile
from visiona.sandbox.replicate.service import Sandbox, TheSandbox
from visiona.sandbox.replicate.signing import verify_download
from visiona.sandbox.replicate.uploads import receive_file


@post("/files", request_max_body_size=None)
async def create_file(request: AnyRequest, sandbox: TheSandbox) -> dict[str, Any]:
    record = await receive_file(
        sandbox.store,
        request.stream(),
        request.headers.get("content-type", ""),
        limit=sandbox.config.max_file_bytes,
        now=sandbox.clock.now(),
    )
    return wire.file(sandbox.config, record)


@get("/files", sync_to_thread=False)
def list_files(request: AnyRequest, sandbox: TheSandbox) -> dict[str, Any]:
    sandbox.runner.sweep()
    return pages.page(
        list(sandbox.store.files.values()),
        lambda file: Place(file.created_at, file.id),
        lambda file: wire.file(sandbox.config, file),
        f"{sandbox.config.public_url}/v1/files",
        dict(request.query_params),
    )


@get("/files/{file_id:str}", sync_to_thread=False)
def show_file(sandbox: TheSandbox, file_id: FromPath[str]) -> dict[str, Any]:
    return wire.file(sandbox.config, _find(sandbox, file_id))


@delete("/files/{file_id:str}", sync_to_thread=False)
def delete_file(sandbox: TheSandbox, file_id: FromPath[str]) -> None:
    sandbox.store.delete_file(_find(sandbox, file_id))


@get("/v1/files/{file_id:str}/download", sync_to_thread=False)
def download_file(request: AnyRequest, sandbox: TheSandbox, file_id: FromPath[str]) -> File:
    """The bytes, for whoever holds a signed link that has not expired; no token needed."""
    query = request.query_params
    owner, expiry, signature = (query.get(name, "") for name in ("owner", "expiry", "signature"))
    record = _find(sandbox, file_id)
    signed = expiry.isdecimal() and verify_download(
        sandbox.sender.secret, owner, file_id, int(expiry), signature
    )
    if not signed or int(expiry) < sandbox.clock.now().timestamp() or owner != sandbox.config.account:
        raise not_found("File not found")
    return File(
        sandbox.store.upload_path(file_id), filename=record.name, media_type="application/octet-stream"
    )


def _find(sandbox: Sandbox, file_id: str) -> StoredFile:
    record = sandbox.file(file_id)
    if record is None:
        raise not_found("File not found")
    return record
