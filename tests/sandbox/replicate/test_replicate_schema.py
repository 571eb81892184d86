"""Every documented answer of the sandbox, against the provider's published document."""

import base64
import time
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from visiona.sandbox.replicate.signing import sign_download

OPERATIONS = {
    ("get", "/account", 200),
    ("get", "/hardware", 200),
    ("post", "/models", 201),
    ("get", "/models", 200),
    ("get", "/models/{model_owner}/{model_name}", 200),
    ("patch", "/models/{model_owner}/{model_name}", 200),
    ("delete", "/models/{model_owner}/{model_name}", 204),
    ("get", "/models/{model_owner}/{model_name}/readme", 200),
    ("get", "/models/{model_owner}/{model_name}/readme", 404),
    ("get", "/models/{model_owner}/{model_name}/examples", 200),
    ("get", "/models/{model_owner}/{model_name}/versions", 200),
    ("get", "/models/{model_owner}/{model_name}/versions/{version_id}", 200),
    ("delete", "/models/{model_owner}/{model_name}/versions/{version_id}", 202),
    ("post", "/models/{model_owner}/{model_name}/versions/{version_id}/trainings", 201),
    ("get", "/trainings", 200),
    ("get", "/trainings/{training_id}", 200),
    ("post", "/trainings/{training_id}/cancel", 200),
    ("post", "/predictions", 201),
    ("post", "/predictions", 202),
    ("get", "/predictions", 200),
    ("get", "/predictions/{prediction_id}", 200),
    ("post", "/predictions/{prediction_id}/cancel", 200),
    ("post", "/files", 201),
    ("post", "/files", 413),
    ("get", "/files", 200),
    ("get", "/files/{file_id}", 200),
    ("get", "/files/{file_id}", 404),
    ("delete", "/files/{file_id}", 204),
    ("delete", "/files/{file_id}", 404),
    ("get", "/files/{file_id}/download", 200),
    ("get", "/files/{file_id}/download", 404),
    ("get", "/webhooks/default/secret", 200),
}


def test_every_documented_answer_validates(
    specification: Any, run_sandbox: Any, tmp_path: Any, photos: bytes
) -> None:
    if specification is None:
        pytest.skip("the provider's OpenAPI document is not at hand (set VISIONA_CONTRACTS_DIR)")
    specification.seen.clear()
    with run_sandbox(tmp_path, max_file_bytes=2_000_000, generation_seconds=1.5) as server:
        _tour_of_models(server)
        version = _tour_of_trainings(server, photos)
        _tour_of_predictions(server, version)
        _tour_of_files(server)
        _tour_of_deletion(server, version)
    assert OPERATIONS - specification.seen == set()


def _tour_of_models(server: Any) -> None:
    api = server.api
    api.get("/account")
    api.get("/hardware")
    api.get("/webhooks/default/secret")
    server.create_model("tour", description="A tour", github_url="https://github.com/acme/tour")
    path = "/models/visiona-sandbox/tour"
    assert api.get(f"{path}/readme").status_code == 404
    changed = api.patch(path, json={"description": "A longer tour", "readme": "# Tour"}).json()
    assert changed["description"] == "A longer tour"
    assert api.get(f"{path}/readme").text == "# Tour"
    assert api.get(path).json()["latest_version"] is None
    api.get(f"{path}/examples")
    assert [model["name"] for model in api.get("/models").json()["results"]] == ["flux-dev-lora-trainer"]


def _tour_of_trainings(server: Any, photos: bytes) -> str:
    api = server.api
    training = server.train(photos, "tour")
    server.fault(kind="fail_training", text="out of memory")
    assert server.train(photos, "tour")["status"] == "failed"
    server.clock(scale=0.0)
    body = {
        "destination": "visiona-sandbox/tour",
        "input": {"input_images": server.upload(photos)["urls"]["get"]},
    }
    trainer = "/models/ostris/flux-dev-lora-trainer"
    (version,) = api.get(f"{trainer}/versions").json()["results"]
    canceled = api.post(f"{trainer}/versions/{version['id']}/trainings", json=body).json()
    assert api.post(f"/trainings/{canceled['id']}/cancel").json()["status"] == "canceled"
    server.clock(scale=1.0)
    statuses = [one["status"] for one in api.get("/trainings").json()["results"]]
    assert statuses == ["canceled", "failed", "succeeded"]
    return training["output"]["version"].partition(":")[2]


def _tour_of_predictions(server: Any, version: str) -> None:
    api = server.api
    body = {"version": version, "input": {"prompt": "TOK", "megapixels": "0.25"}}
    assert api.post("/predictions", json=body, headers={"prefer": "wait"}).status_code == 201
    late = api.post("/predictions", json=body, headers={"prefer": "wait=1"})
    assert late.status_code == 202
    assert late.headers["preference-applied"] == "wait=1"
    with_deadline = api.post("/predictions", json=body, headers={"cancel-after": "1m"}).json()
    assert "deadline" in with_deadline
    assert api.post(f"/predictions/{with_deadline['id']}/cancel").json()["status"] == "canceled"
    assert len(api.get("/predictions").json()["results"]) == 3
    finished = server.finished(f"/predictions/{late.json()['id']}")
    server.fault(kind="expire_outputs", id=finished["id"])
    assert api.get(f"/predictions/{finished['id']}").json()["data_removed"] is True


def _tour_of_files(server: Any) -> None:
    api = server.api
    uploaded = server.upload(b"hello", "hello.txt")
    assert api.get(f"/files/{uploaded['id']}").json() == uploaded
    assert uploaded in api.get("/files").json()["results"]
    expiry = int(time.time()) + 60
    signature = sign_download(server.config.webhook_secret, "visiona-sandbox", uploaded["id"], expiry)
    query = f"owner=visiona-sandbox&expiry={expiry}&signature={quote(signature, safe='')}"
    assert api.get(f"/files/{uploaded['id']}/download?{query}").content == b"hello"
    forged = base64.b64encode(bytes(32)).decode()
    bad = f"owner=visiona-sandbox&expiry={expiry}&signature={quote(forged, safe='')}"
    assert api.get(f"/files/{uploaded['id']}/download?{bad}").status_code == 404
    assert api.delete(f"/files/{uploaded['id']}").status_code == 204
    assert api.delete(f"/files/{uploaded['id']}").status_code == 404
    assert api.get(f"/files/{uploaded['id']}").status_code == 404
    refused = api.post("/files", files={"content": ("big.zip", bytes(2_000_001))})
    assert refused.json()["detail"] == "Files must be less than 2MB in size"


def _tour_of_deletion(server: Any, version: str) -> None:
    api = server.api
    path = "/models/visiona-sandbox/tour"
    assert api.get(f"{path}/versions/{version}").status_code == 200
    assert api.delete(f"{path}/versions/{version}").status_code == 202
    server.clock(advance_s=60)
    while api.get(f"{path}/versions").json()["results"]:
        time.sleep(0.02)
    assert api.delete(path).status_code == 204


def test_trained_version_describes_its_inputs_as_cog_does(sandbox: Any, trained: str) -> None:
    version = sandbox.api.get(f"/models/visiona-sandbox/trained/versions/{trained}").json()
    schemas = version["openapi_schema"]["components"]["schemas"]
    properties = schemas["Input"]["properties"]
    ratio = properties["aspect_ratio"]
    assert ratio["allOf"] == [{"$ref": "#/components/schemas/aspect_ratio"}]
    assert ratio["default"] == "1:1"
    assert schemas["aspect_ratio"]["enum"][-1] == "custom"
    assert len(schemas["aspect_ratio"]["enum"]) == 12
    guidance = {name: properties["guidance_scale"][name] for name in ("default", "minimum", "maximum")}
    assert guidance == {"default": 3, "minimum": 0, "maximum": 10}
    assert properties["seed"]["nullable"] is True
    assert "default" not in properties["seed"]
    assert sorted(field["x-order"] for field in properties.values()) == list(range(21))


def test_published_input_schema_is_the_one_that_is_enforced(sandbox: Any, trained: str) -> None:
    """What the version's own schema accepts, POST accepts, and the reverse."""
    version = sandbox.api.get(f"/models/visiona-sandbox/trained/versions/{trained}").json()
    resource = Resource(contents=version["openapi_schema"], specification=DRAFT202012)
    registry = Registry().with_resource("urn:cog", resource)
    validator = jsonschema.Draft202012Validator(
        {"$ref": "urn:cog#/components/schemas/Input"}, registry=registry
    )
    for inputs in (
        {"prompt": "TOK"},
        {},
        {"prompt": 7},
        {"prompt": "TOK", "num_outputs": 5},
        {"prompt": "TOK", "num_outputs": 4},
        {"prompt": "TOK", "aspect_ratio": "2:1"},
        {"prompt": "TOK", "lora_scale": -1.5},
        {"prompt": "TOK", "megapixels": "0.25", "output_format": "png"},
    ):
        body = {"version": trained, "input": inputs}
        answer = sandbox.api.post("/predictions", json=body)
        if answer.status_code == 201:
            sandbox.api.post(f"/predictions/{answer.json()['id']}/cancel")
        assert answer.status_code == (201 if validator.is_valid(inputs) else 422), inputs


def test_trainer_schema_has_the_documented_training_inputs(sandbox: Any) -> None:
    (version,) = sandbox.api.get("/models/ostris/flux-dev-lora-trainer/versions").json()["results"]
    inputs = version["openapi_schema"]["components"]["schemas"]["TrainingInput"]["properties"]
    defaults = {
        name: inputs[name].get("default") for name in ("steps", "lora_rank", "learning_rate", "resolution")
    }
    assert defaults == {"steps": 1000, "lora_rank": 16, "learning_rate": 0.0004, "resolution": "512,768,1024"}
    assert (inputs["steps"]["minimum"], inputs["steps"]["maximum"]) == (3, 6000)
    assert inputs["hf_token"]["x-cog-secret"] is True
