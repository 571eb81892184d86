"""The provider's own client does the whole job against the sandbox."""

import io
import tarfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from replicate.exceptions import ModelError, ReplicateError

TRAINER = "ostris/flux-dev-lora-trainer"
VERSION = "26dce37af90b9d997eeb970d92e47de3064d46c300504ae376c75bef6a9022d2"


def test_create_upload_train_predict_download(sandbox: Any, photos: bytes) -> None:
    with sandbox.official() as client:
        account = client.accounts.current()
        assert "gpu-t4" in {hardware.sku for hardware in client.hardware.list()}
        model = client.models.create(
            owner=account.username, name="official", visibility="private", hardware="gpu-t4"
        )
        archive = io.BytesIO(photos)
        archive.name = "photos.zip"
        uploaded = client.files.create(archive)
        assert uploaded.size == len(photos)

        training = client.trainings.create(
            version=f"{TRAINER}:{VERSION}",
            input={"input_images": uploaded.urls["get"], "steps": 600, "trigger_word": "TOK"},
            destination=f"{model.owner}/{model.name}",
        )
        while training.status not in {"succeeded", "failed"}:
            time.sleep(0.05)
            training.reload()
        assert training.status == "succeeded", training.error
        assert "600/600" in training.logs

        version = client.models.get("visiona-sandbox/official").versions.get(
            training.output["version"].partition(":")[2]
        )
        assert version.openapi_schema["components"]["schemas"]["Input"]["required"] == ["prompt"]

        prediction = client.predictions.create(
            version=version.id,
            input={"prompt": "oil painting of TOK", "num_outputs": 2, "seed": 3, "megapixels": "0.25"},
        )
        prediction.wait()
        assert prediction.status == "succeeded", prediction.error
        assert prediction.progress.current == prediction.progress.total == 28
        names = [url.rpartition("/")[2] for url in prediction.output]
        assert names == ["out-0.webp", "out-1.webp"]
        for url in prediction.output:
            image = Image.open(io.BytesIO(httpx.get(url).content))
            assert (image.format, image.size) == ("WEBP", (512, 512))

        weights = io.BytesIO(httpx.get(training.output["weights"]).content)
        with tarfile.open(fileobj=weights) as tar:
            names = tar.getnames()
        assert "output/flux_train_replicate/lora.safetensors" in names
        assert "output/flux_train_replicate/captions/photo-0.txt" in names
        client.files.delete(uploaded.id)


def test_run_returns_pictures_at_once(sandbox: Any, trained: str) -> None:
    with sandbox.official() as client:
        outputs = client.run(
            f"visiona-sandbox/trained:{trained}", input={"prompt": "TOK in space", "megapixels": "0.25"}
        )
        picture = np.asarray(Image.open(io.BytesIO(httpx.get(outputs[0]).content)))
        assert picture.std() > 10


def test_failures_reach_the_client(sandbox: Any, trained: str) -> None:
    with sandbox.official() as client:
        with pytest.raises(ReplicateError) as refused:
            client.models.get("visiona-sandbox/absent")
        assert refused.value.status == 404
        sandbox.fault(kind="fail_prediction", text="CUDA out of memory")
        with pytest.raises(ModelError, match="CUDA out of memory"):
            client.run(f"visiona-sandbox/trained:{trained}", input={"prompt": "TOK"})


def test_lists_and_secrets_parse(run_sandbox: Any, tmp_path: Path, photos: bytes) -> None:
    """On a sandbox of its own: the client cannot read a list in which anything was ever aborted."""
    with run_sandbox(tmp_path, training_seconds=0.2) as server, server.official() as client:
        server.create_model("trained")
        version = server.train(photos, "trained")["output"]["version"].partition(":")[2]
        made = client.predictions.create(version=version, input={"prompt": "TOK"})
        page = client.predictions.list()
        assert [prediction.id for prediction in page.results] == [made.id]
        assert all(prediction.version for prediction in page.results)
        assert client.webhooks.default.secret().key.startswith("whsec_")
