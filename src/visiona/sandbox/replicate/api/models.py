"""Models and their versions."""

import re
from typing import Any

from litestar import MediaType, Response, delete, get, patch, post
from litestar.params import FromPath

from visiona.core.clock import rfc3339
from visiona.sandbox.replicate import pages, wire
from visiona.sandbox.replicate.api.account import HARDWARE
from visiona.sandbox.replicate.api.requests import AnyRequest, Body, check_body, read_body
from visiona.sandbox.replicate.pages import Place
from visiona.sandbox.replicate.problems import InvalidField, Problem, invalid, not_found
from visiona.sandbox.replicate.records import Model, Version
from visiona.sandbox.replicate.service import Sandbox, TheSandbox

MOST_MODELS = 1000

_LINKS: tuple[str, ...] = ("description", "github_url", "paper_url", "license_url")
_CREATE: dict[str, type] = dict.fromkeys(
    ("owner", "name", "visibility", "hardware", "cover_image_url", *_LINKS), str
)
_UPDATE: dict[str, type] = dict.fromkeys(("readme", "weights_url", *_LINKS), str)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_SORTS = ("model_created_at", "latest_version_created_at")


@post("/models")
async def create_model(request: AnyRequest, sandbox: TheSandbox) -> dict[str, Any]:
    body = await read_body(request)
    check_body(body, _CREATE, frozenset({"owner", "name", "visibility", "hardware"}))
    _check_values(body)
    if body["owner"] != sandbox.config.account:
        raise Problem(403, "You can only create models in your own account", title="Forbidden")
    if f"{body['owner']}/{body['name']}" in sandbox.store.models:
        raise Problem(sandbox.duplicate_model_status, "A model with that name and owner already exists.")
    if _owned(sandbox) >= MOST_MODELS:
        raise Problem(422, f"An account may hold at most {MOST_MODELS:,} models.")
    given = {name: value for name, value in body.items() if name != "hardware"}
    model = Model(**given, created_at=sandbox.clock.now())
    sandbox.store.save_model(model)
    return sandbox.show_model(model)


@get("/models", sync_to_thread=False)
def list_models(request: AnyRequest, sandbox: TheSandbox) -> dict[str, Any]:
    """Public models: the trainer, and what the account has made public."""
    query = dict(request.query_params)
    sort = query.get("sort_by", "latest_version_created_at")
    direction = query.get("sort_direction", "desc")
    if sort not in _SORTS or direction not in {"asc", "desc"}:
        raise invalid([InvalidField("enum", "sort_by", "unknown sorting")])
    public = [model for model in sandbox.store.models.values() if model.visibility == "public"]

    def place(model: Model) -> Place:
        versions = sandbox.versions_of(model.id) if sort == "latest_version_created_at" else []
        return Place(versions[0].created_at if versions else model.created_at, model.id)

    found = pages.page(public, place, sandbox.show_model, f"{sandbox.config.public_url}/v1/models", query)
    if direction == "asc":
        found["results"].reverse()
    return found


@get("/models/{owner:str}/{name:str}", sync_to_thread=False)
def show_model(sandbox: TheSandbox, owner: FromPath[str], name: FromPath[str]) -> dict[str, Any]:
    model = find_model(sandbox, owner, name)
    return sandbox.show_model(model) | {"created_at": rfc3339(model.created_at), "is_official": False}


@patch("/models/{owner:str}/{name:str}")
async def update_model(
    request: AnyRequest, sandbox: TheSandbox, owner: FromPath[str], name: FromPath[str]
) -> dict[str, Any]:
    model = find_model(sandbox, owner, name)
    _check_owner(sandbox, model, "update")
    body = await read_body(request)
    check_body(body, _UPDATE, frozenset())
    for field, value in body.items():
        setattr(model, field, value)
    sandbox.store.save_model(model)
    return sandbox.show_model(model)


@delete("/models/{owner:str}/{name:str}", sync_to_thread=False)
def delete_model(sandbox: TheSandbox, owner: FromPath[str], name: FromPath[str]) -> None:
    model = find_model(sandbox, owner, name)
    _check_owner(sandbox, model, "delete")
    _check_private(model, "models")
    if sandbox.versions_of(model.id):
        raise Problem(422, "You can only delete models that have no versions.")
    sandbox.store.delete_model(model)


@get("/models/{owner:str}/{name:str}/readme", media_type=MediaType.TEXT, sync_to_thread=False)
def show_readme(sandbox: TheSandbox, owner: FromPath[str], name: FromPath[str]) -> str:
    readme = find_model(sandbox, owner, name).readme
    if readme is None:
        raise not_found("README not found")
    return readme


@get("/models/{owner:str}/{name:str}/examples", sync_to_thread=False)
def list_examples(sandbox: TheSandbox, owner: FromPath[str], name: FromPath[str]) -> dict[str, Any]:
    find_model(sandbox, owner, name)
    return wire.page([], None, None)


@get("/models/{owner:str}/{name:str}/versions", sync_to_thread=False)
def list_versions(
    request: AnyRequest, sandbox: TheSandbox, owner: FromPath[str], name: FromPath[str]
) -> dict[str, Any]:
    model = find_model(sandbox, owner, name)
    return pages.page(
        sandbox.versions_of(model.id),
        lambda version: Place(version.created_at, version.id),
        wire.version,
        f"{sandbox.config.public_url}/v1/models/{model.id}/versions",
        dict(request.query_params),
    )


@get("/models/{owner:str}/{name:str}/versions/{version_id:str}", sync_to_thread=False)
def show_version(
    sandbox: TheSandbox, owner: FromPath[str], name: FromPath[str], version_id: FromPath[str]
) -> dict[str, Any]:
    return wire.version(find_version(sandbox, owner, name, version_id))


@delete("/models/{owner:str}/{name:str}/versions/{version_id:str}", status_code=202, sync_to_thread=False)
def delete_version(
    sandbox: TheSandbox, owner: FromPath[str], name: FromPath[str], version_id: FromPath[str]
) -> Response[bytes]:
    """Accepted; the version and its predictions are gone a little later."""
    model = find_model(sandbox, owner, name)
    _check_owner(sandbox, model, "delete versions of")
    _check_private(model, "versions of models")
    sandbox.runner.delete_version(find_version(sandbox, owner, name, version_id))
    return Response(b"", status_code=202, media_type=MediaType.TEXT)


def find_model(sandbox: Sandbox, owner: str, name: str) -> Model:
    model = sandbox.store.models.get(f"{owner}/{name}")
    if model is None:
        raise not_found()
    return model


def find_version(sandbox: Sandbox, owner: str, name: str, version_id: str) -> Version:
    version = sandbox.store.versions.get(version_id)
    if version is None or version.model != f"{owner}/{name}":
        raise not_found()
    return version


def _owned(sandbox: Sandbox) -> int:
    return sum(1 for model in sandbox.store.models.values() if model.owner == sandbox.config.account)


def _check_values(body: Body) -> None:
    skus = [hardware["sku"] for hardware in HARDWARE]
    wrong: list[InvalidField] = []
    if not _NAME.fullmatch(body["name"]):
        about = "name may hold lower case letters, digits, dashes, underscores and periods"
        wrong.append(InvalidField("pattern", "name", about))
    for field, allowed in (("visibility", ["public", "private"]), ("hardware", skus)):
        if body[field] not in allowed:
            listing = ", ".join(f'"{value}"' for value in allowed)
            wrong.append(InvalidField("enum", field, f"{field} must be one of the following: {listing}"))
    if wrong:
        raise invalid(wrong)


def _check_owner(sandbox: Sandbox, model: Model, verb: str) -> None:
    if model.owner != sandbox.config.account:
        raise Problem(403, f"You can only {verb} models you own.", title="Forbidden")


def _check_private(model: Model, what: str) -> None:
    if model.visibility != "private":
        raise Problem(403, f"You can only delete {what} that are private.", title="Forbidden")
