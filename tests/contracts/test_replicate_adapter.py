"""The trainer and generator ports on the Replicate adapter, over HTTP against the sandbox.

Nothing here knows how the sandbox works: it is told what to do wrong through its own documented
endpoints, and asked through the adapter. One clone is trained for all tests.
"""

import asyncio
import contextlib
import io
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn
from PIL import Image
from skimage import data

from visiona.adapters.replicate import (
    InvalidSignature,
    ReplicateClient,
    ReplicateConfig,
    ReplicateGenerator,
    ReplicateTrainer,
    read_webhook,
    verify_webhook,
)
from visiona.ports.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)
from visiona.ports.generator import GenerationOrder
from visiona.ports.remote import PredictionReport, RemoteState, TrainingReport
from visiona.ports.trainer import TrainingOrder, UploadedArchive
from visiona.sandbox.replicate import ReplicateSandboxConfig, create_app

pytestmark = pytest.mark.contract

TOKEN = "r8_contract"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATIENCE_S = 30.0
UNKNOWN_HASH = "0" * 64

Report = TypeVar("Report", TrainingReport, PredictionReport)


@dataclass
class Hook:
    """A webhook as it arrived."""

    headers: dict[str, str]
    body: bytes


@dataclass
class World:
    """The sandbox, the adapter that points at it, and a receiver of webhooks."""

    url: str
    client: ReplicateClient
    trainer: ReplicateTrainer
    generator: ReplicateGenerator
    control: httpx.AsyncClient
    hook_url: str
    hooks: list[Hook] = field(default_factory=list)
    orders: int = 0

    async def fault(self, kind: str, **parameters: Any) -> None:
        answer = await self.control.post("/_sandbox/faults", json={"kind": kind} | parameters)
        assert answer.is_success, answer.text

    async def hooks_about(self, remote_id: str) -> list[Hook]:
        """At least the first and the last of them."""
        found: list[Hook] = []

        async def arrived() -> bool:
            found[:] = [hook for hook in self.hooks if read_webhook(hook.body).remote_id == remote_id]
            return len(found) >= 2

        await eventually(arrived)
        return found


@dataclass(frozen=True)
class Trained:
    """The clone that the tests share, with every look at its training."""

    order: TrainingOrder
    since: datetime
    looks: list[TrainingReport]

    @property
    def version(self) -> str:
        assert self.looks[-1].version is not None
        return self.looks[-1].version


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of photos of one person, made from a public-domain portrait."""
    portrait = Image.fromarray(data.astronaut())
    path = tmp_path_factory.mktemp("archive") / "jane-doe.zip"
    with zipfile.ZipFile(path, "w") as pack:
        for number in range(10):
            photo = io.BytesIO()
            portrait.crop((number, number, 400 + number, 420 + number)).save(photo, "JPEG")
            pack.writestr(f"{number}.jpg", photo.getvalue())
    return path


@pytest.fixture(scope="module")
async def world(
    tmp_path_factory: pytest.TempPathFactory, unused_tcp_port_factory: Callable[[], int]
) -> AsyncGenerator[World]:
    port = unused_tcp_port_factory()
    url = f"http://127.0.0.1:{port}"
    app = create_app(
        ReplicateSandboxConfig(
            data_dir=tmp_path_factory.mktemp("sandbox"),
            public_url=url,
            token=TOKEN,
            webhook_secret=SECRET,
            training_seconds=1.5,
            generation_seconds=0.2,
            version_delete_seconds=0.1,
        )
    )
    config = ReplicateConfig(
        token=TOKEN,
        base_url=f"{url}/v1",
        delivery_hosts=(f"127.0.0.1:{port}",),
        retry_budget_s=0.5,
        call_deadline_s=5.0,
    )
    client = ReplicateClient(config)
    receiver = await asyncio.start_server(lambda r, w: _receive(world, r, w), "127.0.0.1", 0)
    hook_url = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/hooks?run=1"
    control = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"})
    world = World(url, client, ReplicateTrainer(client), ReplicateGenerator(client), control, hook_url)
    async with _serving(app, port):
        yield world
        await client.aclose()
        await control.aclose()
    receiver.close()
    await receiver.wait_closed()


@contextlib.asynccontextmanager
async def _serving(app: Any, port: int) -> AsyncGenerator[None]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    # Signals belong to pytest, so this is `serve` without its capture of them.
    running = asyncio.create_task(server._serve())
    while not server.started:
        assert not running.done(), "the sandbox did not start"
        await asyncio.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        await running


async def _receive(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")[1:]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head)}
        body = await reader.readexactly(int(headers["content-length"]))
        world.hooks.append(Hook(headers, body))
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
    writer.close()


@pytest.fixture(autouse=True)
async def no_faults_left(world: World) -> AsyncGenerator[None]:
    yield
    await world.control.delete("/_sandbox/faults")


@pytest.fixture(scope="module")
async def trained(world: World, archive: Path) -> Trained:
    since = datetime.now(UTC)
    order = TrainingOrder(
        archive_url=(await world.trainer.upload_archive(archive)).url,
        destination=await world.trainer.ensure_destination(0),
        parameters={"trigger_word": "JANE", "steps": 100, "autocaption": False},
        webhook_url=world.hook_url,
    )
    started = await world.trainer.start_training(order)
    assert not started.state.terminal
    return Trained(order, since, await watch(world.trainer.get_training, started))


async def watch(get: Callable[[str], Awaitable[Report]], report: Report) -> list[Report]:
    """Every look at a job until it ends."""
    looks = [report]
    async with asyncio.timeout(PATIENCE_S):
        while not looks[-1].state.terminal:
            await asyncio.sleep(0.05)
            looks.append(await get(report.id))
    return looks


def an_order(world: World, version: str, **inputs: Any) -> GenerationOrder:
    """Unlike any other, as a seed of its own makes every order."""
    world.orders += 1
    small = {"prompt": "JANE as a wizard", "seed": world.orders, "megapixels": "0.25"}
    return GenerationOrder(version, small | inputs, None)


async def generated(world: World, order: GenerationOrder) -> PredictionReport:
    report = await world.generator.start_prediction(order)
    return (await watch(world.generator.get_prediction, report))[-1]


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await check():  # noqa: ASYNC110 - a server's state can only be asked for
            await asyncio.sleep(0.02)


# The account and its destinations


async def test_the_account_and_the_secret_are_read(world: World) -> None:
    assert await world.client.owner() == "visiona-sandbox"
    assert await world.client.webhook_secrets() == (SECRET,)


@pytest.mark.parametrize("status", [409, 422])
async def test_a_destination_is_made_once_and_found_again(world: World, status: int) -> None:
    await world.fault("duplicate_model", status=status)
    shard = status % 100

    made = await world.trainer.ensure_destination(shard)
    again = await ReplicateTrainer(world.client).ensure_destination(shard)

    assert made == again == f"visiona-sandbox/visiona-{shard:02d}"
    model = (await world.control.get(f"/v1/models/{made}")).json()
    assert model["visibility"] == "private"


async def test_a_public_destination_is_refused(world: World) -> None:
    body = {"owner": "visiona-sandbox", "name": "visiona-50", "visibility": "public", "hardware": "cpu"}
    assert (await world.control.post("/v1/models", json=body)).status_code == 201

    with pytest.raises(ProviderRejected, match="destination_not_private"):
        await world.trainer.ensure_destination(50)


# Archives


async def test_an_archive_is_uploaded_whole_and_deleted(world: World, archive: Path) -> None:
    uploaded = await world.trainer.upload_archive(archive)

    stored = (await world.control.get(uploaded.url)).json()
    assert stored["size"] == archive.stat().st_size  # noqa: ASYNC240 - one look at a small file
    assert stored["content_type"] == "application/zip"
    assert stored["name"] == "training.zip"

    await world.trainer.delete_archive(uploaded.id)
    await world.trainer.delete_archive(uploaded.id)
    assert (await world.control.get(uploaded.url)).status_code == 404


# Trainings


async def test_a_training_runs_to_a_version(trained: Trained) -> None:
    last = trained.looks[-1]
    progress = [look.progress for look in trained.looks]

    assert (last.state, last.error, last.progress) == (RemoteState.SUCCEEDED, None, 1.0)
    assert trained.version.startswith("visiona-sandbox/visiona-00:")
    assert last.predict_seconds is not None
    assert last.predict_seconds > 0
    assert progress == sorted(progress)
    assert any(0.0 < done < 1.0 for done in progress)
    assert {look.version for look in trained.looks[:-1]} == {None}


async def test_the_version_tells_its_inputs(world: World, trained: Trained) -> None:
    schemas = await world.trainer.input_schema(trained.version)

    assert "prompt" in schemas["Input"]["properties"]
    assert "prompt" in schemas["Input"]["required"]


async def test_the_training_is_found_by_its_order(world: World, trained: Trained) -> None:
    found = await world.trainer.find_training(trained.order, trained.since)
    other = replace(trained.order, archive_url=f"{trained.order.archive_url}x")

    assert found == trained.looks[-1]
    assert await world.trainer.find_training(other, trained.since) is None
    assert await world.trainer.find_training(trained.order, trained.since + timedelta(hours=1)) is None


async def test_webhooks_of_a_training_are_genuine(world: World, trained: Trained) -> None:
    remote_id = trained.looks[-1].id
    hooks = await world.hooks_about(remote_id)
    secrets = await world.client.webhook_secrets()

    ids = [verify_webhook(secrets, hook.headers, hook.body, datetime.now(UTC)) for hook in hooks]
    notices = [read_webhook(hook.body) for hook in hooks]

    assert len(set(ids)) == len(ids)
    assert {notice.kind for notice in notices} == {"training"}
    assert notices[-1].state is RemoteState.SUCCEEDED
    with pytest.raises(InvalidSignature):
        verify_webhook(secrets, hooks[0].headers, hooks[0].body + b" ", datetime.now(UTC))


async def test_a_training_that_fails_says_why(world: World, trained: Trained) -> None:
    await world.fault("fail_training", text="CUDA out of memory")

    started = await world.trainer.start_training(replace(trained.order, webhook_url=None))
    ended = (await watch(world.trainer.get_training, started))[-1]

    assert (ended.state, ended.error, ended.version) == (RemoteState.FAILED, "CUDA out of memory", None)


async def test_a_training_is_canceled_once(world: World, trained: Trained) -> None:
    started = await world.trainer.start_training(replace(trained.order, webhook_url=None))

    await world.trainer.cancel_training(started.id)
    ended = (await watch(world.trainer.get_training, started))[-1]
    again = await world.trainer.cancel_training(started.id)

    assert ended.state is again.state is RemoteState.CANCELED
    assert (await world.trainer.cancel_training(trained.looks[-1].id)).state is RemoteState.SUCCEEDED


async def test_a_training_without_its_destination_is_refused(world: World, trained: Trained) -> None:
    with pytest.raises(ProviderNotFound):
        await world.trainer.start_training(replace(trained.order, destination="visiona-sandbox/none"))


async def test_bad_parameters_are_refused_with_a_sentence(world: World, trained: Trained) -> None:
    with pytest.raises(ProviderRejected, match="invalid_input") as caught:
        await world.trainer.start_training(replace(trained.order, parameters={"steps": 1}))

    assert "steps" in caught.value.message


async def test_links_of_a_training_may_point_elsewhere(world: World, trained: Trained) -> None:
    await world.fault("training_urls_under_predictions")

    started = await world.trainer.start_training(replace(trained.order, webhook_url=None))

    assert (await world.trainer.get_training(started.id)).id == started.id
    await world.trainer.cancel_training(started.id)


# Predictions


async def test_outputs_are_pictures_of_the_asked_shape(
    world: World, trained: Trained, tmp_path: Path
) -> None:
    order = an_order(world, trained.version, num_outputs=2, aspect_ratio="16:9", output_format="png")

    report = await generated(world, order)
    for number, url in enumerate(report.outputs):
        await world.generator.download(url, tmp_path / str(number))

    assert (report.state, report.error, report.outputs_gone) == (RemoteState.SUCCEEDED, None, False)
    assert report.completed_at is not None
    assert abs(datetime.now(UTC) - report.completed_at) < timedelta(minutes=1)
    assert report.predict_seconds is not None
    with Image.open(tmp_path / "0") as first, Image.open(tmp_path / "1") as second:
        assert (first.format, second.format) == ("PNG", "PNG")
        assert first.width > first.height
        assert first.tobytes() != second.tobytes()


async def test_outputs_inside_the_answer_are_unpacked(world: World, trained: Trained, tmp_path: Path) -> None:
    await world.fault("inline_outputs")

    report = await generated(world, an_order(world, trained.version))
    await world.generator.download(report.outputs[0], tmp_path / "out")

    assert report.outputs[0].startswith("data:image/webp")
    with Image.open(tmp_path / "out") as picture:
        assert picture.format == "WEBP"


async def test_a_prediction_is_found_until_its_data_is_gone(world: World, trained: Trained) -> None:
    since = datetime.now(UTC)
    order = an_order(world, trained.version, guidance_scale=3.5)
    report = await generated(world, order)
    similar = replace(order, inputs={**order.inputs, "seed": 999_999})

    assert await world.generator.find_prediction(order, since) == report
    assert await world.generator.find_prediction(similar, since) is None

    await world.fault("expire_outputs", id=report.id)
    gone = await world.generator.get_prediction(report.id)

    assert (gone.state, gone.outputs, gone.outputs_gone) == (RemoteState.SUCCEEDED, (), True)
    assert await world.generator.find_prediction(order, since) is None
    with pytest.raises(ProviderNotFound):
        await world.generator.download(report.outputs[0], Path("never-written"))


async def test_a_picture_that_the_safety_check_drops_is_missing(world: World, trained: Trained) -> None:
    await world.fault("nsfw", drop=1)
    some = await generated(world, an_order(world, trained.version, num_outputs=2))
    await world.fault("nsfw", drop=1)
    none = await generated(world, an_order(world, trained.version))

    assert (some.state, len(some.outputs)) == (RemoteState.SUCCEEDED, 1)
    assert (none.state, none.outputs) == (RemoteState.FAILED, ())
    assert "NSFW" in (none.error or "")


async def test_a_prediction_is_canceled(world: World, trained: Trained) -> None:
    await world.fault("cold_start", target="prediction", seconds=60)
    started = await world.generator.start_prediction(an_order(world, trained.version))

    await world.generator.cancel_prediction(started.id)

    assert (await watch(world.generator.get_prediction, started))[-1].state is RemoteState.CANCELED


async def test_an_aborted_prediction_counts_as_canceled(world: World, trained: Trained) -> None:
    await world.fault("abort", target="prediction")

    assert (await generated(world, an_order(world, trained.version))).state is RemoteState.CANCELED


async def test_an_unknown_status_counts_as_work_in_progress(world: World, trained: Trained) -> None:
    await world.fault("unknown_status", target="prediction", status_name="pausing", final=True)
    started = await world.generator.start_prediction(an_order(world, trained.version))

    async def pausing() -> bool:
        return (await world.control.get(f"/v1/predictions/{started.id}")).json()["status"] == "pausing"

    await eventually(pausing)
    assert (await world.generator.get_prediction(started.id)).state is RemoteState.PROCESSING


async def test_webhooks_of_a_prediction_are_genuine(world: World, trained: Trained) -> None:
    order = replace(an_order(world, trained.version), webhook_url=world.hook_url)
    report = await generated(world, order)

    for hook in await world.hooks_about(report.id):
        assert verify_webhook([SECRET], hook.headers, hook.body, datetime.now(UTC))
        assert read_webhook(hook.body).kind == "prediction"


@pytest.mark.parametrize("kind", ["stale_webhooks", "forge_webhooks"])
async def test_webhooks_that_are_not_genuine_are_refused(world: World, trained: Trained, kind: str) -> None:
    await world.fault(kind, times=None)
    order = replace(an_order(world, trained.version), webhook_url=world.hook_url)
    report = await generated(world, order)

    for hook in await world.hooks_about(report.id):
        with pytest.raises(InvalidSignature):
            verify_webhook([SECRET], hook.headers, hook.body, datetime.now(UTC))


async def test_bad_inputs_are_refused_with_a_sentence(world: World, trained: Trained) -> None:
    with pytest.raises(ProviderRejected, match="invalid_input") as caught:
        await world.generator.start_prediction(an_order(world, trained.version, aspect_ratio="7:1"))

    assert caught.value.status == 422
    assert "aspect_ratio" in caught.value.message


async def test_a_version_that_is_not_there_is_refused(world: World) -> None:
    with pytest.raises(ProviderRejected, match="invalid_version"):
        await world.generator.start_prediction(an_order(world, f"visiona-sandbox/visiona-00:{UNKNOWN_HASH}"))


async def test_a_prediction_on_the_second_page_is_found(world: World, trained: Trained) -> None:
    since = datetime.now(UTC)
    await world.fault("cold_start", target="prediction", seconds=600, times=None)
    orders = [an_order(world, trained.version) for _ in range(103)]
    started = [await world.generator.start_prediction(order) for order in orders]

    found = await world.generator.find_prediction(orders[0], since)

    assert found is not None
    assert found.id == started[0].id


# Answers that are lost

LOST = [
    ("http_error", {"status": 500, "when": "after"}),
    ("http_error", {"status": 503, "when": "after"}),
    ("html", {"when": "after"}),
    ("truncated_json", {}),
]


@pytest.mark.parametrize(("kind", "parameters"), LOST)
async def test_a_lost_answer_leaves_one_job_that_can_be_found(
    world: World, trained: Trained, archive: Path, kind: str, parameters: dict[str, Any]
) -> None:
    since = datetime.now(UTC)
    generation = an_order(world, trained.version)
    await world.fault(kind, path="/v1/predictions", **parameters)
    with pytest.raises(OutcomeUnknown):
        await world.generator.start_prediction(generation)
    assert await world.generator.find_prediction(generation, since) is not None

    uploaded = await world.trainer.upload_archive(archive)
    training = replace(trained.order, archive_url=uploaded.url, webhook_url=None)
    await world.fault(kind, path="/v1/models/*/trainings", **parameters)
    with pytest.raises(OutcomeUnknown):
        await world.trainer.start_training(training)
    found = await world.trainer.find_training(training, since)
    assert found is not None
    await world.trainer.cancel_training(found.id)


async def test_a_request_that_had_no_effect_is_not_found(world: World, trained: Trained) -> None:
    since = datetime.now(UTC)
    order = an_order(world, trained.version)
    await world.fault("http_error", status=502, when="before")

    with pytest.raises(OutcomeUnknown):
        await world.generator.start_prediction(order)

    assert await world.generator.find_prediction(order, since) is None


async def test_an_answer_that_takes_too_long_is_lost(world: World, trained: Trained) -> None:
    since = datetime.now(UTC)
    impatient = ReplicateClient(replace(world.client.config, call_deadline_s=0.3))
    order = an_order(world, trained.version)
    await world.fault("slow", seconds=1, when="after", path="/v1/predictions")

    with pytest.raises(OutcomeUnknown, match="timeout"):
        await ReplicateGenerator(impatient).start_prediction(order)

    assert await world.generator.find_prediction(order, since) is not None
    await impatient.aclose()


async def test_questions_survive_a_provider_that_stumbles(world: World, trained: Trained) -> None:
    await world.fault("http_error", status=502, method="GET", times=2)
    await world.fault("html", method="GET")

    assert await world.trainer.get_training(trained.looks[-1].id) == trained.looks[-1]


# Refusals of every call


def every_call(world: World, trained: Trained, archive: Path) -> dict[str, Callable[[], Awaitable[Any]]]:
    remote_id = trained.looks[-1].id
    order, since = an_order(world, trained.version), trained.since
    trainer, generator = ReplicateTrainer(world.client), ReplicateGenerator(world.client)
    return {
        "upload_archive": lambda: trainer.upload_archive(archive),
        "delete_archive": lambda: trainer.delete_archive("abc"),
        "ensure_destination": lambda: trainer.ensure_destination(99),
        "start_training": lambda: trainer.start_training(trained.order),
        "find_training": lambda: trainer.find_training(trained.order, since),
        "get_training": lambda: trainer.get_training(remote_id),
        "cancel_training": lambda: trainer.cancel_training(remote_id),
        "input_schema": lambda: trainer.input_schema(trained.version),
        "delete_version": lambda: trainer.delete_version(trained.version),
        "start_prediction": lambda: generator.start_prediction(order),
        "find_prediction": lambda: generator.find_prediction(order, since),
        "get_prediction": lambda: generator.get_prediction("abc"),
        "cancel_prediction": lambda: generator.cancel_prediction("abc"),
    }


@pytest.mark.parametrize(
    ("kind", "parameters", "error"),
    [
        ("rate_limit", {"retry_after": 9}, ProviderUnavailable),
        ("refuse", {"status": 402}, ProviderRejected),
        ("refuse", {"status": 403, "body": {"detail": "Forbidden", "status": 403}}, ProviderRejected),
    ],
)
async def test_every_call_reports_a_refusal(
    world: World,
    trained: Trained,
    archive: Path,
    kind: str,
    parameters: dict[str, Any],
    error: type[ProviderError],
) -> None:
    await world.fault(kind, method="*", times=None, **parameters)

    for name, call in every_call(world, trained, archive).items():
        with pytest.raises(error) as caught:
            await call()
        assert getattr(caught.value, "retry_after", None) == parameters.get("retry_after"), name


async def test_every_call_reports_a_token_that_is_not_valid(
    world: World, trained: Trained, archive: Path
) -> None:
    stranger = ReplicateClient(replace(world.client.config, token="r8_wrong", owner="visiona-sandbox"))
    elsewhere = replace(world, client=stranger)

    for name, call in every_call(elsewhere, trained, archive).items():
        with pytest.raises(ProviderRejected, match="unauthenticated") as caught:
            await call()
        assert caught.value.status == 401, name
    await stranger.aclose()


async def test_what_does_not_exist_is_not_found(world: World) -> None:
    version = f"visiona-sandbox/visiona-00:{UNKNOWN_HASH}"
    calls: list[Awaitable[Any]] = [
        world.trainer.get_training("nothing"),
        world.trainer.cancel_training("nothing"),
        world.trainer.input_schema(version),
        world.generator.get_prediction("nothing"),
        world.generator.cancel_prediction("nothing"),
    ]
    for call in calls:
        with pytest.raises(ProviderNotFound):
            await call


# Deletion


async def test_a_version_is_deleted_with_all_that_it_made(
    world: World, trained: Trained, archive: Path, tmp_path: Path
) -> None:
    uploaded: UploadedArchive = await world.trainer.upload_archive(archive)
    order = replace(trained.order, archive_url=uploaded.url, webhook_url=None)
    started = await world.trainer.start_training(order)
    version = (await watch(world.trainer.get_training, started))[-1].version
    assert version is not None
    report = await generated(world, an_order(world, version))

    await world.trainer.delete_version(version)
    await world.trainer.delete_version(version)

    async def gone() -> bool:
        try:
            await world.trainer.input_schema(version)
        except ProviderNotFound:
            return True
        return False

    await eventually(gone)
    await world.trainer.delete_version(version)
    with pytest.raises(ProviderNotFound):
        await world.generator.download(report.outputs[0], tmp_path / "out")
    assert (await world.trainer.get_training(trained.looks[-1].id)).state is RemoteState.SUCCEEDED
