"""The sandbox fails on request."""

import time
from typing import Any

import httpx
import pytest


def request(version: str) -> dict[str, Any]:
    return {
        "version": version,
        "input": {"prompt": "TOK", "aspect_ratio": "custom", "width": 256, "height": 256},
    }


def accepted(sandbox: Any) -> int:
    return sandbox.state()["posts"]["predictions"]["accepted"]


def test_unknown_faults_are_refused(sandbox: Any) -> None:
    for fault in ({"kind": "earthquake"}, {"kind": "slow", "secs": 1}, [{"kind": "slow"}, 7], "slow"):
        assert sandbox.raw.post("/_sandbox/faults", json=fault).status_code == 422
    assert sandbox.raw.get("/_sandbox/faults").json() == []


def test_faults_are_used_up(sandbox: Any) -> None:
    faults = [{"kind": "http_error", "status": 503, "times": 2, "method": "GET"}, {"kind": "slow"}]
    assert len(sandbox.raw.post("/_sandbox/faults", json=faults).json()) == 2
    statuses = [sandbox.raw.get("/v1/account").status_code for _ in range(3)]
    assert statuses == [503, 503, 200]
    assert [fault["kind"] for fault in sandbox.raw.get("/_sandbox/faults").json()] == ["slow"]
    sandbox.raw.delete("/_sandbox/faults")
    assert sandbox.raw.get("/_sandbox/faults").json() == []


def test_fault_strikes_only_its_path(sandbox: Any) -> None:
    sandbox.fault(kind="http_error", method="*", path="/v1/hardware")
    assert sandbox.raw.get("/v1/account").status_code == 200
    assert sandbox.raw.get("/v1/hardware").status_code == 500


@pytest.mark.parametrize(("retry_after", "header"), [(None, False), (5, False), (5, True)])
def test_rate_limit(sandbox: Any, trained: str, retry_after: int | None, header: bool) -> None:
    sandbox.fault(kind="rate_limit", retry_after=retry_after, header=header)
    before = accepted(sandbox)
    answer = sandbox.api.post("/predictions", json=request(trained))
    assert answer.status_code == 429
    assert answer.json().get("retry_after") == retry_after
    assert answer.headers.get("retry-after") == ("5" if header else None)
    assert answer.json()["detail"].startswith("Request was throttled. Your rate limit resets in ~")
    assert accepted(sandbox) == before
    assert sandbox.api.post("/predictions", json=request(trained)).status_code == 201


def test_server_error_before_the_request_takes_effect(sandbox: Any, trained: str) -> None:
    sandbox.fault(kind="http_error", status=503)
    before = accepted(sandbox)
    assert sandbox.api.post("/predictions", json=request(trained)).status_code == 503
    assert accepted(sandbox) == before


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "http_error", "status": 500, "when": "after"}, 500),
        ({"kind": "html"}, 502),
        ({"kind": "truncated_json"}, 201),
    ],
)
def test_answer_is_lost_after_the_request_took_effect(
    sandbox: Any, trained: str, fault: dict[str, Any], status: int
) -> None:
    sandbox.fault(**fault)
    before = accepted(sandbox)
    answer = sandbox.raw.post("/v1/predictions", json=request(trained))
    assert answer.status_code == status
    if fault["kind"] != "http_error":
        with pytest.raises(ValueError, match=r"Expecting|Unterminated|Extra data"):
            answer.json()
    assert accepted(sandbox) == before + 1
    newest = sandbox.api.get("/predictions").json()["results"][0]
    assert newest["input"] == request(trained)["input"]


def test_client_gives_up_before_a_slow_answer(sandbox: Any, trained: str) -> None:
    before = accepted(sandbox)
    sandbox.fault(kind="slow", when="after", seconds=600)
    with pytest.raises(httpx.ReadTimeout):
        sandbox.raw.post("/v1/predictions", json=request(trained), timeout=0.5)
    assert accepted(sandbox) == before + 1
    sandbox.clock(advance_s=600)


def test_slow_answer_arrives(sandbox: Any) -> None:
    sandbox.fault(kind="slow", method="GET", seconds=0.3)
    begin = time.monotonic()
    assert sandbox.raw.get("/v1/account").status_code == 200
    assert time.monotonic() - begin >= 0.3


def test_no_credit(sandbox: Any, trained: str) -> None:
    sandbox.fault(kind="refuse")
    answer = sandbox.api.post("/predictions", json=request(trained))
    assert (answer.status_code, answer.json()["title"]) == (402, "Insufficient credit")
    document = {"detail": "You've hit your monthly spend limit", "status": 403}
    sandbox.fault(kind="refuse", status=403, body=document)
    assert sandbox.api.post("/predictions", json=request(trained)).json() == document


def test_jobs_fail_with_the_given_text(sandbox: Any, trained: str, photos: bytes) -> None:
    sandbox.fault(kind="fail_prediction", text="CUDA out of memory")
    failed = sandbox.finished(f"/predictions/{sandbox.predict(trained)['id']}")
    assert (failed["status"], failed["error"], failed["output"]) == ("failed", "CUDA out of memory", None)
    assert "%|" in failed["logs"]
    sandbox.fault(kind="fail_training", text="loss is NaN")
    training = sandbox.train(photos, "trained")
    assert (training["status"], training["error"]) == ("failed", "loss is NaN")
    assert sandbox.train(photos, "trained")["status"] == "succeeded"


def test_aborted(sandbox: Any, trained: str) -> None:
    sandbox.fault(kind="abort", target="prediction")
    aborted = sandbox.finished(f"/predictions/{sandbox.predict(trained)['id']}")
    assert aborted["status"] == "aborted"
    assert "started_at" not in aborted


def test_status_that_nobody_has_heard_of(sandbox: Any, trained: str) -> None:
    sandbox.fault(kind="unknown_status", target="prediction", status_name="hibernating", final=True)
    made = sandbox.predict(trained)
    seen = set()
    for _ in range(200):
        shown = sandbox.raw.get(f"/v1/predictions/{made['id']}").json()
        seen.add(shown["status"])
        if "completed_at" in shown:
            break
        time.sleep(0.01)
    assert shown["status"] == "hibernating"
    assert seen <= {"starting", "hibernating"}


@pytest.mark.parametrize(("drop", "left"), [(1, 2), (2, 1), (3, 0)])
def test_safety_check_drops_pictures(sandbox: Any, trained: str, drop: int, left: int) -> None:
    sandbox.fault(kind="nsfw", drop=drop)
    made = sandbox.finished(f"/predictions/{sandbox.predict(trained, num_outputs=3)['id']}")
    assert made["status"] == ("succeeded" if left else "failed")
    assert len(made["output"] or []) == left
    assert f"Total safe images: {left} out of 3" in made["logs"]


def test_outputs_as_data_urls(sandbox: Any, trained: str) -> None:
    sandbox.fault(kind="inline_outputs")
    answer = sandbox.api.post("/predictions", json=request(trained), headers={"prefer": "wait"})
    (output,) = answer.json()["output"]
    assert output.startswith("data:image/webp;base64,UklGR")


def test_outputs_expire_now(sandbox: Any, trained: str) -> None:
    first = sandbox.finished(f"/predictions/{sandbox.predict(trained)['id']}")
    second = sandbox.finished(f"/predictions/{sandbox.predict(trained)['id']}")
    sandbox.fault(kind="expire_outputs", id=first["id"])
    assert httpx.get(first["output"][0]).status_code == 404
    assert httpx.get(second["output"][0]).status_code == 200
    sandbox.fault(kind="expire_outputs")
    assert httpx.get(second["output"][0]).status_code == 404


@pytest.mark.usefixtures("trained")
def test_training_urls_under_predictions(sandbox: Any, photos: bytes) -> None:
    sandbox.fault(kind="training_urls_under_predictions")
    training = sandbox.train(photos, "trained")
    assert training["urls"]["get"] == f"{sandbox.base}/v1/predictions/{training['id']}"
    assert sandbox.train(photos, "trained")["urls"]["get"].startswith(f"{sandbox.base}/v1/trainings/")


def test_time_can_be_stopped_and_not_turned_back(sandbox: Any, trained: str) -> None:
    sandbox.clock(scale=0.0)
    made = sandbox.predict(trained)
    time.sleep(0.3)
    assert sandbox.api.get(f"/predictions/{made['id']}").json()["status"] == "starting"
    assert sandbox.raw.post("/_sandbox/clock", json={"advance_s": -1}).status_code == 422
    assert sandbox.raw.post("/_sandbox/clock", json={"scale": -1}).status_code == 422
