"""What survives the end of the process."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import httpx

SERVER = """
    import sys
    from pathlib import Path
    import uvicorn
    from visiona.sandbox.replicate import ReplicateSandboxConfig, create_app
    port, folder, seconds = int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    config = ReplicateSandboxConfig(
        folder, f"http://127.0.0.1:{port}", "r8_sandbox", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        training_seconds=seconds, generation_seconds=seconds,
    )
    uvicorn.run(create_app(config), port=port, log_level="error")
"""


def test_clones_and_pictures_survive(run_sandbox: Any, tmp_path: Path, photos: bytes) -> None:
    with run_sandbox(tmp_path) as first:
        port = httpx.URL(first.base).port
        first.create_model("kept")
        training = first.train(photos, "kept")
        version = training["output"]["version"].partition(":")[2]
        before = first.pictures(version, seed=5)
        uploaded = first.upload(b"kept too")
        predictions = first.api.get("/predictions").json()["results"]
    with run_sandbox(tmp_path, port=port) as second:
        assert second.pictures(version, seed=5) == before
        assert second.api.get(f"/trainings/{training['id']}").json() == training
        assert second.api.get(f"/files/{uploaded['id']}").json() == uploaded
        assert second.api.get("/predictions").json()["results"][1:] == predictions
        assert httpx.get(predictions[0]["output"][0]).status_code == 200
        assert httpx.get(training["output"]["weights"]).status_code == 200
        assert second.train(photos, "kept")["status"] == "succeeded"


def test_unfinished_jobs_and_deletions_are_taken_up_again(
    run_sandbox: Any, tmp_path: Path, photos: bytes, receiver: Any
) -> None:
    with run_sandbox(tmp_path, version_delete_seconds=3600) as first:
        first.create_model("half")
        version = first.train(photos, "half")["output"]["version"].partition(":")[2]
        doomed = first.train(photos, "half")["output"]["version"].partition(":")[2]
        first.api.delete(f"/models/visiona-sandbox/half/versions/{doomed}")
        first.clock(scale=0.0)
        body = {"webhook": receiver.url, "webhook_events_filter": ["completed"]}
        made = first.predict(version, body=body, seed=9)
    with run_sandbox(tmp_path) as second:
        finished = second.finished(f"/predictions/{made['id']}")
        assert finished["status"] == "succeeded"
        assert finished["created_at"] == made["created_at"]
        while len(second.api.get("/models/visiona-sandbox/half/versions").json()["results"]) > 1:
            time.sleep(0.02)
    assert receiver.statuses() == ["succeeded"]


def test_kill_in_the_middle_of_a_training(
    run_sandbox: Any, tmp_path: Path, photos: bytes, receiver: Any
) -> None:
    """A killed process leaves a training that the next one finishes, once."""
    port = free_port()
    process = start_process(port, tmp_path, seconds=60)
    try:
        api = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/v1", headers={"authorization": "Bearer r8_sandbox"}
        )
        wait_for(api)
        body = {"owner": "visiona-sandbox", "name": "killed", "visibility": "private", "hardware": "cpu"}
        assert api.post("/models", json=body).status_code == 201
        url = api.post("/files", files={"content": ("p.zip", photos)}).json()["urls"]["get"]
        trainer = api.get("/models/ostris/flux-dev-lora-trainer").json()["latest_version"]["id"]
        order = {
            "destination": "visiona-sandbox/killed",
            "input": {"input_images": url},
            "webhook": receiver.url,
            "webhook_events_filter": ["completed"],
        }
        path = f"/models/ostris/flux-dev-lora-trainer/versions/{trainer}/trainings"
        training = api.post(path, json=order).json()["id"]
        while "%|" not in api.get(f"/trainings/{training}").json()["logs"]:
            time.sleep(0.02)
        api.close()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with run_sandbox(tmp_path, port=port) as second:
        finished = second.finished(f"/trainings/{training}")
        assert finished["status"] == "succeeded"
        versions = second.api.get("/models/visiona-sandbox/killed/versions").json()["results"]
        assert [f"visiona-sandbox/killed:{one['id']}" for one in versions] == [finished["output"]["version"]]
        assert second.pictures(versions[0]["id"])
    assert receiver.statuses() == ["succeeded"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def start_process(port: int, folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    code = textwrap.dedent(SERVER)
    return subprocess.Popen([sys.executable, "-c", code, str(port), str(folder), str(seconds)])


def wait_for(api: httpx.Client) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            api.get("/account")
        except httpx.ConnectError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return
