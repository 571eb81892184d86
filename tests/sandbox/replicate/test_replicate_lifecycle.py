"""Jobs from start to the removal of their data; lists, limits and the clock."""

import time
from datetime import datetime
from typing import Any

import httpx
import pytest

SMALL = {"aspect_ratio": "custom", "width": 256, "height": 256}


def test_prediction_goes_through_its_states(sandbox: Any, trained: str) -> None:
    sandbox.clock(scale=0.0)
    made = sandbox.predict(trained, num_outputs=2)
    assert (made["status"], made["output"], made["logs"]) == ("starting", None, "")
    assert "started_at" not in made
    sandbox.clock(scale=1.0)
    finished = sandbox.finished(f"/predictions/{made['id']}")
    assert (finished["status"], len(finished["output"])) == ("succeeded", 2)
    instants = [
        datetime.fromisoformat(finished[name]) for name in ("created_at", "started_at", "completed_at")
    ]
    assert instants == sorted(instants)
    assert finished["metrics"]["total_time"] >= finished["metrics"]["predict_time"] > 0
    assert finished["input"] == {"prompt": "TOK at the sea", "num_outputs": 2} | SMALL


def test_repeated_post_predicts_twice(sandbox: Any, trained: str) -> None:
    before = sandbox.state()["posts"]["predictions"]
    ids = {sandbox.predict(trained, seed=1)["id"] for _ in range(2)}
    after = sandbox.state()["posts"]["predictions"]
    assert len(ids) == 2
    assert {name: after[name] - before[name] for name in after} == {"received": 2, "accepted": 2}


@pytest.mark.parametrize("kind", ["predictions", "trainings"])
def test_cancel(sandbox: Any, trained: str, photos: bytes, kind: str) -> None:
    sandbox.fault(kind="cold_start", seconds=3600)
    if kind == "predictions":
        made = sandbox.predict(trained)
    else:
        url = sandbox.upload(photos)["urls"]["get"]
        trainer = sandbox.api.get("/models/ostris/flux-dev-lora-trainer").json()["latest_version"]["id"]
        body = {"destination": "visiona-sandbox/trained", "input": {"input_images": url}}
        path = f"/models/ostris/flux-dev-lora-trainer/versions/{trainer}/trainings"
        made = sandbox.api.post(path, json=body).json()
    path = f"/{kind}/{made['id']}"
    canceled = sandbox.api.post(f"{path}/cancel").json()
    assert canceled["status"] == "canceled"
    assert canceled["metrics"]["predict_time"] == 0
    # A second time is a quiet success, and nothing comes back to life.
    assert sandbox.api.post(f"{path}/cancel").json() == canceled
    sandbox.clock(advance_s=3600)
    assert sandbox.api.get(path).json()["status"] == "canceled"


def test_cancelling_a_finished_job_changes_nothing(sandbox: Any, trained: str) -> None:
    finished = sandbox.finished(f"/predictions/{sandbox.predict(trained)['id']}")
    assert sandbox.api.post(f"/predictions/{finished['id']}/cancel").json() == finished


def test_deadline_before_the_start_aborts_and_after_it_cancels(sandbox: Any, trained: str) -> None:
    body = {"version": trained, "input": {"prompt": "TOK", **SMALL}}
    headers = {"cancel-after": "1m5s"}
    sandbox.fault(kind="cold_start", seconds=600)
    early = sandbox.api.post("/predictions", json=body, headers=headers).json()
    lifetime = datetime.fromisoformat(early["deadline"]) - datetime.fromisoformat(early["created_at"])
    assert lifetime.total_seconds() == 65
    sandbox.clock(advance_s=66)
    assert sandbox.finished(f"/predictions/{early['id']}")["status"] == "aborted"


def test_running_job_is_canceled_at_its_deadline(run_sandbox: Any, tmp_path: Any, photos: bytes) -> None:
    with run_sandbox(tmp_path, generation_seconds=3600) as server:
        server.create_model("slow")
        version = server.train(photos, "slow")["output"]["version"].partition(":")[2]
        body = {"version": version, "input": {"prompt": "TOK", **SMALL}}
        made = server.api.post("/predictions", json=body, headers={"cancel-after": "60"}).json()
        server.clock(advance_s=2)
        while server.api.get(f"/predictions/{made['id']}").json()["status"] == "starting":
            time.sleep(0.02)
        server.clock(advance_s=60)
        assert server.finished(f"/predictions/{made['id']}")["status"] == "canceled"
        # Without a deadline of its own a prediction is stopped after half an hour.
        endless = server.predict(version)
        server.clock(advance_s=1700)
        assert "completed_at" not in server.api.get(f"/predictions/{endless['id']}").json()
        server.clock(advance_s=101)
        assert server.finished(f"/predictions/{endless['id']}")["status"] == "canceled"


def test_prefer_wait(sandbox: Any, trained: str) -> None:
    body = {"version": trained, "input": {"prompt": "TOK", **SMALL}}
    done = sandbox.api.post("/predictions", json=body, headers={"prefer": "wait"})
    assert (done.status_code, done.json()["status"]) == (201, "succeeded")
    assert done.headers["preference-applied"] == "wait"
    sandbox.fault(kind="cold_start", seconds=600)
    early = sandbox.api.post("/predictions", json=body, headers={"prefer": "wait=1"})
    assert (early.status_code, early.json()["status"]) == (202, "starting")
    assert early.headers["preference-applied"] == "wait=1"
    sandbox.api.post(f"/predictions/{early.json()['id']}/cancel")
    plain = sandbox.api.post("/predictions", json=body)
    assert "preference-applied" not in plain.headers


def test_data_is_gone_an_hour_after_the_end(run_sandbox: Any, tmp_path: Any, photos: bytes) -> None:
    with run_sandbox(tmp_path) as server:
        server.create_model("brief")
        training = server.train(photos, "brief")
        made = server.predict(training["output"]["version"].partition(":")[2])
        finished = server.finished(f"/predictions/{made['id']}")
        (url,) = finished["output"]
        server.clock(advance_s=3590)
        assert httpx.get(url).status_code == 200
        server.clock(advance_s=15)
        assert httpx.get(url).status_code == 404
        gone = server.api.get(f"/predictions/{made['id']}").json()
        assert (gone["status"], gone["output"], gone["data_removed"]) == ("succeeded", None, True)
        assert (gone["input"], gone["logs"]) == ({}, "")
        assert not list((tmp_path / "outputs").iterdir())
        # What was trained stays, and so does the record of it.
        assert httpx.get(training["output"]["weights"]).status_code == 200
        assert server.api.get(f"/trainings/{training['id']}").json()["input"] == training["input"]


def test_files_live_for_a_day(run_sandbox: Any, tmp_path: Any) -> None:
    with run_sandbox(tmp_path) as server:
        uploaded = server.upload(b"hello")
        lifetime = datetime.fromisoformat(uploaded["expires_at"]) - datetime.fromisoformat(
            uploaded["created_at"]
        )
        assert lifetime.total_seconds() == 24 * 3600
        server.clock(advance_s=24 * 3600 - 10)
        assert server.api.get(f"/files/{uploaded['id']}").status_code == 200
        server.clock(advance_s=11)
        assert server.api.get(f"/files/{uploaded['id']}").status_code == 404
        assert server.api.get("/files").json()["results"] == []
        assert not list((tmp_path / "uploads").iterdir())


def test_upload_is_described(sandbox: Any) -> None:
    answer = sandbox.api.post(
        "/files",
        files={"content": ("fotos ü.zip", b"abc", "application/zip")},
        data={"metadata": '{"customer": 7}'},
    ).json()
    assert (answer["name"], answer["content_type"], answer["size"]) == ("fotos ü.zip", "application/zip", 3)
    assert answer["metadata"] == {"customer": 7}
    assert answer["checksums"]["sha256"].startswith("ba7816bf")
    assert answer["checksums"]["md5"] == answer["etag"] == "900150983cd24fb0d6963f7d28e17f72"


def test_deleting_a_version_takes_its_predictions_along(
    run_sandbox: Any, tmp_path: Any, photos: bytes
) -> None:
    with run_sandbox(tmp_path, version_delete_seconds=120) as server:
        server.create_model("gone")
        training = server.train(photos, "gone")
        version = training["output"]["version"].partition(":")[2]
        kept = server.train(photos, "gone")["output"]["version"].partition(":")[2]
        finished = server.finished(f"/predictions/{server.predict(version)['id']}")
        path = f"/models/visiona-sandbox/gone/versions/{version}"
        assert server.api.delete(path).status_code == 202
        assert server.api.delete(path).status_code == 202
        assert server.api.get(path).status_code == 200
        body = {"version": version, "input": {"prompt": "TOK"}}
        assert server.api.post("/predictions", json=body).status_code == 422
        server.clock(advance_s=121)
        while server.api.get(path).status_code != 404:
            time.sleep(0.02)
        assert server.api.get(f"/predictions/{finished['id']}").status_code == 404
        assert httpx.get(finished["output"][0]).status_code == 404
        assert httpx.get(training["output"]["weights"]).status_code == 404
        versions = server.api.get("/models/visiona-sandbox/gone/versions").json()["results"]
        assert [one["id"] for one in versions] == [kept]


def test_lists_are_paged_by_a_hundred(run_sandbox: Any, tmp_path: Any) -> None:
    with run_sandbox(tmp_path) as server:
        for index in range(230):
            server.upload(b"x", f"{index}.txt")
        first = server.api.get("/files").json()
        assert first["previous"] is None
        assert [file["name"] for file in first["results"]] == [f"{i}.txt" for i in range(229, 129, -1)]
        assert first["next"].startswith(f"{server.base}/v1/files?")
        server.upload(b"x", "later.txt")  # moves nothing on the pages that follow
        second = server.api.get(first["next"]).json()
        third = server.api.get(second["next"]).json()
        assert [len(page["results"]) for page in (second, third)] == [100, 30]
        assert third["next"] is None
        assert third["results"][-1]["name"] == "0.txt"
        assert server.api.get(third["previous"]).json()["results"] == second["results"]
        assert server.api.get(second["previous"]).json()["results"] == first["results"]
        assert server.api.get("/files?cursor=nonsense").status_code == 422


def test_predictions_are_listed_by_time_and_source(run_sandbox: Any, tmp_path: Any) -> None:
    with run_sandbox(tmp_path) as server:
        trainer = server.api.get("/models/ostris/flux-dev-lora-trainer/versions").json()["results"][0]["id"]
        made = []
        for _ in range(3):
            made.append(server.predict(trainer))
            server.clock(advance_s=60)

        def listed(**query: str) -> list[str]:
            page = server.api.get("/predictions", params=query).json()
            return [prediction["id"] for prediction in page["results"]]

        ids = [prediction["id"] for prediction in made]
        assert listed() == ids[::-1]
        assert listed(created_after=made[1]["created_at"]) == [ids[2], ids[1]]
        assert listed(created_before=made[1]["created_at"]) == [ids[0]]
        assert listed(source="web") == []
        assert server.api.get("/predictions", params={"created_after": "yesterday"}).status_code == 422


def test_limits_are_enforced_and_announced(run_sandbox: Any, tmp_path: Any) -> None:
    with run_sandbox(tmp_path, predictions_per_minute=3, requests_per_minute=50) as server:
        body = {"version": "x", "input": {}}
        answers = [server.api.post("/predictions", json=body) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [422, 422, 422, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
        assert answers[-1].json() == {
            "detail": "Request was throttled. Your rate limit resets in ~1s.",
            "status": 429,
            "retry_after": 1,
        }
        assert server.api.get("/account").headers["ratelimit-reset"] == "1"
        server.clock(advance_s=20)
        assert server.api.post("/predictions", json=body).status_code == 422


def test_page_for_people_says_what_this_is(sandbox: Any, trained: str) -> None:
    made = sandbox.predict(trained, prompt="<script>private words</script>")
    page = httpx.get(sandbox.base)
    assert page.headers["content-type"].startswith("text/html")
    assert "It is not Replicate" in page.text
    assert made["id"] in page.text
    assert "private words" not in page.text
    assert httpx.get(made["urls"]["web"]).status_code == 200


def test_reset_forgets_everything(run_sandbox: Any, tmp_path: Any, photos: bytes) -> None:
    with run_sandbox(tmp_path) as server:
        server.create_model("old")
        server.train(photos, "old")
        server.fault(kind="drop_webhooks", times=None)
        server.clock(scale=0.0)
        server.predict(server.state()["trainings"][0]["output"]["version"].partition(":")[2])
        assert server.raw.post("/_sandbox/reset").status_code == 204
        state = server.state()
        assert state["counts"] == {"models": 1, "versions": 1, "files": 0, "trainings": {}, "predictions": {}}
        assert state["posts"]["trainings"] == {"received": 0, "accepted": 0}
        assert state["faults"] == []
        assert server.create_model("old").status_code == 201
        assert server.train(photos, "old")["status"] == "succeeded"
