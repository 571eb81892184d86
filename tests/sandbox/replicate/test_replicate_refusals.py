"""What the sandbox refuses, and in which words."""

from typing import Any

import httpx
import pytest

from visiona.sandbox.guard import SandboxInProductionError
from visiona.sandbox.replicate import ReplicateSandboxConfig, create_app

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TRAINER = "/models/ostris/flux-dev-lora-trainer"
VERSION = "26dce37af90b9d997eeb970d92e47de3064d46c300504ae376c75bef6a9022d2"
TRAININGS = f"{TRAINER}/versions/{VERSION}/trainings"


def fields(answer: httpx.Response) -> set[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    body = answer.json()
    for field in body["invalid_fields"]:
        assert f"- {field['field']}: {field['description']}\n" in body["detail"]
    assert body["title"] == "Input validation failed"
    return {(field["type"], field["field"]) for field in body["invalid_fields"]}


@pytest.mark.parametrize("environment", ["production", "Production "])
def test_does_not_start_in_production(environment: str, tmp_path: Any) -> None:
    config = ReplicateSandboxConfig(tmp_path, "http://127.0.0.1:1", "t", SECRET, environment=environment)
    with pytest.raises(SandboxInProductionError):
        create_app(config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"public_url": "http://x/v1"}, {"webhook_secret": "whsec_?"}])
def test_refuses_a_config_that_cannot_work(change: dict[str, str], tmp_path: Any) -> None:
    settings = {"public_url": "http://127.0.0.1:1", "token": "t", "webhook_secret": SECRET, **change}
    with pytest.raises(ValueError, match=r"public_url|base64"):
        ReplicateSandboxConfig(tmp_path, **settings)


def test_secrets_stay_out_of_the_configs_repr(tmp_path: Any) -> None:
    shown = repr(ReplicateSandboxConfig(tmp_path, "http://127.0.0.1:1", "r8_private", SECRET))
    assert "r8_private" not in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({}, "You did not pass an authentication token"),
        ({"authorization": "Basic r8_sandbox"}, "You did not pass an authentication token"),
        ({"authorization": "Bearer r8_wrong"}, "You did not pass a valid authentication token"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/account", "/v1/predictions", "/_sandbox/state"])
def test_token_is_demanded(sandbox: Any, path: str, headers: dict[str, str], detail: str) -> None:
    answer = httpx.get(sandbox.base + path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {"title": "Unauthenticated", "detail": detail, "status": 401}


def test_older_token_scheme_works(sandbox: Any) -> None:
    answer = httpx.get(f"{sandbox.base}/v1/account", headers={"authorization": "Token r8_sandbox"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/models/visiona-sandbox/absent",
        "/models/visiona-sandbox/absent/versions",
        f"{TRAINER}/versions/{'0' * 64}",
        "/predictions/absent",
        "/trainings/absent",
        "/files/absent",
    ],
)
def test_what_is_not_there(sandbox: Any, path: str) -> None:
    answer = sandbox.api.get(path)
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")


def test_malformed_bodies(sandbox: Any) -> None:
    headers = {"content-type": "application/json"}
    assert sandbox.api.post("/predictions", content=b"{", headers=headers).status_code == 400
    assert sandbox.api.post("/predictions", content=b"[]", headers=headers).status_code == 400


def test_unknown_and_missing_keys_at_the_top_level(sandbox: Any, trained: str) -> None:
    unknown = {"version": trained, "input": {"prompt": "TOK"}, "lifetime": "30s"}
    assert fields(sandbox.api.post("/predictions", json=unknown)) == {
        ("additional_property_not_allowed", "lifetime")
    }
    assert fields(sandbox.api.post("/predictions", json={"version": trained})) == {("required", "input")}
    assert fields(sandbox.api.post(TRAININGS, json={"input": {}})) == {("required", "destination")}
    assert fields(sandbox.create_model("other", price="1")) == {("additional_property_not_allowed", "price")}


@pytest.mark.parametrize(
    ("inputs", "wrong"),
    [
        ({}, {("required", "input.prompt")}),
        ({"prompt": None}, {("invalid_type", "input.prompt")}),
        ({"prompt": "x", "colour": 1}, {("additional_property_not_allowed", "input.colour")}),
        ({"prompt": "x", "aspect_ratio": "2:1"}, {("enum", "input.aspect_ratio")}),
        ({"prompt": "x", "num_outputs": 5}, {("number_lte", "input.num_outputs")}),
        ({"prompt": "x", "num_outputs": 0}, {("number_gte", "input.num_outputs")}),
        ({"prompt": "x", "num_outputs": True}, {("invalid_type", "input.num_outputs")}),
        ({"prompt": "x", "seed": 1.5}, {("invalid_type", "input.seed")}),
        ({"prompt": "x", "width": 100}, {("number_gte", "input.width")}),
        ({"prompt": "x", "image": "file:///etc/passwd"}, {("format", "input.image")}),
        (
            {"prompt": 1, "output_format": "gif"},
            {("invalid_type", "input.prompt"), ("enum", "input.output_format")},
        ),
    ],
)
def test_inputs_are_checked_against_the_schema(
    sandbox: Any, trained: str, inputs: dict[str, Any], wrong: set[tuple[str, str]]
) -> None:
    before = sandbox.state()["posts"]["predictions"]["accepted"]
    assert fields(sandbox.api.post("/predictions", json={"version": trained, "input": inputs})) == wrong
    assert sandbox.state()["posts"]["predictions"]["accepted"] == before


def test_enum_refusal_lists_what_is_allowed(sandbox: Any, trained: str) -> None:
    body = {"version": trained, "input": {"prompt": "x", "megapixels": "2"}}
    detail = sandbox.api.post("/predictions", json=body).json()["detail"]
    assert detail == '- input.megapixels: input.megapixels must be one of the following: "1", "0.25"\n'


@pytest.mark.parametrize(
    "version", ["0" * 64, "visiona-sandbox/trained", "trained", f"somebody/else:{VERSION}", ""]
)
def test_versions_that_cannot_be_run(sandbox: Any, version: str) -> None:
    answer = sandbox.api.post("/predictions", json={"version": version, "input": {"prompt": "x"}})
    assert answer.status_code == 422
    assert answer.json()["title"] == "Invalid version or not permitted"


def test_owner_name_and_hash_is_a_version_too(sandbox: Any, trained: str) -> None:
    assert sandbox.predict(f"visiona-sandbox/trained:{trained}")["version"] == trained


def test_training_needs_a_version_and_a_destination_that_exist(sandbox: Any) -> None:
    body = {"destination": "visiona-sandbox/absent", "input": {}}
    missing = sandbox.api.post(TRAININGS, json=body)
    assert missing.status_code == 404
    assert missing.json() == {"detail": "The specified training destination does not exist", "status": 404}
    other = sandbox.api.post(f"{TRAINER}/versions/{'0' * 64}/trainings", json=body)
    assert (other.status_code, other.json()["title"]) == (422, "Invalid version or not permitted")


@pytest.mark.usefixtures("trained")
def test_training_inputs_are_checked(sandbox: Any) -> None:
    body = {"destination": "visiona-sandbox/trained", "input": {"steps": 2, "epochs": 3}}
    assert fields(sandbox.api.post(TRAININGS, json=body)) == {
        ("number_gte", "input.steps"),
        ("additional_property_not_allowed", "input.epochs"),
    }


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "http://10.0.0.1/hook",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1.example.com/",
        "http://localhost.example.com/",
        "ftp://127.0.0.1/x",
        "http://[::ffff:10.0.0.1]/",
        "not a url",
        "",
    ],
)
def test_never_reaches_off_this_machine(sandbox: Any, trained: str, url: str) -> None:
    prediction = {"version": trained, "input": {"prompt": "x"}, "webhook": url}
    assert fields(sandbox.api.post("/predictions", json=prediction)) == {("format", "webhook")}
    training = {"destination": "visiona-sandbox/trained", "input": {"input_images": url}}
    assert fields(sandbox.api.post(TRAININGS, json=training)) == {("format", "input.input_images")}


def test_unknown_webhook_events(sandbox: Any, trained: str) -> None:
    body = {
        "version": trained,
        "input": {"prompt": "x"},
        "webhook": "http://127.0.0.1:9/x",
        "webhook_events_filter": ["completed", "finished"],
    }
    assert fields(sandbox.api.post("/predictions", json=body)) == {("enum", "webhook_events_filter")}


@pytest.mark.parametrize(
    "headers", [{"prefer": "wait=0"}, {"prefer": "wait=61"}, {"cancel-after": "4s"}, {"cancel-after": "soon"}]
)
def test_malformed_headers(sandbox: Any, trained: str, headers: dict[str, str]) -> None:
    body = {"version": trained, "input": {"prompt": "x"}}
    answer = sandbox.api.post("/predictions", json=body, headers=headers)
    assert {field for _, field in fields(answer)} <= {"Prefer", "Cancel-After"}


def test_models_are_created_once_in_ones_own_account(sandbox: Any) -> None:
    assert sandbox.create_model("single").status_code == 201
    again = sandbox.create_model("single")
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "A model with that name and owner already exists.",
    )
    sandbox.fault(kind="duplicate_model", status=422)
    assert sandbox.create_model("single").status_code == 422
    assert sandbox.create_model("theirs", owner="ostris").status_code == 403
    assert fields(sandbox.create_model("Bad Name", hardware="abacus", visibility="secret")) == {
        ("pattern", "name"),
        ("enum", "hardware"),
        ("enum", "visibility"),
    }


def test_an_account_holds_a_thousand_models(run_sandbox: Any, tmp_path: Any) -> None:
    with run_sandbox(tmp_path, requests_per_minute=10_000) as server:
        for index in range(1000):
            assert server.create_model(f"shard-{index:04}").status_code == 201
        assert server.create_model("one-too-many").status_code == 422
        assert server.api.delete("/models/visiona-sandbox/shard-0500").status_code == 204
        assert server.create_model("fits-again").status_code == 201


def test_deletion_rules(sandbox: Any, trained: str) -> None:
    assert sandbox.api.delete(TRAINER).status_code == 403
    assert sandbox.api.delete(f"{TRAINER}/versions/{VERSION}").status_code == 403
    assert sandbox.api.patch(TRAINER, json={"description": "mine"}).status_code == 403
    assert sandbox.api.delete("/models/visiona-sandbox/trained").status_code == 422
    assert sandbox.create_model("open", visibility="public").status_code == 201
    assert sandbox.api.delete("/models/visiona-sandbox/open").status_code == 403
    assert sandbox.api.get(f"/models/visiona-sandbox/trained/versions/{trained}").status_code == 200


def test_files_are_checked(sandbox: Any) -> None:
    nothing = sandbox.api.post("/files", files={"filename": (None, "x.zip")})
    assert fields(nothing) == {("required", "content")}
    odd = sandbox.api.post("/files", files={"content": b"x"}, data={"metadata": "[1]"})
    assert fields(odd) == {("invalid_type", "metadata")}
    assert sandbox.api.post("/files", json={}).status_code == 415
    broken = sandbox.api.post(
        "/files", content=b"--x\r\nnonsense", headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert broken.status_code == 400


def test_predictions_with_the_trainer_itself_fail(sandbox: Any) -> None:
    made = sandbox.predict(VERSION)
    assert "trained versions only" in sandbox.finished(f"/predictions/{made['id']}")["error"]


def test_custom_aspect_ratio_needs_a_size(sandbox: Any, trained: str) -> None:
    made = sandbox.predict(trained, aspect_ratio="custom", width=512, height=None)
    failed = sandbox.finished(f"/predictions/{made['id']}")
    assert (failed["status"], failed["output"]) == ("failed", None)
    assert "width and height" in failed["error"]
