"""Runs against a provider that does as the test says, on the real database."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.factories import consents
from tests.factories.people import MakeUser
from tests.factories.safety import FREE, open_safety

from visiona.adapters.objects import open_store
from visiona.billing.model import Catalogue
from visiona.billing.service import BillingService
from visiona.core.clock import SystemClock
from visiona.core.ids import opaque_id
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.db.sealed import MODEL_PARAMETERS, MODEL_TRIGGER_WORD
from visiona.generations.model import RunRequest
from visiona.generations.service import GenerationService, Providers
from visiona.objects.model import LinkSigner
from visiona.objects.service import ObjectService
from visiona.ports.enhancer import Enhancement, EnhancementRequest, Enhancer
from visiona.ports.generator import GenerationOrder
from visiona.ports.imaging import ProcessedImage
from visiona.ports.moderation import Moderator
from visiona.ports.remote import PredictionReport, RemoteState
from visiona.safety.model import SpendingLimits
from visiona.vault.service import Vault

SCHEMAS: dict[str, Any] = {
    "Input": {
        "properties": {
            "prompt": {"type": "string"},
            "num_outputs": {"type": "integer", "minimum": 1, "maximum": 4},
            "seed": {"type": "integer"},
            "style": {"type": "string"},
        }
    }
}


@dataclass
class FakeGenerator:
    """`answers` are what a look at a prediction gives, an exception to be raised included."""

    answers: Callable[[str], PredictionReport | Exception] = field(
        default=lambda remote_id: PredictionReport(remote_id, RemoteState.PROCESSING)
    )
    start: Callable[[GenerationOrder], Any] = field(
        default=lambda _: PredictionReport(opaque_id(), RemoteState.STARTING)
    )
    find: Callable[[Collection[str]], Any] = field(default=lambda _: None)
    started: list[GenerationOrder] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)

    async def start_prediction(self, order: GenerationOrder) -> PredictionReport:
        self.started.append(order)
        return await _result(self.start(order))

    async def find_prediction(
        self, order: GenerationOrder, since: datetime, taken: Collection[str] = ()
    ) -> PredictionReport | None:
        del order, since
        return await _result(self.find(taken))

    async def get_prediction(self, prediction_id: str) -> PredictionReport:
        return await _result(self.answers(prediction_id))

    async def cancel_prediction(self, prediction_id: str) -> PredictionReport:
        self.canceled.append(prediction_id)
        return await _result(self.answers(prediction_id))

    async def download(self, url: str, target: Path) -> None:
        await asyncio.to_thread(target.write_bytes, url.encode())


async def _result(answer: Any) -> Any:
    if hasattr(answer, "__await__"):
        answer = await answer
    if isinstance(answer, Exception):
        raise answer
    return answer


@dataclass
class FakeImaging:
    """Every file is a picture; `failure` is raised instead."""

    failure: Exception | None = None

    async def process_photo(self, source: Path, folder: Path) -> ProcessedImage:
        raise NotImplementedError

    async def process_generated(self, source: Path, folder: Path) -> ProcessedImage:
        if self.failure is not None:
            raise self.failure
        await asyncio.to_thread((folder / "thumbnail").write_bytes, b"small")
        digest = hashlib.sha256(await asyncio.to_thread(source.read_bytes)).hexdigest()
        return ProcessedImage(source, folder / "thumbnail", "image/webp", 8, 8, 1, digest)


class NoEnhancer:
    async def enhance(self, request: EnhancementRequest) -> Enhancement:
        del request
        return Enhancement("off")


@dataclass
class Studio:
    """`service` is the worker's; `owner` looks behind row-level security."""

    service: GenerationService
    web: GenerationService
    generator: FakeGenerator
    imaging: FakeImaging
    owner: Connection
    actor: UserActor
    model_id: int

    async def start(self, **changes: Any) -> int:
        wanted = {"prompt": "TOK", "enhance": False, "num_outputs": 2, "inputs": {}} | changes
        return (await self.web.start(self.actor, RunRequest(self.model_id, **wanted))).id

    async def submitted(self) -> int:
        run_id = await self.start()
        await self.service.submit(self.actor.user_id, run_id)
        return run_id

    async def apply(self, run_id: int) -> None:
        await self.service.apply(self.actor.user_id, run_id)

    async def row(self, run_id: int) -> Any:
        """(state, error code)"""
        cursor = await self.owner.execute("select state, error_code from runs where id = %s", [run_id])
        return await cursor.fetchone()

    async def quota(self) -> Any:
        """(used, reserved)"""
        cursor = await self.owner.execute(
            "select used, reserved from quota_usage where user_id = %s and resource = 'images'",
            [self.actor.user_id],
        )
        return await cursor.fetchone()

    async def age(self, run_id: int, by: timedelta) -> None:
        """As if everything that happened to it had happened that much earlier."""
        await self.owner.execute(
            """update runs set created_at = created_at - %(by)s, submitted_at = submitted_at - %(by)s
               where id = %(id)s""",
            {"by": by, "id": run_id},
        )


OpenStudio = Callable[..., Awaitable[Studio]]


@pytest.fixture
def open_studio(
    database: Database,
    worker_database: Database,
    owner: Connection,
    make_user: MakeUser,
    catalogue: Catalogue,
    vault: Vault,
    tmp_path: Path,
) -> OpenStudio:
    """`await open_studio(enhancer=…, moderator=…, spending=…)`: a person of their own with a clone."""

    async def open_(
        *,
        enhancer: Enhancer | None = None,
        moderator: Moderator | None = None,
        spending: SpendingLimits = FREE,
        schemas: dict[str, Any] = SCHEMAS,
    ) -> Studio:
        actor = await make_user()
        cipher = await vault.cipher(actor.user_id)
        cursor = await owner.execute(
            f"""insert into models
                 (user_id, consent_id, trigger_word, parameters, photo_count, status, version, input_schema)
               values (%s, {consents.GIVEN}, %s, %s, 10, 'Ready', 'me/clone:' || repeat('0', 64), %s::jsonb)
               returning id""",
            [
                actor.user_id,
                actor.user_id,
                cipher.seal(MODEL_TRIGGER_WORD.place, "TOK"),
                cipher.seal(MODEL_PARAMETERS.place, "{}"),
                json.dumps(schemas),
            ],
        )
        row = await cursor.fetchone()
        assert row is not None
        generator, imaging, clock = FakeGenerator(), FakeImaging(), SystemClock()

        def service(connected: Database) -> GenerationService:
            store = open_store(tmp_path.as_uri())
            objects = ObjectService(connected, vault, store, LinkSigner(b"secret"), clock)
            safety = open_safety(connected, objects, spending=spending, moderator=moderator)
            return GenerationService(
                connected,
                vault,
                clock,
                Providers(generator, enhancer or NoEnhancer(), imaging, safety),
                objects,
                BillingService(connected, clock, catalogue),
                user_ref=str,
                webhook_url=None,
            )

        return Studio(service(worker_database), service(database), generator, imaging, owner, actor, row[0])

    return open_


@pytest.fixture
async def studio(open_studio: OpenStudio) -> Studio:
    return await open_studio()
