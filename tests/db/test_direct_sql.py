"""SQL that no service sends, as the application role: the database itself has to say no."""

import asyncio

import pytest
from psycopg.errors import CheckViolation, ForeignKeyViolation, InsufficientPrivilege, UniqueViolation
from tests.factories.people import MakePerson, OpenDatabase, Person

from visiona.db.actor import Anonymous
from visiona.db.pool import Connection, Database

OPEN = """insert into quota_usage (user_id, resource, period_start, period_end, plan, entitled)
  values (%(user)s, %(resource)s, %(start)s::timestamptz, %(end)s::timestamptz, 'premium', %(amount)s)
  on conflict (user_id, resource, period_start) do nothing"""
RESERVE = """update quota_usage set reserved = %(amount)s, entry = 'reserve', reference = ''
  where resource = %(resource)s"""
RUN = """insert into runs (user_id, model_id, version, trigger_word, prompt, enhance, inputs, num_outputs,
    quota_period)
  select %(user)s, %(model)s, 'version-of-' || %(user)s, %(runs_trigger_word)s, %(runs_prompt)s, false,
    %(runs_inputs)s, %(outputs)s, %(period)s
  from generate_series(1, %(times)s)"""
MODEL = """insert into models (user_id, consent_id, trigger_word, parameters, photo_count)
  values (%(user)s, (select id from consents where user_id = %(user)s limit 1),
    %(models_trigger_word)s, %(models_parameters)s, 1)"""
TRAINING = """insert into trainings (user_id, model_id, quota_period)
  values (%(user)s, %(spare_model)s, %(period)s)"""


async def _execute(database: Database, person: Person, query: str, **more: object) -> int:
    async with database.transaction(person.actor) as connection:
        return (await connection.execute(query, {**person.rows, **more})).rowcount


# Parents of other people


@pytest.mark.parametrize(
    ("statement", "parent"),
    [
        ("insert into model_photos values (%(user)s, %(model)s, %(theirs)s)", "photo"),
        ("insert into model_photos values (%(user)s, %(theirs)s, %(spare_photo)s)", "model"),
        ("insert into trainings (user_id, model_id, quota_period) values (%(user)s, %(theirs)s, %(period)s)",
         "spare_model"),
    ],
)  # fmt: skip
async def test_a_row_cannot_hang_on_anothers(
    database: Database, alice: Person, bob: Person, statement: str, parent: str
) -> None:
    with pytest.raises(ForeignKeyViolation):
        await _execute(database, alice, statement, theirs=bob.rows[parent])


async def test_a_run_cannot_use_anothers_clone(database: Database, carol: Person, bob: Person) -> None:
    """Neither by the model's id, nor by naming its weights, nor by naming no model at all."""
    theirs, own = bob.rows["model"], carol.rows["model"]
    query = RUN.replace("'version-of-' || %(user)s", "%(version)s")
    for model, version in (
        (theirs, f"version-of-{bob.id}"),
        (theirs, f"version-of-{carol.id}"),
        (own, f"version-of-{bob.id}"),
        (None, f"version-of-{bob.id}"),
        (carol.rows["spare_model"], f"version-of-{carol.id}"),
    ):
        with pytest.raises(InsufficientPrivilege, match='"own_clone"'):
            await _execute(database, carol, query, model=model, version=version, outputs=1, times=1)
    await _execute(database, carol, query, version=f"version-of-{carol.id}", outputs=1, times=1)


@pytest.mark.parametrize("parent", ["model", "run"])
async def test_the_worker_cannot_deliver_into_anothers_run(
    worker_database: Database, alice: Person, bob: Person, parent: str
) -> None:
    with pytest.raises(ForeignKeyViolation):
        await _execute(
            worker_database,
            alice,
            """insert into generations (user_id, model_id, run_id, position, prompt, image_url, thumbnail_url,
                 content_type, width, height, size, sha256, parameters)
               values (%(user)s, %(model)s, %(run)s, 2, %(generations_prompt)s, %(folder)s || 'x',
                 %(folder)s || 'y', 'image/webp', 1, 1, 1, repeat('f', 64), %(generations_parameters)s)""",
            **{parent: bob.rows[parent]},
        )


@pytest.mark.parametrize(
    "statement",
    [
        "insert into pending_objects (key, user_id) values (%(theirs)s, %(user)s)",
        """insert into photos (user_id, consent_id, file_url, thumbnail_url, width, height, size, sha256)
           values (%(user)s, (select id from consents where user_id = %(user)s limit 1),
             %(theirs)s, %(folder)s || 'x.webp', 1, 1, 1, repeat('e', 64))""",
        """insert into photos (user_id, consent_id, file_url, thumbnail_url, width, height, size, sha256)
           values (%(user)s, (select id from consents where user_id = %(user)s limit 1),
             %(folder)s || 'x.jpg', %(theirs)s, 1, 1, 1, repeat('e', 64))""",
    ],
)
async def test_a_row_cannot_name_anothers_object(
    database: Database, alice: Person, bob: Person, statement: str
) -> None:
    """Or deleting the row, or sweeping what was never used, would delete the other's bytes."""
    with pytest.raises(CheckViolation, match="own_objects"):
        await _execute(database, alice, statement, theirs=f"{bob.rows['folder']}1.webp")


async def test_the_worker_cannot_give_a_row_away(
    worker_database: Database, alice: Person, bob: Person
) -> None:
    for table in ("trainings", "runs"):
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            await _execute(worker_database, alice, f"update {table} set user_id = %(bob)s", bob=bob.id)


# Tier limits


async def test_a_person_cannot_raise_their_plan(database: Database, alice: Person) -> None:
    for statement in (
        "update entitlements set plan = 'premium'",
        "insert into entitlements (user_id, plan) values (%(user)s, 'premium')",
        "delete from entitlements",
        "update plans set images = 1000000",
        "insert into plans values ('mine', 1000000, 1000000)",
    ):
        with pytest.raises(InsufficientPrivilege, match="permission denied"):
            await _execute(database, alice, statement)


@pytest.mark.parametrize(("resource", "limit"), [("images", 1000), ("clones", 10)])
async def test_a_person_cannot_set_aside_more_than_their_plan(
    database: Database, carol: Person, resource: str, limit: int
) -> None:
    assert await _execute(database, carol, RESERVE, resource=resource, amount=limit) == 1
    with pytest.raises(InsufficientPrivilege, match='"tier_limit_update"'):
        await _execute(database, carol, RESERVE, resource=resource, amount=limit + 1)


@pytest.mark.parametrize(("resource", "limit"), [("images", 1000), ("clones", 10)])
async def test_a_person_cannot_open_a_month_that_allows_more_than_their_plan(
    database: Database, owner: Connection, carol: Person, resource: str, limit: int
) -> None:
    await owner.execute("delete from quota_usage where user_id = %s", [carol.id])
    month = {"start": carol.rows["period"], "end": carol.rows["period_end"]}
    with pytest.raises(InsufficientPrivilege, match='"tier_limit_insert"'):
        await _execute(database, carol, OPEN, resource=resource, amount=limit + 1, **month)
    assert await _execute(database, carol, OPEN, resource=resource, amount=limit, **month) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("used", "0"),
        ("entitled", "1000000"),
        ("plan", "'studio'"),
        ("subscription_id", "'sub_invented'"),
        ("period_start", "'2000-01-01'"),
        ("period_end", "'infinity'"),
    ],
)
async def test_what_was_granted_and_used_is_not_the_applications_to_change(
    database: Database, alice: Person, column: str, value: str
) -> None:
    with pytest.raises(InsufficientPrivilege, match="permission denied"):
        await _execute(database, alice, f"update quota_usage set {column} = {value}")


async def test_a_quota_cannot_be_thrown_away_to_open_it_again(database: Database, alice: Person) -> None:
    with pytest.raises(InsufficientPrivilege, match="permission denied"):
        await _execute(database, alice, "delete from quota_usage")


async def test_a_person_cannot_invent_a_period(database: Database, owner: Connection, carol: Person) -> None:
    """Another period would be another allowance."""
    cursor = await owner.execute(
        """select first::text, last::text from (values
             (%(period)s + interval '1 microsecond', %(period_end)s),
             (%(period)s - interval '1 day', %(period_end)s),
             (%(period)s + interval '2 months', %(period_end)s + interval '2 months'),
             (%(period)s - interval '2 months', %(period_end)s),
             (timestamptz '2099-01-01 00:00Z', timestamptz '2099-02-01 00:00Z'),
             (%(period)s, %(period_end)s + interval '2 months'),
             (%(period)s, timestamptz 'infinity')) as invented (first, last)""",
        carol.rows,
    )
    for start, end in await cursor.fetchall():
        with pytest.raises(InsufficientPrivilege, match='"tier_limit_insert"'):
            await _execute(database, carol, OPEN, start=start, end=end, resource="images", amount=1)


async def test_nothing_is_set_aside_in_a_period_that_is_not_now(
    database: Database, owner: Connection, carol: Person
) -> None:
    await owner.execute(
        """update quota_usage set period_start = period_start - interval '40 days',
             period_end = now() - interval '2 days' where user_id = %s""",
        [carol.id],
    )
    assert await _execute(database, carol, RESERVE, resource="images", amount=1) == 0


async def test_no_run_without_a_reservation(database: Database, carol: Person) -> None:
    await _execute(database, carol, RESERVE, resource="images", amount=3)
    with pytest.raises(InsufficientPrivilege, match='"tier_limit"'):
        await _execute(database, carol, RUN, outputs=4, times=1)


@pytest.mark.parametrize("together", [True, False])
async def test_a_reservation_covers_one_piece_of_work(
    database: Database, carol: Person, together: bool
) -> None:
    """Not two in turn, nor two in one statement."""
    await _execute(database, carol, RESERVE, resource="images", amount=4)
    if not together:
        await _execute(database, carol, RUN, outputs=4, times=1)
    with pytest.raises(InsufficientPrivilege, match='"tier_limit"'):
        await _execute(database, carol, RUN, outputs=4, times=2 if together else 1)
    if together:
        await _execute(database, carol, RUN, outputs=2, times=2)


async def test_a_reservation_covers_one_of_two_at_once(database: Database, carol: Person) -> None:
    """The second waits until it is certain what became of the first."""
    await _execute(database, carol, RESERVE, resource="images", amount=4)
    inserted = asyncio.Event()

    async def first() -> None:
        async with database.transaction(carol.actor) as connection:
            await connection.execute(RUN, {**carol.rows, "outputs": 4, "times": 1})
            inserted.set()
            await asyncio.sleep(0.2)

    async def second() -> int:
        await inserted.wait()
        return await _execute(database, carol, RUN, outputs=4, times=1)

    answers = await asyncio.gather(first(), second(), return_exceptions=True)
    assert answers[0] is None
    assert isinstance(answers[1], InsufficientPrivilege)


async def test_no_training_without_a_reservation(database: Database, carol: Person) -> None:
    await _execute(database, carol, RESERVE, resource="clones", amount=0)
    with pytest.raises(InsufficientPrivilege, match='"tier_limit"'):
        await _execute(database, carol, TRAINING)
    await _execute(database, carol, RESERVE, resource="clones", amount=1)
    await _execute(database, carol, TRAINING)


async def test_a_clone_in_training_cannot_vanish_with_its_reservation(
    database: Database, carol: Person
) -> None:
    await _execute(database, carol, MODEL)
    assert await _execute(database, carol, "delete from models where status = 'Processing'") == 0
    assert await _execute(database, carol, "delete from models") == 2


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("models", "status", "'Ready'"),
        ("models", "version", "'version-of-another'"),
        ("trainings", "state", "'succeeded'"),
        ("trainings", "provider_id", "'training-of-another'"),
        ("runs", "state", "'running'"),
        ("runs", "provider_id", "'prediction-of-another'"),
        ("runs", "finished_at", "now()"),
        ("photos", "uploaded_at", "now()"),
        ("quota_usage", "used", "1"),
        ("idempotency_keys", "result_id", "1"),
    ],
)
async def test_the_application_writes_no_outcomes(
    database: Database, alice: Person, table: str, column: str, value: str
) -> None:
    """What a provider said comes in through the worker alone."""
    with pytest.raises(InsufficientPrivilege, match="permission denied"):
        await _execute(database, alice, f"insert into {table} (user_id, {column}) values (%(user)s, {value})")


# Payments


async def test_a_customer_is_linked_once(database: Database, owner: Connection, carol: Person) -> None:
    """Who could become somebody else's customer would be entitled to what that one pays for."""
    link = "update payment_customers set customer_id = %(customer)s"
    assert await _execute(database, carol, link, customer=f"cus_{carol.id}") == 1
    assert await _execute(database, carol, link, customer="cus_of_another") == 0
    assert await _execute(database, carol, "update payment_customers set mode = 'live'") == 0
    cursor = await owner.execute(
        "select customer_id, mode from payment_customers where user_id = %s", [carol.id]
    )
    assert await cursor.fetchone() == (f"cus_{carol.id}", "test")


async def test_two_people_are_never_the_same_customer(
    database: Database, carol: Person, make_person: MakePerson
) -> None:
    link = "update payment_customers set customer_id = 'cus_shared'"
    await _execute(database, await make_person(), link)
    with pytest.raises(UniqueViolation):
        await _execute(database, carol, link)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into payment_customers (user_id, mode, customer_id) values (%(user)s, 'live', 'cus_1')",
        "update payment_customers set version = version + 1",
        "update payment_customers set synced_at = now()",
        "update payment_customers set due_at = 'infinity'",
        "update payment_customers set user_id = 1",
        "update checkouts set trial_days = 365",
        "update checkouts set plan = 'studio'",
        "update checkouts set lookup_key = 'visiona_premium_month'",
        "update checkouts set expires_at = 'infinity'",
        """insert into checkouts (id, user_id, lookup_key, plan, trial_days, created_at, expires_at, state)
           values (gen_random_uuid(), %(user)s, 'x', 'premium', 0, now(), now(), 'complete')""",
        "update subscriptions set status = 'active'",
        "update invoices set status = 'paid'",
        "update payments set refunded = 0",
    ],
)
async def test_what_was_bought_is_not_the_applications_to_say(
    database: Database, alice: Person, statement: str
) -> None:
    with pytest.raises(InsufficientPrivilege, match="permission denied"):
        await _execute(database, alice, statement)


async def test_one_checkout_of_a_person_is_open_at_a_time(database: Database, carol: Person) -> None:
    start = """insert into checkouts (id, user_id, lookup_key, plan, trial_days, created_at, expires_at)
      values (gen_random_uuid(), %(user)s, 'visiona_premium_month', 'premium', 0, now(), now())"""
    reopen = "update checkouts set state = 'open' where state = 'complete'"
    await _execute(database, carol, start)
    for statement in (start, reopen):
        with pytest.raises(UniqueViolation, match="checkouts_open"):
            await _execute(database, carol, statement)


# Ways around a WHERE


@pytest.mark.parametrize(
    "statement",
    [
        "create temp view seen as select user_id from photos; select user_id from seen",
        "create temp table seen as select user_id from photos; select user_id from seen",
        "declare seen cursor for select user_id from photos; fetch all from seen",
        "with recursive seen as (select user_id from photos) select user_id from seen",
        "select user_id from photos tablesample system (100)",
        "select p.user_id from users u join photos p on true",
        "select (jsonb_populate_record(null::photos, to_jsonb(p))).user_id from photos p",
        "select user_id from trainings for update",
    ],
)
async def test_other_ways_to_read_show_own_rows_only(
    database: Database, alice: Person, statement: str
) -> None:
    async with database.transaction(alice.actor) as connection, connection.transaction(force_rollback=True):
        cursor = await connection.execute(statement)
        while cursor.nextset():
            pass
        assert {value for (value,) in await cursor.fetchall()} == {alice.id}


async def test_a_leaky_function_is_shown_own_rows_only(
    database: Database, alice: Person, bob: Person
) -> None:
    """A cheap function that tells its argument runs after the policy, however it is costed."""
    told: list[str] = []
    async with database.transaction(alice.actor) as connection, connection.transaction(force_rollback=True):
        await connection.execute(
            """create function pg_temp.tell(key text) returns boolean language plpgsql cost 0.0000001
               as $$ begin raise notice '%', key; return true; end $$"""
        )
        connection.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        await connection.execute("select 1 from photos where pg_temp.tell(file_url)")
    assert sorted(told) == [f"u{alice.id}/photos/1.jpg", f"u{alice.id}/photos/2.jpg"]
    assert not any(f"u{bob.id}/" in text for text in told)


async def test_copy_carries_own_rows_only(database: Database, alice: Person) -> None:
    async with (
        database.transaction(alice.actor) as connection,
        connection.cursor() as cursor,
        cursor.copy("copy photos (user_id) to stdout") as copy,
    ):
        rows = [row async for row in copy.rows()]
    assert rows == [(str(alice.id),)] * 2


async def test_a_link_that_was_used_stays_used(database: Database, carol: Person) -> None:
    assert await _execute(database, carol, "update email_links set used_at = now()") == 1
    assert await _execute(database, carol, "update email_links set used_at = null") == 0


async def test_row_security_cannot_be_turned_off(database: Database, alice: Person) -> None:
    with pytest.raises(InsufficientPrivilege, match="row-level security"):
        async with database.transaction(alice.actor) as connection:
            await connection.execute("set local row_security = off")
            await connection.execute("select 1 from photos")


# A small pool, reused


async def test_ten_thousand_transactions_on_three_connections(
    open_database: OpenDatabase, alice: Person, bob: Person
) -> None:
    """Identities alternate at random over the connections; each sees exactly itself."""
    people = {alice.id: alice.actor, bob.id: bob.actor, None: Anonymous()}
    seen = {user_id: set() for user_id in people}
    done = 0

    async def work(database: Database, user_id: int | None, times: int) -> None:
        nonlocal done
        for _ in range(times):
            async with database.transaction(people[user_id]) as connection:
                cursor = await connection.execute("select user_id from photos")
                seen[user_id] |= {row[0] for row in await cursor.fetchall()}
            done += 1

    async with open_database(max_size=3) as database:
        await asyncio.gather(*(work(database, user_id, 417) for user_id in people for _ in range(8)))
    assert done >= 10_000
    assert seen == {alice.id: {alice.id}, bob.id: {bob.id}, None: set()}
