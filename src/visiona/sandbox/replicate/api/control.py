"""`/_sandbox`: what tests tell the sandbox and ask of it. Needs the account's token."""

from collections import Counter
from typing import Any

import msgspec
from litestar import delete, get, post

from visiona.core.clock import rfc3339
from visiona.sandbox.replicate.api.requests import AnyRequest
from visiona.sandbox.replicate.faults import Fault
from visiona.sandbox.replicate.problems import Problem
from visiona.sandbox.replicate.service import Sandbox, TheSandbox


class ClockChange(msgspec.Struct, forbid_unknown_fields=True):
    """Move the clock forward by `advance_s` seconds, and let it run `scale` times as fast (0 stops it)."""

    advance_s: float = 0.0
    scale: float | None = None


_FAULTS: msgspec.json.Decoder[list[Fault] | Fault] = msgspec.json.Decoder(list[Fault] | Fault)


@post("/faults")
async def add_faults(request: AnyRequest, sandbox: TheSandbox) -> list[dict[str, Any]]:
    """One fault or a list; `visiona.sandbox.replicate.faults` describes them."""
    try:
        faults = _FAULTS.decode(await request.body())
    except msgspec.DecodeError as error:
        raise Problem(422, str(error)) from error
    sandbox.add_faults(_as_list(faults))
    return _show_faults(sandbox)


@get("/faults", sync_to_thread=False)
def list_faults(sandbox: TheSandbox) -> list[dict[str, Any]]:
    return _show_faults(sandbox)


@delete("/faults", sync_to_thread=False)
def clear_faults(sandbox: TheSandbox) -> None:
    sandbox.faults.clear()


@get("/state", sync_to_thread=False)
def show_state(sandbox: TheSandbox) -> dict[str, Any]:
    """Everything there is, and how many POSTs were received and accepted."""
    sandbox.runner.sweep()
    jobs = sorted(sandbox.store.jobs.values(), key=lambda job: job.created_at)
    kinds = ("trainings", "predictions")
    return {
        "clock": {"now": rfc3339(sandbox.clock.now()), "scale": sandbox.clock.scale},
        "counts": {
            "models": len(sandbox.store.models),
            "versions": len(sandbox.store.versions),
            "files": len(sandbox.store.files),
            "trainings": Counter(job.status for job in jobs if job.kind == "training"),
            "predictions": Counter(job.status for job in jobs if job.kind == "prediction"),
        },
        "posts": {
            kind: {
                "received": sandbox.posts[f"{kind} received"],
                "accepted": sandbox.posts[f"{kind} accepted"],
            }
            for kind in kinds
        },
        "trainings": [sandbox.runner.body(job) for job in jobs if job.kind == "training"],
        "predictions": [sandbox.runner.body(job) for job in jobs if job.kind == "prediction"],
        "webhooks": [delivery.summary() for delivery in sandbox.sender.sent],
        "faults": _show_faults(sandbox),
    }


@post("/clock", status_code=200)
async def change_clock(request: AnyRequest, sandbox: TheSandbox) -> dict[str, Any]:
    try:
        change = msgspec.json.decode(await request.body(), type=ClockChange)
    except msgspec.DecodeError as error:
        raise Problem(422, str(error)) from error
    if change.advance_s < 0 or (change.scale or 0) < 0:
        raise Problem(422, "time does not run backwards")
    if change.scale is not None:
        sandbox.clock.set_scale(change.scale)
    if change.advance_s:
        sandbox.clock.advance(change.advance_s)
    return {"now": rfc3339(sandbox.clock.now()), "scale": sandbox.clock.scale}


@post("/reset", status_code=204, sync_to_thread=False)
def reset(sandbox: TheSandbox) -> None:
    sandbox.reset()


def _as_list(faults: list[Fault] | Fault) -> list[Fault]:
    return faults if isinstance(faults, list) else [faults]


def _show_faults(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(fault) for fault in sandbox.faults.waiting]
