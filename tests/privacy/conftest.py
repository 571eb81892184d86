"""A Visiona and the three firms that know its people, each as its sandbox on a loopback port.

Services are wired by `bootstrap.build`, as in production; jobs are run when a test says so.
"""

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.accounts.house import ORIGIN, House, house_settings, run_clerk
from tests.conftest import copied_database
from tests.factories import consents
from tests.factories.people import add_user
from tests.factories.photos import snapshot
from tests.payments.conftest import ShiftedClock
from tests.sandbox.replicate.conftest import SECRET, TOKEN, run_replicate
from tests.sandbox.replicate.conftest import Server as Replicate
from tests.sandbox.stripe.conftest import KEY as STRIPE_KEY
from tests.sandbox.stripe.conftest import Server as Stripe
from tests.sandbox.stripe.conftest import run_stripe

from visiona.bootstrap import build
from visiona.clones.model import DESTINATION_SHARDS, MIN_PHOTOS
from visiona.db.actor import UserActor
from visiona.db.jobs import RetryLater
from visiona.entrypoints.asgi import create_asgi
from visiona.objects.model import Kind, new_key
from visiona.privacy.service import PrivacyService


@dataclass
class Known:
    """Somebody, and what the firms know of them."""

    actor: UserActor
    customer: str
    subscription: str
    model_id: int = 0

    @property
    def id(self) -> int:
        return self.actor.user_id

    @property
    def subject(self) -> str:
        return self.actor.subject or ""

    @property
    def destination(self) -> str:
        return f"visiona-{self.id % DESTINATION_SHARDS:02d}"


@dataclass
class World(House):
    """A house with all firms; `photo` is one that everybody uploads."""

    stripe: Stripe = field(kw_only=True)
    replicate: Replicate = field(kw_only=True)
    photo: bytes = field(kw_only=True)

    @property
    def privacy(self) -> PrivacyService:
        """As the worker has it."""
        return self.worker.privacy

    async def join(self) -> Known:
        """Somebody at Clerk who pays, with photos here."""
        user = self.person()
        actor = await add_user(self.app.database, vault=self.app.vault, subject=user["id"])
        there = self.stripe.client.v1
        customer = there.customers.create({"email": user["email_addresses"][0]["email_address"]})
        method = there.payment_methods.attach("pm_card_visa", {"customer": customer.id})
        subscription = there.subscriptions.create(
            {
                "customer": customer.id,
                "items": [{"price": self.stripe.price().id}],
                "default_payment_method": method.id,
            }
        )
        assert subscription.status == "active"
        await self.rows(
            "insert into payment_customers (user_id, mode, customer_id) values (%s, 'sandbox', %s)",
            actor.user_id,
            customer.id,
        )
        return Known(actor, customer.id, subscription.id)

    async def upload(self, known: Known, folder: Path) -> None:
        """As many photos as a training takes."""
        source = folder / f"photo-{known.id}"
        for number in range(MIN_PHOTOS):
            data = self.photo + bytes([number])  # the same picture, and yet another file
            await asyncio.to_thread(source.write_bytes, data)
            key = new_key(known.id, Kind.PHOTO, "image/jpeg")
            await self.app.objects.put(known.actor, {key: source})
            await self.rows(
                f"""insert into photos
                     (user_id, consent_id, file_url, thumbnail_url, width, height, size, sha256)
                   values (%s, {consents.GIVEN}, %s, %s, 8, 8, %s, %s)""",
                known.id,
                known.id,
                key,
                key,
                len(data),
                hashlib.sha256(data).hexdigest(),
            )

    async def train(self, known: Known, folder: Path, *, until: str = "Ready") -> None:
        """A clone by the whole way: archive, destination, training, version."""
        if not await self.rows("select 1 from photos where user_id = %s", known.id):
            await self.upload(known, folder)
        known.model_id = (await self.app.clones.start(known.actor, "TOK", None, {"steps": 3})).id
        for _ in range(200):
            with suppress(RetryLater):
                await self.worker.clones.apply(known.id, known.model_id)
            submitted = "select 1 from trainings where model_id = %s and provider_id is not null"
            if until == "submitted" and await self.rows(submitted, known.model_id):
                return
            clone = await self.app.clones.get(known.actor, known.model_id)
            if clone.status == until:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"the clone is {clone.status}: {clone.error_message}")

    async def erased(self, erasure_id: Any, tries: int = 40) -> dict[str, Any]:
        """The receipt, once the worker has tried often enough."""
        for _ in range(tries):
            with suppress(RetryLater):
                await self.privacy.erase(erasure_id)
            data = await self.app.privacy.receipt(erasure_id)
            if data is not None:
                return dict(self.app.privacy.verify_receipt(data))
            await asyncio.sleep(0.05)
        raise AssertionError(await self.trouble(erasure_id))

    async def trouble(self, erasure_id: Any) -> str | None:
        """What holds it up, as the operator reads it."""
        return next(one.trouble for one in await self.privacy.recent() if one.id == erasure_id)

    @contextmanager
    def impatient(self, step: str) -> Iterator[None]:
        """Calls of this step are given up as soon as they are answered late."""
        rooms = self.privacy._rooms
        holder, name = {
            "payments": (rooms.payments._payments._calls, "_config"),  # type: ignore[attr-defined] # Stripe's
            "identity": (rooms.identity._calls, "_config"),  # type: ignore[union-attr] # Clerk's
            "training": (rooms.clones._trainer._client, "config"),  # type: ignore[attr-defined] # Replicate's
        }[step]
        before = getattr(holder, name)
        setattr(holder, name, replace(before, call_deadline_s=0.3))
        try:
            yield
        finally:
            setattr(holder, name, before)

    # What the firms have

    def at_stripe(self, known: Known) -> tuple[bool, str]:
        """Whether there is a customer, and how their subscription stands."""
        there = self.stripe.client.v1
        customer = there.customers.retrieve(known.customer)
        subscription = there.subscriptions.retrieve(known.subscription)
        return not getattr(customer, "deleted", False), subscription.status

    def at_clerk(self, known: Known) -> bool:
        return self.there.api.get(f"/users/{known.subject}").status_code == 200

    def at_replicate(self, known: Known) -> tuple[bool, int]:
        """Whether the model is there that is for them, and how many versions it has."""
        path = f"/models/{self.replicate.config.account}/{known.destination}"
        there = self.replicate.api.get(path).status_code == 200
        return there, len(self.replicate.api.get(f"{path}/versions").json()["results"]) if there else 0

    def files(self) -> int:
        return len(self.replicate.api.get("/files").json()["results"])

    def clear_faults(self) -> None:
        for server in (self.stripe, self.replicate, self.there):
            server.raw.delete("/_sandbox/faults")


@pytest.fixture(scope="session")
def photo() -> bytes:
    picture = snapshot("eileen", 0).copy()
    picture.thumbnail((256, 256))
    content = io.BytesIO()
    picture.save(content, "JPEG")
    return content.getvalue()


@pytest.fixture(scope="module")
async def module_world(
    postgres: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory, photo: bytes
) -> AsyncGenerator[World]:
    folder = tmp_path_factory.mktemp("world")
    with ExitStack() as stack:
        url = stack.enter_context(copied_database(postgres, migrated_template))
        clerk = stack.enter_context(run_clerk(folder / "clerk"))
        stripe = stack.enter_context(run_stripe(folder / "stripe"))
        replicate = stack.enter_context(run_replicate(folder / "replicate", version_delete_seconds=0.05))
        settings = house_settings(
            url,
            folder,
            clerk,
            None,
            stripe_api_key=STRIPE_KEY,
            stripe_base_url=stripe.base,
            replicate_api_token=TOKEN,
            replicate_base_url=f"{replicate.base}/v1",
            replicate_webhook_secret=(SECRET,),
            erasure_grace_days=0,
        )
        clock = ShiftedClock()
        app, worker = build(settings, "app", clock), build(settings, "worker", clock)
        for built in (app, worker):  # what is tried again at once need not be waited for long
            client = built.clones._trainer._client  # type: ignore[attr-defined] # Replicate's
            client.config = replace(client.config, retry_budget_s=0.05)
            calls = built.privacy._rooms.identity._calls  # type: ignore[union-attr] # Clerk's
            calls._config = replace(calls._config, retry_budget_s=0.05)
        asgi = create_asgi(app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url=ORIGIN) as web:
            await app.open()
            await worker.open()
            try:
                yield World(
                    app, worker, asgi, clock, web, clerk, stripe=stripe, replicate=replicate, photo=photo
                )
            finally:
                await worker.close()
                await app.close()


@pytest.fixture
async def world(module_world: World) -> AsyncGenerator[World]:
    """The module's, lent to one test."""
    yield module_world
    module_world.clear_faults()
    await module_world.rows("delete from procrastinate.procrastinate_jobs")
