"""Generating images."""

import asyncio
import re
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import Body

from visiona.bootstrap import App
from visiona.core.errors import FieldError, Invalid
from visiona.db.actor import UserActor
from visiona.db.events import Event
from visiona.db.idempotency import IdempotencyKey
from visiona.entrypoints.api.parameters import Cursor, IdempotencyHeader, Limit, RowId
from visiona.entrypoints.api.security import TheApp, actor_of
from visiona.entrypoints.api.views import RunPage, RunView, run_page, run_view
from visiona.generations.model import OUTPUTS_MAX, GeneratedImage, Run, RunRequest

AnyRequest = Request[Any, Any, Any]

WAIT_MAX_S = 60.0


class GenerateBody(msgspec.Struct):
    """The inputs that every clone takes; what else its own schema allows may stand beside them."""

    model_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    prompt: str
    enhance: bool = False
    num_outputs: Annotated[int, msgspec.Meta(ge=1, le=OUTPUTS_MAX)] = 1
    aspect_ratio: str | None = None
    seed: int | None = None


AnyBody = Annotated[
    dict[str, Any],
    Body(
        schema_extra={
            "required": ["model_id", "prompt"],
            "properties": msgspec.json.schema_components([GenerateBody])[1]["GenerateBody"]["properties"],
        },
        description="Other inputs that the clone's own schema allows may stand beside these.",
    ),
]

_OWN_FIELDS = frozenset({"model_id", "prompt", "enhance", "num_outputs"})


@post("/api/generate", status_code=202)
async def generate(
    app: TheApp, request: AnyRequest, data: AnyBody, idempotency_key: IdempotencyHeader = None
) -> Response[RunView]:
    """202 with the run; with `Prefer: wait=N`, 200 once it has finished inside N seconds."""
    body = _read(data)
    actor = actor_of(request)
    key = None if idempotency_key is None else IdempotencyKey(idempotency_key, "generate", data)
    inputs = {name: value for name, value in data.items() if name not in _OWN_FIELDS}
    wanted = RunRequest(body.model_id, body.prompt, body.enhance, body.num_outputs, inputs)
    wait_s = _preferred_wait(request.headers.get("prefer", ""))
    async with app.events.subscribe(actor.user_id) as queue:
        run = await app.generations.start(actor, wanted, key)
        run, images = await _finished_within(app, actor, run.id, queue, wait_s)
    view = await run_view(app, run, images)
    if wait_s is None:
        return Response(view, status_code=202)
    return Response(
        view,
        status_code=200 if run.state.terminal else 202,
        headers={"Preference-Applied": f"wait={wait_s:g}"},
    )


def _read(data: dict[str, Any]) -> GenerateBody:
    try:
        return msgspec.convert(data, GenerateBody)
    except msgspec.ValidationError as error:
        found = re.search(r"at `\$\.(\w+)`|missing required field `(\w+)`", str(error))
        field = next((name for name in found.groups() if name), "") if found else ""
        message = re.sub(r" - at `.*`$", "", str(error))
        raise Invalid(
            "invalid_input",
            "Some of the input cannot be used.",
            errors=[FieldError(field, "invalid_value", f"{message}.")],
        ) from error


def _preferred_wait(header: str) -> float | None:
    """Seconds of RFC 7240's `wait`, at most `WAIT_MAX_S`; None when it is not asked for."""
    for preference in header.split(","):
        name, _, value = preference.strip().partition("=")
        if name.strip().lower() == "wait":
            seconds = value.strip().strip('"')
            readable = seconds.isascii() and seconds.isdecimal()
            return min(WAIT_MAX_S, float(seconds)) if readable else WAIT_MAX_S
    return None


async def _finished_within(
    app: App, actor: UserActor, run_id: int, queue: asyncio.Queue[Event], wait_s: float | None
) -> tuple[Run, list[GeneratedImage]]:
    """The run as it is when it ends, or when the time is up."""
    try:
        async with asyncio.timeout(wait_s or 0):
            while wait_s is not None:
                run, images = await app.generations.get(actor, run_id)
                if run.state.terminal:
                    return run, images
                await _next_event(queue, run_id)
    except TimeoutError:
        pass
    return await app.generations.get(actor, run_id)


async def _next_event(queue: asyncio.Queue[Event], run_id: int) -> None:
    """Return when this run may have changed. `TimeoutError` when this process ends: nobody waits then."""
    while True:
        event = await queue.get()
        if event.topic == "closing":
            raise TimeoutError
        if event.topic == "resync" or (event.topic == "run" and event.id == run_id):
            return


@get("/api/generate")
async def list_runs(app: TheApp, request: AnyRequest, limit: Limit = 20, cursor: Cursor = None) -> RunPage:
    """Newest first."""
    return await run_page(app, await app.generations.page(actor_of(request), limit, cursor), limit)


@get("/api/generate/{run_id:int}")
async def get_run(app: TheApp, request: AnyRequest, run_id: RowId) -> RunView:
    run, images = await app.generations.get(actor_of(request), run_id)
    return await run_view(app, run, images)


@post("/api/generate/{run_id:int}/cancel", status_code=202)
async def cancel_run(app: TheApp, request: AnyRequest, run_id: RowId) -> RunView:
    """Asks for the end; the run turns `canceled` once that is certain."""
    actor = actor_of(request)
    await app.generations.cancel(actor, run_id)
    run, images = await app.generations.get(actor, run_id)
    return await run_view(app, run, images)


HANDLERS = [generate, list_runs, get_run, cancel_run]
