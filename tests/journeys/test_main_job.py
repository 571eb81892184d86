"""The main job over plain HTTP: from signing up to deleting an image."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from tests.journeys.conftest import PASSWORD, NewPerson, Person, Stack, both_identities, builtin, wait_until

pytestmark = pytest.mark.journey


@both_identities
def test_from_sign_up_to_deleting_an_image(stack: Stack, new_person: NewPerson, grace: list[Path]) -> None:
    person = new_person(stack, "grace@example.com")

    uploaded = person.upload(grace)
    assert len(uploaded["photos"]) == 12
    assert uploaded["rejected"] == []

    model = person.train("GRACE", parameters={"steps": 500})
    assert model["status"] == "Processing"
    assert model["parameters"]["steps"] == 500
    assert model["parameters"]["lora_rank"] == 16
    ready = person.trained(model["id"])
    assert ready["status"] == "Ready", ready
    assert ready["progress"] == 1
    assert ready["ready_at"]

    plain = person.finished(
        person.generate(
            ready["id"], "as an astronaut", num_outputs=2, aspect_ratio="3:2", seed=7, megapixels="1"
        )["id"]
    )
    assert plain["status"] == "succeeded", plain
    assert plain["enhancement"] == {"provider": None, "outcome": "not_requested"}
    assert [(image["width"], image["height"]) for image in plain["images"]] == [(1216, 832)] * 2
    assert all(image["seed"] == 7 for image in plain["images"])

    enhanced = person.finished(person.generate(ready["id"], "GRACE on a beach", enhance=True)["id"])
    assert enhanced["status"] == "succeeded", enhanced
    assert enhanced["enhancement"] == {"provider": "openai", "outcome": "enhanced"}
    assert "GRACE" in enhanced["enhanced_prompt"]
    assert len(enhanced["enhanced_prompt"]) > len("GRACE on a beach")
    assert enhanced["images"][0]["prompt"] == "GRACE on a beach"

    gallery = person.gallery()
    assert [image["id"] for image in gallery] == sorted((i["id"] for i in gallery), reverse=True)
    assert len(gallery) == 3
    oldest = [image["id"] for image in person.gallery(order="oldest", limit=2)]
    assert oldest == [image["id"] for image in reversed(gallery)]
    assert person.quota()["images"] == {"used": 3, "limit": 30}
    assert person.quota()["clones"] == {"used": 1, "limit": 2}
    stack.assert_ledger_holds()

    # A link opens without any header, and nothing else opens the object.
    picture = httpx.get(stack.url + gallery[0]["image_url"])
    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/webp"
    assert "private" in picture.headers["cache-control"]
    tampered = gallery[0]["image_url"].replace("expires=", "expires=9")
    assert httpx.get(stack.url + tampered).status_code == 404
    assert httpx.get(stack.url + gallery[0]["image_url"].partition("?")[0]).status_code == 404

    # Somebody else sees none of it.
    stranger = new_person(stack, "eileen@example.com")
    for kind, row_id in (
        ("models", ready["id"]),
        ("generate", plain["id"]),
        ("gallery", gallery[0]["id"]),
        ("photos", uploaded["photos"][0]["id"]),
    ):
        foreign = stranger.http.get(f"/api/{kind}/{row_id}")
        nothing = stranger.http.get(f"/api/{kind}/999999")
        assert (foreign.status_code, foreign.content) == (404, nothing.content)
    assert stranger.gallery() == []
    refused = stranger.http.post("/api/gallery/delete", json={"ids": [gallery[0]["id"]]})
    assert refused.json() == {"deleted": [], "not_found": [gallery[0]["id"]]}
    assert (
        stranger.http.post("/api/generate", json={"model_id": ready["id"], "prompt": "x"}).status_code == 404
    )

    # Deleting takes the objects away too.
    before = stack.object_keys()
    deleted = person.http.post("/api/gallery/delete", json={"ids": [gallery[0]["id"], 424242]})
    assert deleted.json() == {"deleted": [gallery[0]["id"]], "not_found": [424242]}
    wait_until(lambda: len(stack.object_keys()) == len(before) - 2, 20)
    assert httpx.get(stack.url + gallery[0]["image_url"]).status_code == 404
    assert len(person.gallery()) == 2

    # Nothing of the person's is in a log.
    for log in ("serve", "worker"):
        text = stack.log(log)
        assert "beach" not in text
        assert "example.com" not in text
        assert "signature=" not in text
        assert PASSWORD not in text
        assert "Traceback" not in text, text


@pytest.fixture(scope="module")
def ready(stack: Stack, grace: list[Path]) -> Iterator[tuple[Person, int]]:
    """Somebody, and their clone."""
    person = Person(stack, "ready@example.com")
    yield person, person.ready_clone(grace)
    person.close()


@builtin
def test_the_same_seed_makes_the_same_picture(stack: Stack, ready: tuple[Person, int]) -> None:
    person, model_id = ready

    def digest(**inputs: object) -> str:
        """Of the pixels: what says where a picture comes from is signed anew for each file."""
        run = person.finished(person.generate(model_id, "TOK in the snow", **inputs)["id"])
        content = httpx.get(stack.url + run["images"][0]["image_url"]).raise_for_status().content
        with Image.open(io.BytesIO(content)) as image:
            return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()

    assert digest(seed=1) == digest(seed=1)
    assert digest(seed=1) != digest(seed=2)


@builtin
def test_waiting_for_the_answer(ready: tuple[Person, int]) -> None:
    person, model_id = ready
    used = person.quota()["images"]["used"]
    answer = person.http.post(
        "/api/generate",
        json={"model_id": model_id, "prompt": "TOK at sea"},
        headers={"Prefer": "wait=30", "Idempotency-Key": "once"},
    )
    assert answer.status_code == 200
    assert answer.json()["status"] == "succeeded"
    assert len(answer.json()["images"]) == 1

    # The same key with the same body spends once and answers the same.
    again = person.http.post(
        "/api/generate",
        json={"model_id": model_id, "prompt": "TOK at sea"},
        headers={"Idempotency-Key": "once"},
    )
    assert again.json()["id"] == answer.json()["id"]
    other = person.http.post(
        "/api/generate",
        json={"model_id": model_id, "prompt": "TOK on land"},
        headers={"Idempotency-Key": "once"},
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert person.quota()["images"]["used"] == used + 1


@builtin
def test_events_tell_of_progress(ready: tuple[Person, int]) -> None:
    person, model_id = ready
    with person.http.stream("GET", "/api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        next(lines)
        run_id = person.generate(model_id)["id"]
        statuses = []
        for line in lines:
            if line.startswith("data: ") and f'"id":{run_id},' in line:
                statuses.append(line.partition('"status":"')[2].partition('"')[0])
                if statuses[-1] == "succeeded":
                    break
    assert statuses[0] == "queued"
    assert "running" in statuses


@builtin
def test_cancel(stack: Stack, new_person: NewPerson, grace: list[Path]) -> None:
    person = new_person(stack, "ada@example.com")
    person.upload(grace)
    model = person.train()
    assert person.http.delete(f"/api/models/{model['id']}").json()["code"] == "clone_busy"
    assert person.http.post(f"/api/models/{model['id']}/cancel").status_code == 202
    ended = person.trained(model["id"])
    assert (ended["status"], ended["error"]["code"]) == ("Failed", "training_canceled")
    assert person.quota()["clones"]["used"] == 0
    assert person.http.delete(f"/api/models/{model['id']}").status_code == 204

    model_id = person.trained(person.train()["id"])["id"]
    run = person.generate(model_id)
    assert person.http.post(f"/api/generate/{run['id']}/cancel").status_code == 202
    assert person.finished(run["id"])["status"] == "canceled"
    assert person.quota()["images"]["used"] == 0
