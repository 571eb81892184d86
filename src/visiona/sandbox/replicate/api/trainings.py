"""Trainings."""

from typing import Any

from litestar import get, post
from litestar.params import FromPath

from visiona.sandbox.replicate import pages
from visiona.sandbox.replicate.api.models import find_model
from visiona.sandbox.replicate.api.requests import AnyRequest, check_body, check_webhook, read_body
from visiona.sandbox.replicate.config import TRAINER
from visiona.sandbox.replicate.pages import Place
from visiona.sandbox.replicate.problems import Problem, invalid, invalid_version, not_found
from visiona.sandbox.replicate.records import Job, new_id
from visiona.sandbox.replicate.schemas import TRAINING_FIELDS, check, redact
from visiona.sandbox.replicate.service import Sandbox, TheSandbox

_BODY = {"destination": str, "input": dict, "webhook": str, "webhook_events_filter": list}


@post("/models/{owner:str}/{name:str}/versions/{version_id:str}/trainings")
async def create_training(
    request: AnyRequest,
    sandbox: TheSandbox,
    owner: FromPath[str],
    name: FromPath[str],
    version_id: FromPath[str],
) -> dict[str, Any]:
    """Start a training. There is no idempotency: the same request twice makes two."""
    model = find_model(sandbox, owner, name)
    version = sandbox.store.versions.get(version_id)
    if version is None or version.model != model.id or model.id != TRAINER:
        raise invalid_version()
    body = await read_body(request)
    check_body(body, _BODY, frozenset({"destination", "input"}))
    check_webhook(body)
    _check_destination(sandbox, body["destination"])
    if wrong := check(TRAINING_FIELDS, body["input"]):
        raise invalid(wrong)
    job = Job(
        id=new_id(),
        kind="training",
        model=model.id,
        version=version_id,
        input=redact(TRAINING_FIELDS, body["input"]),
        created_at=sandbox.clock.now(),
        token=new_id() + new_id(),
        destination=body["destination"],
        webhook=body.get("webhook"),
        webhook_events=body.get("webhook_events_filter"),
        script=sandbox.faults.script("training"),
    )
    sandbox.posts["trainings accepted"] += 1
    sandbox.runner.submit(job)
    return sandbox.runner.body(job)


@get("/trainings", sync_to_thread=False)
def list_trainings(request: AnyRequest, sandbox: TheSandbox) -> dict[str, Any]:
    return pages.page(
        [job for job in sandbox.store.jobs.values() if job.kind == "training"],
        lambda job: Place(job.created_at, job.id),
        sandbox.runner.body,
        f"{sandbox.config.public_url}/v1/trainings",
        dict(request.query_params),
    )


@get("/trainings/{training_id:str}", sync_to_thread=False)
def show_training(sandbox: TheSandbox, training_id: FromPath[str]) -> dict[str, Any]:
    return sandbox.runner.body(_find(sandbox, training_id))


@post("/trainings/{training_id:str}/cancel", status_code=200, sync_to_thread=False)
def cancel_training(sandbox: TheSandbox, training_id: FromPath[str]) -> dict[str, Any]:
    job = _find(sandbox, training_id)
    sandbox.runner.cancel(job)
    return sandbox.runner.body(job)


def _find(sandbox: Sandbox, training_id: str) -> Job:
    job = sandbox.store.jobs.get(training_id)
    if job is None or job.kind != "training":
        raise not_found()
    return job


def _check_destination(sandbox: Sandbox, destination: str) -> None:
    model = sandbox.store.models.get(destination)
    if model is None or model.owner != sandbox.config.account:
        raise Problem(404, "The specified training destination does not exist")
