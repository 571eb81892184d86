"""What administrators find and do, through the service, on the real database."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import pytest
from tests.administration.conftest import MakeAdmin, MakePerson
from tests.factories.audit import tamper
from tests.factories.people import MakeUser, Person

from visiona.administration import model
from visiona.administration.model import Reason, Search, read_search
from visiona.administration.service import AdministrationService
from visiona.audit.model import Filter
from visiona.billing.model import Catalogue
from visiona.core.errors import Conflict, Forbidden, Invalid, NotFound
from visiona.db.actor import AdminActor, UserActor
from visiona.db.pool import Connection, Database, fetch_value
from visiona.vault.service import Vault

Log = Callable[[int], Awaitable[list[tuple[str, dict]]]]


def now() -> datetime:
    return datetime.now(UTC)


# Finding


async def test_people_are_found_by_address_id_and_subject(
    service: AdministrationService, admin: AdminActor, make_user: MakeUser
) -> None:
    ana = await make_user(email=f"ana.{admin.user_id}@find.example.com")
    anna = await make_user(email=f"ana.{admin.user_id}0@find.example.com")

    async def found(text: str) -> list[int]:
        return [line.id for line in await service.find(admin, read_search(text, 10))]

    (line,) = await service.find(admin, read_search(f"  ANA.{admin.user_id}@find.example.com ", 10))
    assert (line.id, line.email) == (ana.user_id, f"ana.{admin.user_id}@find.example.com")
    assert await found(f"ana.{admin.user_id}0@find.example.com") == [anna.user_id]
    assert await found(str(ana.user_id)) == [ana.user_id]
    assert await found(anna.subject) == [anna.user_id]
    # Addresses are found by their hash: whole or not at all.
    assert await found(f"ana.{admin.user_id}") == []
    assert await found(f"%{admin.user_id}@find.example.com") == []
    assert await found("nobody\0@example.com") == []


async def test_of_somebody_whose_key_is_destroyed_nothing_is_read(
    service: AdministrationService, admin: AdminActor, make_person: MakePerson, vault: Vault
) -> None:
    gone = await make_person()
    await service.allow_support(gone.actor, 1)
    await vault.destroy(gone.id)
    assert [line.email for line in await service.find(admin, Search(1, user_id=gone.id))] == ["erased person"]
    record = await service.look(admin, gone.id)
    assert (record.email, [key.name for key in record.keys]) == ("erased person", ["erased person"])
    with pytest.raises(Forbidden):
        await service.content(admin, gone.id, 10)


async def test_lists_come_in_pages(
    service: AdministrationService, admin: AdminActor, make_user: MakeUser
) -> None:
    people = [(await make_user()).user_id for _ in range(5)][::-1]
    first = [line.id for line in await service.find(admin, Search(2, list="newest"))]
    second = [line.id for line in await service.find(admin, Search(3, list="newest", before=first[-1]))]
    assert first + second == people


async def test_lists_of_the_suspended_the_failing_and_admins(
    service: AdministrationService,
    admin: AdminActor,
    make_person: MakePerson,
    make_user: MakeUser,
    owner: Connection,
) -> None:
    failing, fine, suspended = await make_person(), await make_person(), await make_user()
    await owner.execute("update runs set state = 'failed' where id = %s", [failing.rows["run"]])
    await service.suspend(admin, suspended.user_id, Reason.TERMS)

    async def listed(name: model.PeopleList) -> set[int]:
        return {line.id for line in await service.find(admin, Search(100, list=name))}

    assert failing.id in await listed("failing")
    assert fine.id not in await listed("failing")
    assert suspended.user_id in await listed("suspended")
    assert fine.id not in await listed("suspended")
    assert admin.user_id in await listed("admins")
    assert fine.id not in await listed("admins")


# Looking


async def test_a_record_has_everything_but_words_and_pictures(
    service: AdministrationService, admin: AdminActor, alice: Person, owner: Connection, vault: Vault
) -> None:
    cipher = await vault.cipher(alice.id)
    await owner.execute(
        """update runs set prompt = %(prompt)s, enhanced_prompt = %(enhanced)s, inputs = %(inputs)s
           where user_id = %(user)s""",
        alice.rows
        | {
            "prompt": cipher.seal("runs.prompt", "SECRET words"),
            "enhanced": cipher.seal("runs.enhanced_prompt", "SECRET words"),
            "inputs": cipher.seal("runs.inputs", '{"p": "SECRET"}'),
        },
    )
    await owner.execute(
        "update models set trigger_word = %(word)s where user_id = %(user)s",
        alice.rows | {"word": cipher.seal("models.trigger_word", "SECRET")},
    )
    await owner.execute(
        """update models set status = 'Failed', error_code = 'photos_gone', error_message = %(message)s,
             version = null, input_schema = null where id = %(model)s""",
        alice.rows | {"message": cipher.seal("models.error_message", "Gone.")},
    )
    await owner.execute(
        """insert into procrastinate.procrastinate_jobs (queue_name, task_name, status, attempts, args)
           values ('parked', 'test.given_up', 'failed', 5, jsonb_build_object('user_id', %s))""",
        [alice.id],
    )
    record = await service.look(admin, alice.id)
    assert (record.id, record.subject, record.status, record.role) == (
        alice.id,
        alice.actor.subject,
        "active",
        "member",
    )
    assert record.email == f"{alice.actor.subject}@example.com"
    assert record.verified_at is None
    assert record.created_at.tzinfo is not None
    assert record.given_plan == "premium"
    assert {(q.resource.value, q.entitled, q.reserved) for q in record.quotas} == {
        ("images", 1000, 4),
        ("clones", 10, 1),
    }
    assert sorted(entry.amount for entry in record.ledger) == [9, 996]
    assert record.customer is not None
    assert record.customer.mode == "test"
    assert [s.status for s in record.subscriptions] == ["canceled"]
    assert [str(i.total) for i in record.invoices] == ["39"]
    clone = next(clone for clone in record.clones if clone.id == alice.rows["model"])
    assert (clone.status, clone.state, clone.error_code) == ("Failed", "succeeded", "photos_gone")
    assert clone.error_message == "Gone."
    assert [(run.state, run.num_outputs) for run in record.runs] == [("succeeded", 1)]
    assert record.sessions.open == 1
    assert [key.name for key in record.keys] == ["a program"]
    assert [(job.task, job.attempts) for job in record.jobs] == [("test.given_up", 5)]
    assert record.supported_until is None
    shown = repr([getattr(record, name) for name in record.__dataclass_fields__])
    for hidden in ("SECRET", "portrait", alice.rows["folder"], "version-of-", "prediction-of-"):
        assert hidden not in shown

    entitled = service.entitlement(record)
    assert (entitled.plan.name, entitled.source) == ("premium", "gift")
    assert (entitled.images.used, entitled.images.limit) == (4, 1000)


async def test_where_a_plan_comes_from(
    service: AdministrationService,
    admin: AdminActor,
    make_user: MakeUser,
    owner: Connection,
    catalogue: Catalogue,
) -> None:
    nobody = await make_user()
    entitled = service.entitlement(await service.look(admin, nobody.user_id))
    assert (entitled.plan.name, entitled.source, entitled.images.used) == (catalogue.base, "base", 0)
    start = now() - timedelta(days=1)
    await owner.execute(
        """insert into quota_usage (user_id, resource, period_start, period_end, plan, subscription_id,
             entitled, used, entry)
           select %(user)s, r, %(start)s, %(end)s, 'premium', 'sub_x', 500, 20, 'grant'
           from unnest(array['images', 'clones']) r""",
        {"user": nobody.user_id, "start": start, "end": start + timedelta(days=30)},
    )
    entitled = service.entitlement(await service.look(admin, nobody.user_id))
    assert (entitled.plan.name, entitled.source) == ("premium", "subscription")
    assert (entitled.images.used, entitled.images.limit) == (20, 500)
    assert entitled.period.start == start


async def test_a_look_is_on_record_once_an_hour_and_admin(
    service: AdministrationService,
    admin: AdminActor,
    make_admin: MakeAdmin,
    alice: Person,
    owner: Connection,
    log_of: Log,
) -> None:
    colleague = await make_admin()
    await service.look(admin, alice.id)
    await service.look(admin, alice.id)
    await service.history(admin, alice.id, 10)
    assert await log_of(alice.id) == [("admin.viewed", {"by": admin.user_id})]
    await service.look(colleague, alice.id)
    assert await log_of(alice.id) == [
        ("admin.viewed", {"by": admin.user_id}),
        ("admin.viewed", {"by": colleague.user_id}),
    ]
    await tamper(
        owner,
        "update audit_logs set created_at = created_at - interval '61 minutes' where user_id = %s",
        params=[alice.id],
    )
    await service.look(admin, alice.id)
    assert len(await log_of(alice.id)) == 3


async def test_nobody_of_an_id_leaves_no_trace(
    service: AdministrationService, admin: AdminActor, owner: Connection
) -> None:
    before = await fetch_value(owner, "select count(*) from audit_logs", [])
    for ask in (service.look(admin, 2**62), service.history(admin, 2**62, 10)):
        with pytest.raises(NotFound, match="no such person"):
            await ask
    assert await fetch_value(owner, "select count(*) from audit_logs", []) == before


async def test_the_log_is_read_in_pages(
    service: AdministrationService, admin: AdminActor, make_user: MakeUser
) -> None:
    actor = await make_user()
    await service.allow_support(actor, 1)
    await service.end_support(actor)
    own = await service.own_history(actor, 10)
    assert [entry.action for entry in own] == ["support.ended", "support.allowed", "account.created"]
    first = await service.history(admin, actor.user_id, 2)
    assert [entry.action for entry in first] == ["admin.viewed", "support.ended"]
    rest = await service.history(admin, actor.user_id, 10, first[-1].id)
    assert [entry.action for entry in rest] == ["support.allowed", "account.created"]
    page = await service.own_history(actor, 2, own[0].id)
    assert [entry.action for entry in page] == ["support.allowed", "account.created"]


# Words and pictures


async def test_words_and_pictures_are_seen_only_while_it_is_allowed(
    service: AdministrationService, admin: AdminActor, alice: Person, owner: Connection, log_of: Log
) -> None:
    with pytest.raises(Forbidden) as refused:
        await service.content(admin, alice.id, 10)
    assert refused.value.code == "support_not_allowed"
    assert await log_of(alice.id) == []

    until = await service.allow_support(alice.actor, 2)
    assert timedelta(hours=1, minutes=59) < until - now() <= timedelta(hours=2)
    assert await service.supported_until(alice.actor) == until
    (seen,) = await service.content(admin, alice.id, 10)
    assert (seen.id, seen.prompt) == (alice.rows["run"], "a portrait")
    assert [image.image_key for image in seen.images] == [f"{alice.rows['folder']}3.webp"]
    await service.content(admin, alice.id, 10, before=seen.id)
    assert await log_of(alice.id) == [("admin.content_viewed", {"by": admin.user_id})] * 2
    assert (await service.look(admin, alice.id)).supported_until == until

    await owner.execute("update support_grants set expires_at = now() where user_id = %s", [alice.id])
    assert await service.supported_until(alice.actor) is None
    with pytest.raises(Forbidden):
        await service.content(admin, alice.id, 10)

    await service.allow_support(alice.actor, 72)
    assert len(await service.content(admin, alice.id, 10)) == 1
    await service.end_support(alice.actor)
    await service.end_support(alice.actor)
    with pytest.raises(Forbidden):
        await service.content(admin, alice.id, 10)
    own = [entry.action for entry in await service.own_history(alice.actor, 20)]
    assert own.count("support.ended") == 1
    assert own.count("admin.content_viewed") == 3


async def test_hours_have_limits(service: AdministrationService, alice: Person) -> None:
    for hours in (0, -1, 73, 2**40):
        with pytest.raises(Invalid):
            await service.allow_support(alice.actor, hours)
    assert await service.supported_until(alice.actor) is None


async def test_permissions_that_ended_are_forgotten(
    operator: AdministrationService,
    service: AdministrationService,
    alice: Person,
    make_person: MakePerson,
    owner: Connection,
) -> None:
    lasting = await make_person()
    await service.allow_support(lasting.actor, 5)
    await service.allow_support(alice.actor, 5)
    await owner.execute("update support_grants set expires_at = now() where user_id = %s", [alice.id])
    await operator.purge()
    rows = await owner.execute(
        "select user_id from support_grants where user_id = any(%s)", [[alice.id, lasting.id]]
    )
    assert await rows.fetchall() == [(lasting.id,)]


# Acts


async def test_suspending_ends_sessions_keys_and_open_work(
    service: AdministrationService, admin: AdminActor, alice: Person, owner: Connection, log_of: Log
) -> None:
    await owner.execute(
        """insert into runs (user_id, model_id, version, trigger_word, prompt, enhance, inputs, num_outputs,
             quota_period) values (%(user)s, %(model)s, 'v', %(runs_trigger_word)s, %(runs_prompt)s, false,
               %(runs_inputs)s, 1, %(period)s)""",
        alice.rows,
    )
    await service.suspend(admin, alice.id, Reason.LIKENESS)
    row = await owner.execute(
        """select status,
             (select count(*) from sessions where user_id = u.id and revoked_at is null),
             (select count(*) from runs where user_id = u.id and finished_at is null
                and cancel_requested_at is null),
             (select status from visiona.use_api_key((select secret_hash from api_keys where user_id = u.id)))
           from users u where id = %s""",
        [alice.id],
    )
    assert await row.fetchall() == [("suspended", 0, 0, "suspended")]
    assert await log_of(alice.id) == [
        ("admin.suspended", {"by": admin.user_id}),
    ]
    (told,) = await service.own_history(alice.actor, 1)
    assert told.details == {"by": admin.user_id, "reason": "likeness"}
    with pytest.raises(Conflict) as refused:
        await service.suspend(admin, alice.id, Reason.TERMS)
    assert refused.value.code == "nothing_to_do"
    await service.unsuspend(admin, alice.id, Reason.MISTAKE)
    assert (await service.look(admin, alice.id)).status == "active"
    assert [action for action, _ in await log_of(alice.id)] == [
        "admin.suspended",
        "admin.unsuspended",
        "admin.viewed",
    ]
    with pytest.raises(Conflict):
        await service.unsuspend(admin, alice.id, Reason.MISTAKE)


async def test_ending_sessions(
    service: AdministrationService, admin: AdminActor, alice: Person, owner: Connection, log_of: Log
) -> None:
    await service.end_sessions(admin, alice.id, Reason.SECURITY)
    open_ones = "select count(*) from sessions where user_id = %s and revoked_at is null"
    assert await fetch_value(owner, open_ones, [alice.id]) == 0
    expected = {"by": admin.user_id, "sessions": 1}
    assert await log_of(alice.id) == [("admin.sessions_ended", expected)]
    _, told = await service.history(admin, alice.id, 2)
    assert told.details == {**expected, "reason": "security"}
    with pytest.raises(Conflict):
        await service.end_sessions(admin, alice.id, Reason.SECURITY)


async def test_sessions_at_the_identity_service_end_too(
    service: AdministrationService, admin: AdminActor, make_person: MakePerson, owner: Connection
) -> None:
    asked: LiteralString = """select args ->> 'session_id' from procrastinate.procrastinate_jobs
      where task_name = 'accounts.end_remote'"""
    for act in (service.suspend, service.end_sessions):
        person = await make_person()
        session_id = await fetch_value(
            owner,
            """update sessions set provider_session_id = 'sess_' || user_id where user_id = %s
               returning id::text""",
            [person.id],
        )
        await act(admin, person.id, Reason.SECURITY)
        assert (session_id,) in await (await owner.execute(asked)).fetchall()


async def test_nobody_suspends_themself_or_another_administrator(
    service: AdministrationService, admin: AdminActor, make_admin: MakeAdmin, log_of: Log
) -> None:
    colleague = await make_admin()
    for target, code in ((admin, "not_oneself"), (colleague, "is_administrator")):
        for act in (service.suspend, service.unsuspend):
            with pytest.raises(Conflict) as refused:
                await act(admin, target.user_id, Reason.OTHER)
            assert refused.value.code == code
    assert [action for action, _ in await log_of(colleague.user_id)] == ["admin.promoted"]
    for act in (service.suspend, service.unsuspend, service.end_sessions):
        with pytest.raises(NotFound):
            await act(admin, 2**62, Reason.OTHER)


async def test_a_plan_is_ordered_and_the_worker_gives_it(
    service: AdministrationService,
    operator: AdministrationService,
    admin: AdminActor,
    make_user: MakeUser,
    owner: Connection,
    log_of: Log,
    catalogue: Catalogue,
) -> None:
    actor = await make_user()
    user_id = actor.user_id
    await service.order_plan(admin, user_id, "premium", Reason.GOODWILL)
    await service.order_plan(admin, user_id, catalogue.base, Reason.MISTAKE)
    jobs = await owner.execute(
        """select args from procrastinate.procrastinate_jobs
           where task_name = 'administration.set_plan' and args ->> 'user_id' = %s::text order by id""",
        [user_id],
    )
    first, second = [args for (args,) in await jobs.fetchall()]
    given = "select plan from entitlements where user_id = %s"
    # Whichever is done first: what was ordered last counts.
    await operator.set_plan(**second)
    await operator.set_plan(**first)
    assert await fetch_value(owner, given, [user_id]) == catalogue.base
    assert [action for action, _ in await log_of(user_id)] == ["admin.plan_set"] * 2

    await owner.execute(
        """insert into quota_usage (user_id, resource, period_start, period_end, plan, entitled)
           values (%s, 'images', date_trunc('month', now(), 'UTC'),
             date_trunc('month', now(), 'UTC') + interval '1 month', %s, 20)""",
        [user_id, catalogue.base],
    )
    await service.order_plan(admin, user_id, "premium", Reason.GOODWILL)
    (args,) = (
        await (
            await owner.execute(
                """select args from procrastinate.procrastinate_jobs
               where task_name = 'administration.set_plan' and args ->> 'user_id' = %s::text
               order by id desc limit 1""",
                [user_id],
            )
        ).fetchall()
    )[0]
    await operator.set_plan(**args)
    record = await service.look(admin, user_id)
    assert service.entitlement(record).images.limit == catalogue.find("premium").images
    assert record.ledger[0].entry == "plan"
    last = (await log_of(user_id))[2]
    assert last == ("admin.plan_set", {"by": admin.user_id, "plan": "premium"})


async def test_unknown_plans_and_people_are_refused(
    service: AdministrationService, admin: AdminActor, make_user: MakeUser, log_of: Log
) -> None:
    actor = await make_user()
    with pytest.raises(Invalid) as refused:
        await service.order_plan(admin, actor.user_id, "everything", Reason.GOODWILL)
    assert refused.value.code == "unknown_plan"
    with pytest.raises(NotFound):
        await service.order_plan(admin, 2**62, "premium", Reason.GOODWILL)
    assert await log_of(actor.user_id) == []


async def test_acts_of_administrators_are_found(
    service: AdministrationService, admin: AdminActor, alice: Person, make_user: MakeUser
) -> None:
    bob = await make_user()
    await service.look(admin, alice.id)
    await service.suspend(admin, bob.user_id, Reason.TERMS)
    own = await service.log(admin, Filter(1, action="admin."))
    assert [(act.action, act.user_id) for act in own] == [("admin.log_viewed", admin.user_id)]
    acts = await service.log(admin, Filter(2, action="admin.", before=own[0].id))
    assert [(act.action, act.user_id) for act in acts] == [
        ("admin.suspended", bob.user_id),
        ("admin.viewed", alice.id),
    ]
    assert acts[0].details == {"by": admin.user_id, "reason": "terms"}
    (earlier,) = await service.log(admin, Filter(1, action="admin.", before=acts[0].id))
    assert earlier.action == "admin.viewed"


async def test_the_log_is_found_by_person_action_and_time(
    service: AdministrationService, admin: AdminActor, alice: Person, make_user: MakeUser
) -> None:
    bob = await make_user()
    await service.allow_support(alice.actor, 1)
    await service.allow_support(bob, 1)
    (newest,) = await service.log(admin, Filter(1, action="support.allowed"))
    assert (newest.user_id, newest.actor_kind) == (bob.user_id, "person")
    hers = await service.log(admin, Filter(9, user_id=alice.id))
    assert [entry.action for entry in hers] == ["admin.viewed", "support.allowed", "account.created"]
    assert [e.action for e in await service.log(admin, Filter(9, alice.id, "support.allowed"))] == [
        "support.allowed"
    ]
    long_ago, soon = now() - timedelta(days=400), now() + timedelta(minutes=1)
    assert await service.log(admin, Filter(9, alice.id, since=soon)) == []
    assert await service.log(admin, Filter(9, until=long_ago)) == []
    assert len(await service.log(admin, Filter(9, alice.id, since=long_ago, until=soon))) == 3
    with pytest.raises(NotFound):
        await service.log(admin, Filter(9, user_id=2**62))


# Administrators


async def test_administrators_are_made_at_the_console(
    operator: AdministrationService,
    service: AdministrationService,
    make_user: MakeUser,
    database: Database,
    owner: Connection,
    log_of: Log,
) -> None:
    user = await make_user()
    admin = AdminActor(user.user_id, user.subject)

    async def is_admin() -> bool:
        async with database.transaction(admin) as connection:
            return await fetch_value(connection, "select visiona.is_admin()", [])

    assert not await is_admin()
    await operator.promote(user.user_id)
    assert await is_admin()
    await owner.execute("update users set barred = true where id = %s", [user.user_id])
    assert not await is_admin()
    await owner.execute("update users set barred = false where id = %s", [user.user_id])
    with pytest.raises(Conflict):
        await operator.promote(user.user_id)
    await operator.demote(user.user_id)
    assert not await is_admin()
    assert await service.find(admin, Search(10, list="newest")) == []
    assert await log_of(user.user_id) == [
        ("admin.promoted", {"by": "operator"}),
        ("admin.demoted", {"by": "operator"}),
    ]
    with pytest.raises(Conflict):
        await operator.demote(user.user_id)


def test_searches_and_reasons() -> None:
    assert read_search("", 5) == Search(5, list="newest")
    assert read_search("17", 5) == Search(5, user_id=17)
    assert read_search("9" * 19, 5) == Search(5, address="")
    assert read_search("user_2abC", 5) == Search(5, subject="user_2abC")
    assert read_search("Ana@Example.COM ", 5) == Search(5, address="ana@example.com")
    assert model.chosen_reason("terms", model.SUSPENSIONS) is Reason.TERMS
    for text in ("goodwill", "", "Terms"):
        with pytest.raises(Invalid):
            model.chosen_reason(text, model.SUSPENSIONS)


async def test_a_person_is_no_administrator_of_themself(
    service: AdministrationService, alice: Person
) -> None:
    """The service takes an administrator's word for nothing: the database looks at their row."""
    impostor = AdminActor(alice.id, alice.actor.subject)
    assert await service.find(impostor, Search(10, list="newest")) == []
    assert await service.log(impostor, Filter(10)) == []
    with pytest.raises(NotFound):
        await service.look(impostor, alice.id)
    with pytest.raises(Forbidden):
        await service.content(impostor, alice.id, 10)
    assert isinstance(alice.actor, UserActor)
