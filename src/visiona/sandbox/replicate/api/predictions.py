"""Predictions."""

import re
import secrets
from datetime import datetime
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from visiona.sandbox.replicate import pages
from visiona.sandbox.replicate.api.requests import (
    AnyRequest,
    Body,
    cancel_after,
    check_body,
    check_webhook,
    read_body,
    wait_seconds,
)
from visiona.sandbox.replicate.pages import Place
from visiona.sandbox.replicate.problems import InvalidField, invalid, invalid_version, not_found
from visiona.sandbox.replicate.records import Job, Version, new_id
from visiona.sandbox.replicate.schemas import PREDICTION_FIELDS, check
from visiona.sandbox.replicate.service import Sandbox, TheSandbox

_BODY = {"version": str, "input": dict, "webhook": str, "webhook_events_filter": list, "stream": bool}
_VERSION = re.compile(r"(?:([^/:]+/[^/:]+):)?([0-9a-f]{64})")


@post("/predictions")
async def create_prediction(request: AnyRequest, sandbox: TheSandbox) -> Response[dict[str, Any]]:
    """Start a prediction. There is no idempotency: the same request twice makes two."""
    body = await read_body(request)
    check_body(body, _BODY, frozenset({"version", "input"}))
    check_webhook(body)
    wait, lifetime = wait_seconds(request), cancel_after(request)
    version = _find_version(sandbox, body["version"])
    if wrong := check(PREDICTION_FIELDS, body["input"]):
        raise invalid(wrong)
    job = _new_job(sandbox, version, body)
    job.deadline = job.created_at + lifetime if lifetime else None
    sandbox.posts["predictions accepted"] += 1
    sandbox.runner.submit(job)
    if wait is None:
        return Response(sandbox.runner.body(job), status_code=201)
    seconds, applied = wait
    finished = await sandbox.runner.wait(job, seconds)
    return Response(
        sandbox.runner.body(job),
        status_code=201 if finished else 202,
        headers={"preference-applied": applied},
    )


@get("/predictions", sync_to_thread=False)
def list_predictions(request: AnyRequest, sandbox: TheSandbox) -> dict[str, Any]:
    sandbox.runner.sweep()
    query = dict(request.query_params)
    after, before = _instant(query, "created_after"), _instant(query, "created_before")
    if query.get("source", "web") != "web":
        raise invalid([InvalidField("enum", "source", 'source must be one of the following: "web"')])
    found = [
        job
        for job in sandbox.store.jobs.values()
        if job.kind == "prediction"
        and "source" not in query  # all of the sandbox's come from the API
        and (after is None or job.created_at >= after)
        and (before is None or job.created_at < before)
    ]
    return pages.page(
        found,
        lambda job: Place(job.created_at, job.id),
        sandbox.runner.body,
        f"{sandbox.config.public_url}/v1/predictions",
        query,
    )


@get("/predictions/{prediction_id:str}", sync_to_thread=False)
def show_prediction(sandbox: TheSandbox, prediction_id: FromPath[str]) -> dict[str, Any]:
    sandbox.runner.sweep()
    return sandbox.runner.body(_find(sandbox, prediction_id))


@post("/predictions/{prediction_id:str}/cancel", status_code=200, sync_to_thread=False)
def cancel_prediction(sandbox: TheSandbox, prediction_id: FromPath[str]) -> dict[str, Any]:
    job = _find(sandbox, prediction_id)
    sandbox.runner.cancel(job)
    return sandbox.runner.body(job)


def _find(sandbox: Sandbox, prediction_id: str) -> Job:
    job = sandbox.store.jobs.get(prediction_id)
    if job is None or job.kind != "prediction":
        raise not_found()
    return job


def _find_version(sandbox: Sandbox, reference: str) -> Version:
    """A version by its id or `owner/name:id`; the sandbox has no official models."""
    match = _VERSION.fullmatch(reference)
    version = sandbox.store.versions.get(match[2]) if match else None
    if match is None or version is None or version.deleting or match[1] not in {None, version.model}:
        raise invalid_version()
    return version


def _new_job(sandbox: Sandbox, version: Version, body: Body) -> Job:
    seed = body["input"].get("seed")
    return Job(
        id=new_id(),
        kind="prediction",
        model=version.model,
        version=version.id,
        input=body["input"],
        created_at=sandbox.clock.now(),
        token=new_id() + new_id(),
        seed=secrets.randbelow(2**31) if seed is None else int(seed),
        webhook=body.get("webhook"),
        webhook_events=body.get("webhook_events_filter"),
        script=sandbox.faults.script("prediction"),
    )


def _instant(query: dict[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        instant = datetime.fromisoformat(query[name])
    except ValueError as error:
        raise invalid([InvalidField("format", name, "Does not match format 'date-time'")]) from error
    if instant.tzinfo is None:
        raise invalid([InvalidField("format", name, "Does not match format 'date-time'")])
    return instant
