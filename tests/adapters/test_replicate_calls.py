"""What is sent to Replicate, and the calls that take more than one request."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from visiona.adapters.egress import Destinations
from visiona.adapters.http import make_http_client
from visiona.adapters.replicate import (
    ReplicateClient,
    ReplicateConfig,
    ReplicateGenerator,
    ReplicateTrainer,
)
from visiona.ports.errors import ProviderNotFound, ProviderRejected, ProviderUnavailable
from visiona.ports.generator import GenerationOrder
from visiona.ports.remote import RemoteState
from visiona.ports.trainer import TrainingOrder

HASH = "ab" * 32
VERSION = f"visiona/visiona-00:{HASH}"
SINCE = datetime(2026, 1, 1, 12, tzinfo=UTC)
ARCHIVE = "https://api.replicate.com/v1/files/abc"
HOOK = "https://visiona.test/api/webhooks/replicate?run=1"
TRAINING_ORDER = TrainingOrder(ARCHIVE, "visiona/visiona-00", {"steps": 100, "trigger_word": "JANE"}, HOOK)
INPUTS: dict[str, Any] = {"prompt": "a wizard", "seed": 7, "guidance_scale": 3.0, "tags": ["a", {"b": 1}]}
GENERATION_ORDER = GenerationOrder(VERSION, INPUTS, HOOK)
JOB: dict[str, Any] = {"id": "job1", "status": "processing"}


@pytest.fixture
def config(scripted_server: Any) -> ReplicateConfig:
    return ReplicateConfig(token="r8_sekrit", base_url=f"{scripted_server.url}/v1", retry_budget_s=0.05)


@pytest.fixture
async def client(config: ReplicateConfig) -> AsyncGenerator[ReplicateClient]:
    client = ReplicateClient(config)
    yield client
    await client.aclose()


def asked(server: Any) -> list[str]:
    return [f"{exchange.method} {exchange.target}" for exchange in server.exchanges]


# One request


async def test_starting_a_training_sends_the_order(scripted_server: Any, client: ReplicateClient) -> None:
    scripted_server.answers = [scripted_server.json(201, JOB)]

    await ReplicateTrainer(client).start_training(TRAINING_ORDER)

    (exchange,) = scripted_server.exchanges
    assert exchange.target == (
        f"/v1/models/ostris/flux-dev-lora-trainer/versions/{client.config.trainer_version}/trainings"
    )
    assert exchange.headers["content-type"] == "application/json"
    assert exchange.json() == {
        "destination": "visiona/visiona-00",
        "input": {"input_images": ARCHIVE, "steps": 100, "trigger_word": "JANE"},
        "webhook": HOOK,
        "webhook_events_filter": ["start", "completed"],
    }


async def test_starting_a_prediction_sends_the_order_and_nothing_else(
    scripted_server: Any, client: ReplicateClient
) -> None:
    scripted_server.answers = [scripted_server.json(202, JOB)]
    generator = ReplicateGenerator(client)

    await generator.start_prediction(GENERATION_ORDER)
    await generator.start_prediction(GenerationOrder(HASH, INPUTS, None))

    with_hook, without = scripted_server.exchanges
    assert with_hook.json() == {
        "version": HASH,
        "input": INPUTS,
        "webhook": HOOK,
        "webhook_events_filter": ["start", "completed"],
    }
    assert without.json() == {"version": HASH, "input": INPUTS}
    assert "prefer" not in with_hook.headers


async def test_ids_that_cannot_be_ids_never_reach_a_path(
    scripted_server: Any, client: ReplicateClient
) -> None:
    trainer, generator = ReplicateTrainer(client), ReplicateGenerator(client)
    for strange in ("", "..", "a/b", "a?b", "a#b", "a%2fb", "a" * 129, "ä"):
        for call in (
            trainer.get_training,
            trainer.cancel_training,
            trainer.delete_archive,
            trainer.input_schema,
            trainer.delete_version,
            generator.get_prediction,
            generator.cancel_prediction,
        ):
            with pytest.raises(ProviderNotFound, match="malformed"):
                await call(strange)

    assert scripted_server.connections == 0


async def test_a_deleted_thing_may_be_deleted_again(scripted_server: Any, client: ReplicateClient) -> None:
    trainer = ReplicateTrainer(client)
    accepted, there, gone = (
        scripted_server.reply(202),
        scripted_server.json(200, {}),
        scripted_server.json(404, {}),
    )
    for answers, is_gone in (([accepted, there], False), ([accepted, gone], True), ([gone], True)):
        scripted_server.answers = answers
        assert await trainer.delete_version(VERSION) is is_gone
    for answer in (scripted_server.reply(204), gone):
        scripted_server.answers = [answer]
        await trainer.delete_archive("file1")

    assert asked(scripted_server)[0] == f"DELETE /v1/models/visiona/visiona-00/versions/{HASH}"
    assert asked(scripted_server)[-1] == "DELETE /v1/files/file1"


@pytest.mark.parametrize("code", [403, 409, 422])
async def test_a_destination_goes_only_where_it_is_empty(
    scripted_server: Any, client: ReplicateClient, code: int
) -> None:
    trainer = ReplicateTrainer(client)
    scripted_server.answers = [scripted_server.json(200, {"username": "visiona"})]
    await client.owner()
    version = {"id": HASH, "created_at": "2026-01-01T00:00:00Z"}
    refused = scripted_server.json(code, {"detail": "It has versions."})
    for answers, gone in (
        ([scripted_server.reply(204)], True),
        ([scripted_server.json(404, {})], True),
        ([refused, scripted_server.json(200, {"results": [version], "next": None})], False),
    ):
        scripted_server.answers = answers
        assert await trainer.remove_destination(3) is gone
    scripted_server.answers = [refused, scripted_server.json(200, {"results": [], "next": None})]
    with pytest.raises(ProviderRejected):
        await trainer.remove_destination(3)
    assert asked(scripted_server)[-2:] == [
        "DELETE /v1/models/visiona/visiona-03",
        "GET /v1/models/visiona/visiona-03/versions",
    ]


async def test_a_destination_that_went_is_made_again_for_a_training(
    scripted_server: Any, client: ReplicateClient
) -> None:
    trainer = ReplicateTrainer(client)
    model = {"owner": "visiona", "name": "visiona-00", "visibility": "private"}
    gone = scripted_server.json(404, {})
    training = scripted_server.json(201, {"id": "job1", "status": "starting"})
    scripted_server.answers = [
        scripted_server.json(200, {"username": "visiona"}),
        scripted_server.json(201, model),
    ]
    assert await trainer.ensure_destination(0) == "visiona/visiona-00"
    scripted_server.answers = [gone, gone, scripted_server.json(201, model), training]
    assert (await trainer.start_training(TRAINING_ORDER)).id == "job1"

    scripted_server.answers = [gone, scripted_server.json(200, model)]  # the trainer itself is gone
    with pytest.raises(ProviderNotFound):
        await trainer.start_training(TRAINING_ORDER)


@pytest.mark.parametrize("code", [400, 409, 422])
async def test_canceling_a_finished_job_leaves_it_as_it_is(
    code: int, scripted_server: Any, client: ReplicateClient
) -> None:
    for cancel in (
        ReplicateTrainer(client).cancel_training,
        ReplicateGenerator(client).cancel_prediction,
    ):
        refusal = scripted_server.json(code, {"detail": "already finished"})
        scripted_server.answers = [refusal, scripted_server.json(200, JOB | {"status": "failed"})]
        assert (await cancel("job1")).state is RemoteState.FAILED

        scripted_server.answers = [refusal, scripted_server.json(200, JOB)]
        with pytest.raises(ProviderRejected):
            await cancel("job1")


# The account


async def test_the_owner_is_asked_once(scripted_server: Any, client: ReplicateClient) -> None:
    scripted_server.answers = [scripted_server.json(200, {"type": "user", "username": "jane"})]

    assert await asyncio.gather(client.owner(), client.owner(), client.owner()) == ["jane"] * 3
    assert asked(scripted_server) == ["GET /v1/account"]


@pytest.mark.parametrize("username", ["", "a/b", "..", None, 5])
async def test_an_owner_that_cannot_be_in_a_path_is_unusable(
    username: Any, scripted_server: Any, client: ReplicateClient
) -> None:
    scripted_server.answers = [scripted_server.json(200, {"username": username})]

    with pytest.raises(ProviderUnavailable, match="unusable_answer"):
        await client.owner()


async def test_the_webhook_secret_is_asked_once_and_again_only_after_a_while(
    scripted_server: Any, client: ReplicateClient
) -> None:
    scripted_server.answers = [
        scripted_server.json(200, {"key": "whsec_b2xk"}),
        scripted_server.json(200, {"key": "whsec_bmV3"}),
    ]
    old, both = ("whsec_b2xk",), ("whsec_bmV3", "whsec_b2xk")
    assert await asyncio.gather(client.webhook_secrets(), client.webhook_secrets()) == [old] * 2
    assert await client.webhook_secrets(refresh=True) == old
    assert asked(scripted_server) == ["GET /v1/webhooks/default/secret"]

    client._secret_asked_at -= 61

    assert await client.webhook_secrets() == old
    assert await client.webhook_secrets(refresh=True) == both
    assert await client.webhook_secrets(refresh=True) == both
    assert len(scripted_server.exchanges) == 2

    client._rotated_at -= 301

    assert await client.webhook_secrets() == ("whsec_bmV3",)


async def test_a_configured_webhook_secret_is_never_asked_for(
    scripted_server: Any, client: ReplicateClient
) -> None:
    configured = ReplicateClient(
        ReplicateConfig(token="r8_sekrit", base_url=client.config.base_url, webhook_secrets=("whsec_b2xk",))
    )

    assert await configured.webhook_secrets(refresh=True) == ("whsec_b2xk",)
    assert scripted_server.connections == 0
    await configured.aclose()


@pytest.mark.parametrize("key", ["", "whsec_", "whsec_%%%", None])
async def test_a_webhook_secret_that_cannot_sign_is_unusable(
    key: Any, scripted_server: Any, client: ReplicateClient
) -> None:
    scripted_server.answers = [scripted_server.json(200, {"key": key})]

    with pytest.raises(ProviderUnavailable, match="unusable_answer"):
        await client.webhook_secrets()


# The destination


def model(**changes: Any) -> dict[str, Any]:
    return {"owner": "jane", "name": "visiona-07", "visibility": "private", "run_count": 0} | changes


@pytest.fixture
def known_owner(client: ReplicateClient) -> None:
    client._owner = "jane"


@pytest.mark.usefixtures("known_owner")
async def test_a_destination_is_made_private_and_once(scripted_server: Any, client: ReplicateClient) -> None:
    scripted_server.answers = [scripted_server.json(201, model())]
    trainer = ReplicateTrainer(client)

    assert await trainer.ensure_destination(7) == "jane/visiona-07"
    assert await trainer.ensure_destination(7) == "jane/visiona-07"

    assert asked(scripted_server) == ["POST /v1/models"]
    assert scripted_server.exchanges[0].json() == {
        "owner": "jane",
        "name": "visiona-07",
        "visibility": "private",
        "hardware": "gpu-t4",
    }


@pytest.mark.usefixtures("known_owner")
@pytest.mark.parametrize("code", [409, 422])
async def test_a_destination_that_exists_is_used_if_it_is_ours_and_private(
    code: int, scripted_server: Any, client: ReplicateClient
) -> None:
    exists = scripted_server.json(code, {"detail": "A model with that name and owner already exists."})
    scripted_server.answers = [exists, scripted_server.json(200, model(owner="Jane"))]

    assert await ReplicateTrainer(client).ensure_destination(7) == "Jane/visiona-07"
    assert asked(scripted_server) == ["POST /v1/models", "GET /v1/models/jane/visiona-07"]


@pytest.mark.usefixtures("known_owner")
@pytest.mark.parametrize("changes", [{"visibility": "public"}, {"owner": "mallory"}])
async def test_a_destination_that_is_public_or_not_ours_is_refused(
    changes: dict[str, Any], scripted_server: Any, client: ReplicateClient
) -> None:
    found = scripted_server.json(200, model(**changes))
    for answers in ([scripted_server.json(409, {}), found], [scripted_server.json(201, model(**changes))]):
        scripted_server.answers = list(answers)
        with pytest.raises(ProviderRejected, match="destination_not_private"):
            await ReplicateTrainer(client).ensure_destination(7)


@pytest.mark.usefixtures("known_owner")
async def test_a_destination_that_is_refused_for_another_reason_says_so(
    scripted_server: Any, client: ReplicateClient
) -> None:
    scripted_server.answers = [
        scripted_server.json(422, {"detail": "hardware is not a valid choice"}),
        scripted_server.json(404, {}),
    ]

    with pytest.raises(ProviderRejected, match="invalid_input") as caught:
        await ReplicateTrainer(client).ensure_destination(7)

    assert caught.value.message == "hardware is not a valid choice"


@pytest.mark.usefixtures("known_owner")
async def test_a_destination_that_vanished_is_made_again(
    scripted_server: Any, client: ReplicateClient
) -> None:
    trainer = ReplicateTrainer(client)
    scripted_server.answers = [
        scripted_server.json(201, model()),
        scripted_server.json(404, {"detail": "The specified training destination does not exist"}),
        scripted_server.json(201, model()),
    ]

    await trainer.ensure_destination(7)
    with pytest.raises(ProviderNotFound):
        await trainer.start_training(TRAINING_ORDER)
    await trainer.ensure_destination(7)

    assert asked(scripted_server).count("POST /v1/models") == 2


# Finding what a lost answer may have made


def listed(name: str, seconds: float, **changes: Any) -> dict[str, Any]:
    """A job made this long after `SINCE` that fits both orders, unless changed."""
    created = SINCE + timedelta(seconds=seconds)
    inputs = {**INPUTS, "guidance_scale": 3, "output_format": "webp", "input_images": ARCHIVE}
    fields = {"id": name, "version": HASH, "created_at": created.isoformat(), "status": "starting"}
    return fields | {"input": inputs, "data_removed": False, "metrics": "odd", "logs": 5} | changes


class Listing:
    """Answers the lists from `pages`, and any single job as it would look now."""

    def __init__(self, server: Any, pages: Sequence[Sequence[dict[str, Any]]]) -> None:
        self.server = server
        self.pages = pages
        server.answers = [self.answer]

    async def answer(self, exchange: Any, writer: asyncio.StreamWriter) -> None:
        path, _, query = exchange.target.partition("?")
        name = path.rsplit("/", 1)[1]
        if name not in {"trainings", "predictions"}:
            await self.server.json(200, {"id": name, "status": "processing"})(exchange, writer)
            return
        number = int(query.removeprefix("cursor=") or 0)
        # Another host and scheme: the token must not follow.
        more = f"https://elsewhere.test{path}?cursor={number + 1}" if number + 1 < len(self.pages) else None
        page = {"next": more, "previous": None, "results": self.pages[number]}
        await self.server.json(200, page)(exchange, writer)

    @property
    def lists_read(self) -> int:
        return sum(e.target.split("?")[0].endswith("s") for e in self.server.exchanges)


async def found(client: ReplicateClient) -> tuple[str | None, str | None]:
    training = await ReplicateTrainer(client).find_training(TRAINING_ORDER, SINCE)
    prediction = await ReplicateGenerator(client).find_prediction(GENERATION_ORDER, SINCE)
    assert training is None or training.state is RemoteState.PROCESSING
    assert prediction is None or prediction.state is RemoteState.PROCESSING
    return training and training.id, prediction and prediction.id


OTHERS = [
    listed("removed", 5, data_removed=True),
    listed("stripped", 5, input=None),
    listed("odd", 5, input=["a"]),
    listed("hooked", 5, webhook="https://visiona.test/api/webhooks/replicate?run=2"),
    listed("different", 5, input={**INPUTS, "seed": 8, "input_images": ARCHIVE + "d"}),
    listed("incomplete", 5, input={"prompt": "a wizard"}),
]


async def test_a_lost_job_is_found_among_others(scripted_server: Any, client: ReplicateClient) -> None:
    Listing(scripted_server, [[*OTHERS, listed("mine", 3, webhook=HOOK), listed("old", -61)]])

    assert await found(client) == ("mine", "mine")


async def test_nothing_is_found_where_nothing_was_made(scripted_server: Any, client: ReplicateClient) -> None:
    listing = Listing(scripted_server, [OTHERS, [*OTHERS, listed("old", -61)], [listed("never seen", -62)]])

    assert await found(client) == (None, None)
    assert listing.lists_read == 4


async def test_a_prediction_of_another_version_is_not_ours(
    scripted_server: Any, client: ReplicateClient
) -> None:
    Listing(scripted_server, [[listed("other", 3, version="cd" * 32), listed("hidden", 3, version=None)]])
    assert (await found(client))[1] is None

    Listing(scripted_server, [[listed("named", 3, version=VERSION)]])
    assert (await found(client))[1] == "named"


async def test_a_job_of_a_clock_that_is_behind_is_found(
    scripted_server: Any, client: ReplicateClient
) -> None:
    Listing(scripted_server, [[listed("mine", -59)]])

    assert await found(client) == ("mine", "mine")


async def test_of_twins_the_one_made_closest_to_the_order_is_taken(
    scripted_server: Any, client: ReplicateClient
) -> None:
    Listing(scripted_server, [[listed("third", 30), listed("second", 2)], [listed("first", -50)]])

    assert await found(client) == ("second", "second")


async def test_the_second_page_is_asked_of_the_same_host(
    scripted_server: Any, client: ReplicateClient
) -> None:
    Listing(scripted_server, [OTHERS, [listed("mine", 1)]])

    assert await found(client) == ("mine", "mine")
    assert asked(scripted_server)[:3] == [
        "GET /v1/trainings",
        "GET /v1/trainings?cursor=1",
        "GET /v1/trainings/mine",
    ]


async def test_a_list_without_an_end_is_no_proof_of_absence(
    scripted_server: Any, client: ReplicateClient
) -> None:
    listing = Listing(scripted_server, [[listed("other", 5, input={})]] * 11)

    with pytest.raises(ProviderUnavailable, match="lookup_incomplete"):
        await ReplicateGenerator(client).find_prediction(GENERATION_ORDER, SINCE)
    assert listing.lists_read == 10


@pytest.mark.parametrize(
    "page",
    [
        {"results": [listed("mine", 1, created_at="yesterday")]},
        {"results": [listed("mine", 1, created_at=None)]},
        {"results": [listed("mine", 1, id=5)]},
        {"results": [listed("../account", 1)]},
        {"results": [], "next": 5},
        {"results": [], "next": "https://[/"},
        {"results": [], "next": "https://api.replicate.com/v1/predictions"},
        {"results": None},
    ],
)
async def test_a_list_that_cannot_be_read_is_no_proof_of_absence(
    page: Any, scripted_server: Any, client: ReplicateClient
) -> None:
    scripted_server.answers = [scripted_server.json(200, page)]

    with pytest.raises(ProviderUnavailable, match="unusable_answer"):
        await ReplicateGenerator(client).find_prediction(GENERATION_ORDER, SINCE)


# The way out


async def test_servers_on_this_machine_are_reached_past_a_proxy(
    scripted_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    scripted_server.answers = [scripted_server.reply(204)]

    hosts = ("127.0.0.1", "localhost")
    here = Destinations.of(f"http://{host}:{scripted_server.port}" for host in hosts)
    async with make_http_client(here) as http:
        for host in hosts:
            answer = await http.get(f"http://{host}:{scripted_server.port}/")
            assert answer.status_code == 204


async def test_other_servers_are_reached_through_the_proxy(
    scripted_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", scripted_server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    scripted_server.answers = [scripted_server.reply(204)]

    async with make_http_client(Destinations.of(["http://replicate.test"])) as http:
        await http.get("http://replicate.test/")
        with pytest.raises(httpx.ConnectError):
            await http.get("http://elsewhere.test/")

    assert asked(scripted_server) == ["GET http://replicate.test/"]
