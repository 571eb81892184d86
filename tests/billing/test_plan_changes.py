"""The plan file changes: what is on record follows it, and nobody is left with a plan that is gone."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from tests.billing.conftest import (
    FREE,
    OWN,
    PREMIUM,
    STUDIO,
    assert_ledger_holds,
    entries,
    granted,
    month,
    reserve,
    set_windows,
)
from tests.conftest import ROLE_SECRETS, SECRET_KEY
from tests.factories.keys import key_settings
from tests.factories.people import OpenDatabase, add_user

from visiona.billing.model import Catalogue, Use, calendar_period
from visiona.billing.service import BillingService, publish_plans
from visiona.bootstrap import prepare_database
from visiona.core.clock import SystemClock
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.db.roles import APP_ROLE, OWNER_ROLE, WORKER_ROLE, url_for_role
from visiona.settings import Settings, SettingsError


class Shop:
    """A database of its own, whose plans a test can change; both roles of it are connected."""

    def __init__(self, url: str, app: Database, worker: Database, owner: Connection) -> None:
        self.url = url
        self.app = app
        self.worker = worker
        self.owner = owner
        self.catalogue = OWN

    async def publish(self, catalogue: Catalogue) -> None:
        """As `visiona migrate` does after a change of the file."""
        self.catalogue = catalogue
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            await connection.execute(f"set local role {OWNER_ROLE}")
            await publish_plans(connection, catalogue)

    @property
    def web(self) -> BillingService:
        return BillingService(self.app, SystemClock(), self.catalogue)

    @property
    def operator(self) -> BillingService:
        return BillingService(self.worker, SystemClock(), self.catalogue)

    async def sign_up(self, name: str) -> UserActor:
        return await add_user(self.app, subject=name)

    async def limit(self, actor: UserActor) -> tuple[str, Use]:
        """The plan's name and the use of images."""
        quota = await self.web.quota(actor)
        return quota.plan.name, quota.images


@pytest.fixture
async def shop(own_database_url: str, open_database: OpenDatabase) -> AsyncGenerator[Shop]:
    app = url_for_role(own_database_url, APP_ROLE, ROLE_SECRETS.app)
    worker = url_for_role(own_database_url, WORKER_ROLE, ROLE_SECRETS.worker)
    async with (
        open_database(max_size=4, url=app) as app_database,
        open_database(max_size=4, url=worker) as worker_database,
        await psycopg.AsyncConnection.connect(own_database_url, autocommit=True) as owner,
    ):
        yield Shop(own_database_url, app_database, worker_database, owner)


def _with(catalogue: Catalogue, name: str, **changes: int) -> Catalogue:
    return replace(catalogue, plans={**catalogue.plans, name: replace(catalogue.plans[name], **changes)})


def _without(catalogue: Catalogue, name: str) -> Catalogue:
    return replace(catalogue, plans={other: plan for other, plan in catalogue.plans.items() if other != name})


@pytest.mark.parametrize("images", [FREE.images + 20, 2])
async def test_open_months_follow_the_file(shop: Shop, images: int) -> None:
    alice = await shop.sign_up("alice")
    await reserve(shop.app, alice, 4)
    await shop.publish(_with(OWN, "free", images=images))
    await shop.operator.refresh()
    assert await shop.limit(alice) == ("free", Use(4, max(images, 4)))
    left = max(images - 4, 0)
    if left:
        assert await granted(reserve(shop.app, alice, left))
    assert not await granted(reserve(shop.app, alice, 1))
    assert ("plan", "free", images - FREE.images) in [row[:3] for row in await entries(shop.owner, alice)]
    await assert_ledger_holds(shop.owner, alice)


async def test_months_not_opened_yet_follow_the_file_at_once(shop: Shop) -> None:
    alice = await shop.sign_up("alice")
    await shop.publish(_with(OWN, "free", images=7))
    assert await shop.limit(alice) == ("free", Use(0, 7))
    assert not await granted(reserve(shop.app, alice, 8))
    assert await granted(reserve(shop.app, alice, 7))


@pytest.mark.parametrize(
    "start", [datetime.now(UTC) - timedelta(days=3), calendar_period(datetime.now(UTC)).start]
)
async def test_what_was_paid_for_is_not_the_files_to_change(shop: Shop, start: datetime) -> None:
    """Paid months change when the account at the payment service is read, and not before."""
    alice = await shop.sign_up("alice")
    await set_windows(shop.worker, alice, [month(start, PREMIUM.images, 10, days=31, plan=PREMIUM)])
    await shop.publish(_with(OWN, "premium", images=5))
    await shop.operator.refresh()
    assert await shop.limit(alice) == ("premium", Use(0, PREMIUM.images))


async def test_what_has_ended_counts_no_more_even_where_nothing_is_free(shop: Shop) -> None:
    alice = await shop.sign_up("alice")
    await shop.publish(_with(OWN, "free", images=0))
    await set_windows(shop.worker, alice, [month(datetime.now(UTC) - timedelta(days=3), 100, plan=PREMIUM)])
    await reserve(shop.app, alice, 5)
    await set_windows(shop.worker, alice, [])
    assert await shop.limit(alice) == ("free", Use(0, 0))
    assert not await granted(reserve(shop.app, alice, 1))


async def test_another_base_is_everybodys_who_has_nothing_else(shop: Shop) -> None:
    alice, bob, carol = [await shop.sign_up(name) for name in ("alice", "bob", "carol")]
    await shop.operator.set_plan(bob.user_id, "premium")
    for person in (alice, bob):
        await reserve(shop.app, person, 1)
    await shop.publish(replace(OWN, base="studio"))
    await shop.operator.refresh()
    assert await shop.limit(alice) == ("studio", Use(1, STUDIO.images))
    assert await shop.limit(bob) == ("premium", Use(1, PREMIUM.images))
    assert await shop.limit(carol) == ("studio", Use(0, STUDIO.images))
    await reserve(shop.app, carol, FREE.images + 1)
    await shop.publish(OWN)
    assert [row[0] for row in await _rows(shop, "select name from plans where is_base")] == ["free"]


async def test_operators_see_who_has_another_plan(shop: Shop) -> None:
    given, subscribed, both, ended, _ = [
        await shop.sign_up(name) for name in ("given", "subscribed", "both", "ended", "nobody")
    ]
    start = datetime.now(UTC) - timedelta(days=3)
    for person, plan in ((given, "studio"), (both, "premium")):
        await shop.operator.set_plan(person.user_id, plan)
    for person, plan in ((subscribed, PREMIUM), (both, STUDIO), (ended, STUDIO)):
        await set_windows(shop.worker, person, [month(start, plan.images, 1, plan=plan)])
    await set_windows(shop.worker, ended, [])
    assert await shop.operator.plans_by_user() == {
        given.user_id: "studio",
        subscribed.user_id: "premium",
        both.user_id: "studio",
    }


@pytest.mark.parametrize("how", ["given", "subscribed"])
async def test_a_plan_that_people_have_cannot_leave_the_file(shop: Shop, tmp_path: Path, how: str) -> None:
    alice = await shop.sign_up("alice")
    start = datetime.now(UTC) - timedelta(days=3)
    if how == "given":
        await shop.operator.set_plan(alice.user_id, "studio")
    else:
        await set_windows(shop.worker, alice, [month(start, 4000, plan=STUDIO)])
    settings = _settings(shop, tmp_path, "studio")
    with pytest.raises(SettingsError, match=r"not any more: studio\. Put them back with `offered = false`"):
        await prepare_database(settings)

    await shop.operator.set_plan(alice.user_id, "free")
    await set_windows(shop.worker, alice, [month(start, 1000, plan=PREMIUM)])
    assert await prepare_database(settings) == []


async def test_a_plan_that_nobody_has_can_leave_the_file(shop: Shop, tmp_path: Path) -> None:
    alice = await shop.sign_up("alice")
    over = month(datetime.now(UTC) - timedelta(days=40), 4000, plan=STUDIO)
    await set_windows(shop.worker, alice, [over])
    assert await prepare_database(_settings(shop, tmp_path, "studio")) == []


def _settings(shop: Shop, folder: Path, without: str) -> Settings:
    """Settings whose plan file has all plans but one."""
    lines = ['currency = "usd"']
    for plan in _without(OWN, without):
        lines += [f"[plans.{plan.name}]", f'title = "{plan.title}"']
        lines += [f"images = {plan.images}", f"clones = {plan.clones}"]
    (folder / "plans.toml").write_text("\n".join(lines), encoding="utf-8")
    return Settings(
        secret_key=SECRET_KEY,
        **key_settings(shop.url),
        database_url=shop.url,
        app_database_url=url_for_role(shop.url, APP_ROLE, ROLE_SECRETS.app),
        worker_database_url=url_for_role(shop.url, WORKER_ROLE, ROLE_SECRETS.worker),
        plans_file=folder / "plans.toml",
    )


async def _rows(shop: Shop, query: str) -> list[tuple[str]]:
    return await (await shop.owner.execute(query)).fetchall()  # type: ignore[arg-type] # test SQL
