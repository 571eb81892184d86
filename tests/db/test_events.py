"""Events reach the person they are about, and a gap is never silent."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from tests.factories.people import MakeUser

from visiona.db import events
from visiona.db.actor import UserActor
from visiona.db.events import QUEUE_LIMIT, Event, EventHub, notify
from visiona.db.pool import Connection, Database, fetch_value

RESYNC = Event("resync", 0)
PATIENCE_S = 10.0


@pytest.fixture
async def hub(app_url: str) -> AsyncGenerator[EventHub]:
    """Listening already."""
    hub = EventHub(app_url)
    async with hub.subscribe(0) as queue:
        hub.start()
        assert await _next(queue) == RESYNC
    yield hub
    await hub.stop()


@pytest.fixture
async def alice(make_user: MakeUser) -> UserActor:
    return await make_user()


@pytest.fixture
async def bob(make_user: MakeUser) -> UserActor:
    return await make_user()


async def _next(queue: asyncio.Queue[Event]) -> Event:
    async with asyncio.timeout(PATIENCE_S):
        return await queue.get()


async def _announce(database: Database, actor: UserActor, *ids: int) -> None:
    async with database.transaction(actor) as connection:
        for row_id in ids:
            await notify(connection, actor.user_id, "run", row_id)


async def test_each_hears_of_their_own_only(
    hub: EventHub, database: Database, alice: UserActor, bob: UserActor
) -> None:
    async with hub.subscribe(alice.user_id) as hers, hub.subscribe(bob.user_id) as his:
        await _announce(database, alice, 1)
        await _announce(database, bob, 2)
        await _announce(database, alice, 3)
        assert [await _next(hers), await _next(hers)] == [Event("run", 1), Event("run", 3)]
        assert await _next(his) == Event("run", 2)
        assert hers.empty()
        assert his.empty()


async def test_every_window_of_a_person_hears(hub: EventHub, database: Database, alice: UserActor) -> None:
    async with hub.subscribe(alice.user_id) as first, hub.subscribe(alice.user_id) as second:
        async with database.transaction(alice) as connection:
            await notify(connection, alice.user_id, "model", 7)
        assert await _next(first) == await _next(second) == Event("model", 7)


async def test_what_was_rolled_back_is_not_told(hub: EventHub, database: Database, alice: UserActor) -> None:
    async def fail() -> None:
        async with database.transaction(alice) as connection:
            await notify(connection, alice.user_id, "run", 1)
            raise LookupError

    async with hub.subscribe(alice.user_id) as queue:
        with pytest.raises(LookupError):
            await fail()
        await _announce(database, alice, 2)
        assert await _next(queue) == Event("run", 2)


async def test_a_lost_connection_ends_in_a_resync(
    hub: EventHub,
    database: Database,
    owner: Connection,
    alice: UserActor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "RECONNECT_DELAY_S", 0.05)
    async with hub.subscribe(alice.user_id) as queue:
        ended = await fetch_value(
            owner,
            """select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and query = 'listen visiona_events'""",
            [],
        )
        assert ended == 1
        await _announce(database, alice, 1)  # perhaps lost, hence:
        while await _next(queue) != RESYNC:
            pass
        await _announce(database, alice, 2)
        assert await _next(queue) == Event("run", 2)


async def test_a_slow_subscriber_is_told_to_resync(
    hub: EventHub, database: Database, alice: UserActor
) -> None:
    """It gets what came last; memory stays bounded, and others are not held up."""
    last = QUEUE_LIMIT + 10
    async with hub.subscribe(alice.user_id) as slow, hub.subscribe(alice.user_id) as quick:
        told = asyncio.create_task(_until(quick, last))
        await _announce(database, alice, *range(1, last + 1))
        assert (await told)[-1] == Event("run", last)
        assert slow.qsize() <= QUEUE_LIMIT
        assert await _next(slow) == RESYNC
        assert (await _until(slow, last))[-1] == Event("run", last)


async def _until(queue: asyncio.Queue[Event], row_id: int) -> list[Event]:
    heard: list[Event] = []
    while not heard or heard[-1].id != row_id:
        heard.append(await _next(queue))
    return heard


@pytest.mark.parametrize("payload", ["", "no json", "[]", "{}", '{"user": [], "topic": "run", "id": 1}'])
async def test_what_others_say_on_the_channel_is_ignored(
    hub: EventHub, database: Database, owner: Connection, alice: UserActor, payload: str
) -> None:
    async with hub.subscribe(alice.user_id) as queue:
        await owner.execute("select pg_notify('visiona_events', %s)", [payload])
        await _announce(database, alice, 1)
        assert await _next(queue) == Event("run", 1)


async def test_the_end_of_the_process_is_announced(hub: EventHub, alice: UserActor, bob: UserActor) -> None:
    async with hub.subscribe(alice.user_id) as hers, hub.subscribe(bob.user_id) as his:
        hub.announce_end()
        assert await _next(hers) == await _next(his) == Event("closing", 0)
        async with hub.subscribe(alice.user_id) as late:  # on its way while it was announced
            assert await _next(late) == Event("closing", 0)


async def test_those_who_leave_are_forgotten(hub: EventHub, alice: UserActor) -> None:
    async with hub.subscribe(alice.user_id):
        async with hub.subscribe(alice.user_id):
            pass
        assert list(hub._subscribers) == [alice.user_id]
    assert hub._subscribers == {}


async def test_a_hub_that_was_never_started_can_be_stopped(app_url: str) -> None:
    await EventHub(app_url).stop()
