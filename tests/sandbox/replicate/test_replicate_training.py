"""The trainer reads what it is given, and fails in the documented words."""

import base64
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

TRAININGS = (
    "/models/ostris/flux-dev-lora-trainer/versions/"
    "26dce37af90b9d997eeb970d92e47de3064d46c300504ae376c75bef6a9022d2/trainings"
)


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    return buffer.getvalue()


def start(sandbox: Any, **inputs: Any) -> dict[str, Any]:
    answer = sandbox.api.post(TRAININGS, json={"destination": "visiona-sandbox/trained", "input": inputs})
    assert answer.status_code == 201, answer.text
    return sandbox.finished(f"/trainings/{answer.json()['id']}")


@pytest.fixture(autouse=True)
def destination(trained: str) -> str:
    return trained


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"this is no zip", "input_images must be a zip file"),
        (archive(**{"notes.txt": b"no pictures"}), "input_images must contain at least one image"),
        (
            archive(**{"__MACOSX/a.jpg": b"x", "._b.jpg": b"x"}),
            "input_images must contain at least one image",
        ),
        (archive(**{"broken.jpg": b"not a picture"}), "input_images must contain at least one image"),
    ],
)
def test_archives_that_hold_nothing(sandbox: Any, content: bytes, error: str) -> None:
    training = sandbox.train(content, "trained")
    assert (training["status"], training["error"]) == ("failed", error)
    assert "output" not in training


def test_inputs_without_which_there_is_no_training(sandbox: Any) -> None:
    assert start(sandbox)["error"] == "input_images must be provided"
    gone = f"{sandbox.base}/v1/files/aaaaaaaaaaaaaaaaaaaaaaaaaa"
    assert "404" in start(sandbox, input_images=gone)["error"]
    unheard = start(sandbox, input_images="http://127.0.0.1:9/photos.zip")
    assert unheard["error"] == "Failed to download an input file: ConnectError"


def test_layer_patterns(sandbox: Any, photos: bytes) -> None:
    failed = sandbox.train(photos, "trained", layers_to_optimize_regex="no_such_layer")
    assert failed["error"].startswith("The regex 'no_such_layer' didn't match any layers.")
    fits = "transformer.single_transformer_blocks.(7|12|16|20).proj_out"
    assert sandbox.train(photos, "trained", layers_to_optimize_regex=fits)["status"] == "succeeded"


def test_archive_as_data_url(sandbox: Any, photos: bytes) -> None:
    url = "data:application/zip;base64," + base64.b64encode(photos).decode()
    assert start(sandbox, input_images=url)["status"] == "succeeded"


@pytest.fixture
def web(photos: bytes) -> Iterator[str]:
    """A web server that gives the archive at `/photos.zip` and a redirect to it elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/photos.zip"
            self.send_response(200 if found else 302)
            self.send_header("content-length", str(len(photos) if found else 0))
            self.send_header("location", "/photos.zip")
            self.end_headers()
            self.wfile.write(photos if found else b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_archive_by_url_without_redirects(sandbox: Any, web: str) -> None:
    assert start(sandbox, input_images=f"{web}/photos.zip")["status"] == "succeeded"
    assert "302" in start(sandbox, input_images=f"{web}/moved.zip")["error"]


def test_progress_is_in_the_log(sandbox: Any, photos: bytes) -> None:
    logs = sandbox.train(photos, "trained", steps=1500, autocaption=True)["logs"]
    assert "Extracted 2 images" in logs
    assert "Captioning" not in logs  # every photo came with a caption
    lines = [line for line in logs.splitlines() if line.startswith("flux_train_replicate:")]
    assert lines[0].startswith("flux_train_replicate:   0%|          | 0/1500 [00:00<")
    assert lines[-1].startswith("flux_train_replicate: 100%|██████████| 1500/1500 [00:0")


def test_secrets_are_not_shown(sandbox: Any, photos: bytes) -> None:
    training = sandbox.train(photos, "trained", hf_token="hf_private")
    assert training["input"]["hf_token"] == "[REDACTED]"
    assert "hf_private" not in sandbox.raw.get("/_sandbox/state").text


def test_repeated_post_trains_twice(sandbox: Any, photos: bytes) -> None:
    url = sandbox.upload(photos)["urls"]["get"]
    before = sandbox.state()["posts"]["trainings"]["accepted"]
    first, second = start(sandbox, input_images=url), start(sandbox, input_images=url)
    assert first["output"]["version"] != second["output"]["version"]
    assert sandbox.state()["posts"]["trainings"]["accepted"] == before + 2


def test_newest_version_comes_first(sandbox: Any, photos: bytes) -> None:
    made = sandbox.train(photos, "trained")["output"]["version"].partition(":")[2]
    versions = sandbox.api.get("/models/visiona-sandbox/trained/versions").json()["results"]
    assert versions[0]["id"] == made
    model = sandbox.api.get("/models/visiona-sandbox/trained").json()
    assert model["latest_version"]["id"] == made
    assert model["is_official"] is False
