"""A shop: Visiona's services on the real database, and Stripe's sandbox on a loopback port.

Services are wired by `bootstrap.build`, as in production, once as the application's role and once as the
worker's. Time is the test's own, on both sides; jobs are run one by one when the test says so.
"""

import contextlib
from collections.abc import AsyncGenerator, Collection, Generator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe
from tests.conftest import ROLE_SECRETS, SECRET_KEY, copied_database
from tests.factories.keys import key_settings
from tests.factories.people import add_user
from tests.factories.safety import EVERYBODY_SIGNS_UP
from tests.sandbox.stripe.conftest import KEY, WEBHOOK_SECRET, Server, run_stripe

from visiona.bootstrap import App, build
from visiona.core.clock import Clock
from visiona.db.actor import SystemActor, UserActor
from visiona.db.jobs import RetryLater
from visiona.db.roles import APP_ROLE, WORKER_ROLE, url_for_role
from visiona.entrypoints.asgi import create_asgi
from visiona.settings import STRIPE_WEBHOOK_PATH, Settings

ORIGIN = "http://127.0.0.1:8000"
GOOD_CARD, FAILS_LATER = "4242424242424242", "4000000000000341"


@dataclass
class Shop:
    """`app` as a web server has it, `worker` as a worker does, `hooks` an HTTP client of the web server."""

    app: App
    worker: App
    hooks: httpx.AsyncClient
    server: Server
    clock: Any
    last_event: str = ""

    async def sign_up(self) -> UserActor:
        """Somebody who may buy; they cannot log in."""
        return await add_user(self.app.database, vault=self.app.vault)

    async def run_jobs(self) -> int:
        """Every waiting job of payments and the inbox, once; those that they make, too."""
        jobs = {job.name: job for job in self.worker.jobs()}
        done = 0
        while job := await self._next_job():
            name, arguments = job
            with contextlib.suppress(RetryLater):  # the sweep will ask again
                await jobs[name].run(**arguments)
            done += 1
        return done

    async def _next_job(self) -> tuple[str, dict[str, Any]] | None:
        async with self.worker.database.transaction(SystemActor("test")) as connection:
            cursor = await connection.execute(
                """delete from procrastinate.procrastinate_jobs where id = (
                     select id from procrastinate.procrastinate_jobs
                     where status = 'todo' and task_name in ('inbox.process', 'payments.sync')
                     order by id limit 1 for update skip locked)
                   returning task_name, args"""
            )
            return await cursor.fetchone()  # type: ignore[return-value] # two columns

    async def post_event(self, event: dict[str, Any], secret: str = WEBHOOK_SECRET) -> int:
        """One webhook, signed by the official SDK; answers the status."""
        body = httpx.Request("POST", ORIGIN, json=event).content.decode()
        timestamp = int(self.clock.now().timestamp())
        header = stripe.WebhookSignature.generate_signature_header(body, secret, timestamp)
        answer = await self.hooks.post(
            STRIPE_WEBHOOK_PATH, content=body, headers={"stripe-signature": header}
        )
        return answer.status_code

    def new_events(self, customer_id: str, charges: Collection[str] = ()) -> list[dict[str, Any]]:
        """What the sandbox has said of this customer, or of these charges of theirs, since the last call
        for anybody, oldest first.
        """
        found: list[dict[str, Any]] = []
        more = True
        while more:
            after = {"ending_before": self.last_event} if self.last_event else {}
            answer = self.server.raw.get("/v1/events", params={"limit": 100, **after}).json()
            found += answer["data"][::-1]
            more = answer["has_more"] and bool(self.last_event)
            self.last_event = found[-1]["id"] if found else self.last_event
        return [
            event
            for event in found
            if _customer_in(event) == customer_id or event["data"]["object"].get("charge") in charges
        ]

    async def deliver(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            assert await self.post_event(event) == 204
        await self.run_jobs()

    def pay(self, url: str, card: str = GOOD_CARD, **body: Any) -> dict[str, Any]:
        """On the hosted page behind `url`."""
        session_id = httpx.URL(url).path.rsplit("/", 1)[-1]
        return self.server.control(f"pay/{session_id}", number=card, **body)


def _customer_in(event: dict[str, Any]) -> str | None:
    found = event["data"]["object"]
    return found["id"] if found["object"] == "customer" else found.get("customer")


@pytest.fixture(scope="module")
def stripe_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with run_stripe(tmp_path_factory.mktemp("stripe")) as server:
        yield server


@dataclass
class ShiftedClock:
    """Runs as clocks do, as far ahead as the test wants."""

    shift: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@asynccontextmanager
async def open_shop(database_url: str, server: Server, clock: Clock, folder: Path) -> AsyncGenerator[Shop]:
    settings = shop_settings(database_url, server.base, folder)
    app, worker = build(settings, "app", clock), build(settings, "worker", clock)
    transport = httpx.ASGITransport(app=create_asgi(app))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as hooks:
        await app.open()
        await worker.open()
        try:
            await worker.payments.publish(None, change=True)
            yield Shop(app, worker, hooks, server, clock)
        finally:
            await worker.close()
            await app.close()


@pytest.fixture
async def shop(
    own_database_url: str, stripe_server: Server, clock: ShiftedClock, tmp_path: Path
) -> AsyncGenerator[Shop]:
    """On a database of its own: jobs are everybody's."""
    async with open_shop(own_database_url, stripe_server, clock, tmp_path) as shop:
        yield shop
    stripe_server.raw.delete("/_sandbox/faults")


@pytest.fixture(scope="module")
async def module_shop(
    postgres: str, migrated_template: str, stripe_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Shop]:
    """For modules whose tests do not mind each other's people: they override `shop` with `lent`."""
    with copied_database(postgres, migrated_template) as url:
        async with open_shop(url, stripe_server, ShiftedClock(), tmp_path_factory.mktemp("shop")) as shop:
            yield shop


@asynccontextmanager
async def lent(shop: Shop) -> AsyncGenerator[Shop]:
    """A module's shop for one test: the next one finds no faults, no jobs, and today."""
    yield shop
    shop.server.raw.delete("/_sandbox/faults")
    shop.clock.shift = timedelta(0)
    async with shop.worker.database.transaction(SystemActor("test")) as connection:
        await connection.execute("delete from procrastinate.procrastinate_jobs")


def shop_settings(owner_url: str, stripe_url: str, folder: Path, **more: Any) -> Settings:
    return Settings(
        **{
            "data_dir": folder,
            "secret_key": SECRET_KEY,
            "database_url": owner_url,
            "app_database_url": url_for_role(owner_url, APP_ROLE, ROLE_SECRETS.app),
            "worker_database_url": url_for_role(owner_url, WORKER_ROLE, ROLE_SECRETS.worker),
            **key_settings(owner_url),
            "limits": EVERYBODY_SIGNS_UP,
            "database_pool_size": 8,
            "replicate_api_token": "unused",
            "replicate_webhook_secret": ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
            "stripe_api_key": KEY,
            "stripe_base_url": stripe_url,
            "stripe_webhook_secret": (WEBHOOK_SECRET,),
            **more,
        }
    )


@pytest.fixture
async def buyer(shop: Shop) -> UserActor:
    return await shop.sign_up()
