"""Passkeys: made and used by an authenticator in software, against everything that may be wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.factories.authenticator import Authenticator, decode, encode
from tests.factories.people import OpenDatabase

from visiona.core.clock import FixedClock
from visiona.core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.factors.model import FactorSettings, Passkey
from visiona.factors.service import FactorService
from visiona.vault.service import Vault

Audited = Callable[[UserActor], Awaitable[list[str]]]
Suspend = Callable[[int], Awaitable[None]]

FIVE_MINUTES = timedelta(minutes=5)


@pytest.fixture
def phone(origin: str) -> Authenticator:
    return Authenticator(origin)


@pytest.fixture
async def passkey(factors: FactorService, ana: UserActor, phone: Authenticator) -> Passkey:
    """Ana's, on her phone."""
    return await add(factors, ana, phone)


async def add(factors: FactorService, actor: UserActor, on: Authenticator, name: str = "Phone") -> Passkey:
    options = await factors.registration_options(actor, "ana@example.com")
    return await factors.register(actor, on.create(options), name)


async def refused(factors: FactorService, credential: dict[str, Any], actor: UserActor | None = None) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await factors.authenticate(credential, actor)
    return caught.value.code


async def not_added(factors: FactorService, actor: UserActor, credential: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        await factors.register(actor, credential, "Phone")
    assert (await factors.status(actor)).passkeys == []
    return caught.value.code


# Making them


async def test_a_passkey_is_made_and_logs_its_owner_in(
    factors: FactorService,
    ana: UserActor,
    phone: Authenticator,
    passkey: Passkey,
    audited: Audited,
    mailed: Audited,
) -> None:
    assert passkey.last_used_at is None
    assert await factors.authenticate(phone.get(await factors.authentication_options())) == ana
    (known,) = (await factors.status(ana)).passkeys
    assert (known.id, known.name, known.synced) == (passkey.id, "Phone", False)
    assert known.last_used_at is not None
    assert await audited(ana) == ["passkey.added"]
    assert await mailed(ana) == ["passkey_added"]


async def test_a_synced_passkey_is_told_apart(
    factors: FactorService, ana: UserActor, origin: str, owner: Connection
) -> None:
    cloud = Authenticator(origin, synced=True)
    assert (await add(factors, ana, cloud)).synced
    for _ in range(3):
        assert await factors.authenticate(cloud.get(await factors.authentication_options())) == ana
    cursor = await owner.execute(
        "select synced, backed_up, transports from passkeys where user_id = %s", [ana.user_id]
    )
    assert await cursor.fetchall() == [(True, True, ["hybrid", "internal"])]


@pytest.mark.usefixtures("passkey")
async def test_the_browser_is_asked_for_a_passkey_that_needs_no_name(
    factors: FactorService, ana: UserActor, phone: Authenticator
) -> None:
    options = await factors.registration_options(ana, "ana@example.com")
    assert options["rp"] == {"name": "Visiona", "id": "visiona.example"}
    assert options["user"]["name"] == "ana@example.com"
    assert decode(options["user"]["id"]) == phone.user_handle
    assert options["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert options["attestation"] == "none"
    assert options["timeout"] == 300_000
    assert {-7, -8, -257} <= {one["alg"] for one in options["pubKeyCredParams"]}
    assert [one["id"] for one in options["excludeCredentials"]] == [encode(phone.credential_id)]
    assert options["excludeCredentials"][0]["transports"] == ["hybrid", "internal"]


@pytest.mark.usefixtures("passkey")
async def test_the_browser_is_asked_to_verify_whoever_logs_in(
    factors: FactorService, ana: UserActor, ben: UserActor, phone: Authenticator
) -> None:
    anybody = await factors.authentication_options()
    assert anybody["allowCredentials"] == []
    assert (anybody["userVerification"], anybody["rpId"]) == ("required", "visiona.example")
    hers = await factors.authentication_options(ana)
    assert [one["id"] for one in hers["allowCredentials"]] == [encode(phone.credential_id)]
    assert (await factors.authentication_options(ben))["allowCredentials"] == []


WRONG_FOR_BOTH = {
    "no user verification": {"verified": False},
    "another rp": {"rp_id": "example.com"},
    "another origin": {"client_data": {"origin": "https://visiona.example.evil.test"}},
    "a subdomain": {"client_data": {"origin": "https://www.visiona.example"}},
    "not over TLS": {"client_data": {"origin": "http://visiona.example"}},
    "in another site's frame": {"client_data": {"crossOrigin": True}},
    "a challenge of its own": {"client_data": {"challenge": encode(b"x" * 64)}},
    "no challenge": {"client_data": {"challenge": None}},
    "an empty challenge": {"client_data": {"challenge": ""}},
}


@pytest.mark.parametrize(
    "wrong", [*WRONG_FOR_BOTH.values(), {"client_data": {"type": "webauthn.get"}}], ids=str
)
async def test_a_wrong_registration_is_refused(
    factors: FactorService, ana: UserActor, phone: Authenticator, wrong: dict[str, Any], audited: Audited
) -> None:
    options = await factors.registration_options(ana, "ana@example.com")
    assert await not_added(factors, ana, phone.create(options, **wrong)) == "passkey_refused"
    assert await audited(ana) == []


@pytest.mark.parametrize(
    "wrong", [*WRONG_FOR_BOTH.values(), {"client_data": {"type": "webauthn.create"}}], ids=str
)
async def test_a_wrong_assertion_is_refused(
    factors: FactorService,
    ana: UserActor,
    phone: Authenticator,
    passkey: Passkey,
    wrong: dict[str, Any],
) -> None:
    options = await factors.authentication_options()
    assert await refused(factors, phone.get(options, **wrong)) == "invalid_passkey"
    assert (await factors.status(ana)).passkeys == [passkey]
    # What was wrong has not used up the challenge of whoever it was made for.
    assert await factors.authenticate(phone.get(options)) == ana


@pytest.mark.parametrize(
    "garbage",
    [
        {},
        {"id": "x"},
        {"id": 7, "rawId": [], "type": "public-key", "response": None},
        {"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": {}},
        {"type": "password"},
    ],
    ids=str,
)
async def test_garbage_is_refused(factors: FactorService, ana: UserActor, garbage: dict[str, Any]) -> None:
    assert await not_added(factors, ana, garbage) == "passkey_refused"
    assert await refused(factors, garbage) == "invalid_passkey"


@pytest.mark.parametrize("part", ["clientDataJSON", "authenticatorData", "signature", "userHandle"])
@pytest.mark.parametrize("value", ["", "AAAA", "!!!", "\u00e4", "A" * 5000, None, 7, {"a": []}], ids=str)
@pytest.mark.usefixtures("passkey")
async def test_a_garbled_assertion_is_refused(
    factors: FactorService, phone: Authenticator, part: str, value: Any
) -> None:
    credential = phone.get(await factors.authentication_options())
    credential["response"][part] = value
    assert await refused(factors, credential) == "invalid_passkey"


@pytest.mark.parametrize("value", ["", "AAAA", "!!!", encode(b"\xa0"), encode(b"\x9f" * 60_000)], ids=len)
async def test_a_garbled_attestation_is_refused(
    factors: FactorService, ana: UserActor, phone: Authenticator, value: str
) -> None:
    credential = phone.create(await factors.registration_options(ana, "ana@example.com"))
    credential["response"]["attestationObject"] = value
    assert await not_added(factors, ana, credential) == "passkey_refused"


async def test_a_registration_for_another_id_is_refused(
    factors: FactorService, ana: UserActor, phone: Authenticator, origin: str
) -> None:
    credential = phone.create(await factors.registration_options(ana, "ana@example.com"))
    name = encode(Authenticator(origin).credential_id)
    assert await not_added(factors, ana, credential | {"id": name, "rawId": name}) == "passkey_refused"


async def test_a_guessable_id_is_refused(factors: FactorService, ana: UserActor, origin: str) -> None:
    weak = Authenticator(origin, credential_id=b"1")
    options = await factors.registration_options(ana, "ana@example.com")
    assert await not_added(factors, ana, weak.create(options)) == "passkey_refused"


@pytest.mark.usefixtures("passkey")
async def test_another_key_does_not_log_in(factors: FactorService, phone: Authenticator, origin: str) -> None:
    thief = Authenticator(origin, credential_id=phone.credential_id, user_handle=phone.user_handle, count=100)
    assert await refused(factors, thief.get(await factors.authentication_options())) == "invalid_passkey"


async def test_an_unknown_passkey_does_not_log_in(factors: FactorService, phone: Authenticator) -> None:
    assert await refused(factors, phone.get(await factors.authentication_options())) == "invalid_passkey"


# Challenges


@pytest.mark.usefixtures("passkey")
async def test_a_challenge_is_answered_once(
    factors: FactorService, ana: UserActor, phone: Authenticator
) -> None:
    options = await factors.authentication_options()
    assertion = phone.get(options)
    assert await factors.authenticate(assertion) == ana
    assert await refused(factors, assertion) == "invalid_passkey"
    assert await refused(factors, phone.get(options)) == "invalid_passkey"
    assert await factors.authenticate(phone.get(await factors.authentication_options())) == ana


async def test_one_answer_in_many_processes_at_once_is_taken_once(
    vault: Vault,
    open_database: OpenDatabase,
    clock: FixedClock,
    settings: FactorSettings,
    factors: FactorService,
    ana: UserActor,
    origin: str,
) -> None:
    cloud = Authenticator(origin, synced=True)
    await add(factors, ana, cloud)
    assertion = cloud.get(await factors.authentication_options())
    async with open_database(max_size=8) as database:
        services = [FactorService(database, vault, clock, settings) for _ in range(8)]
        results = await asyncio.gather(
            *(one.authenticate(assertion) for one in services), return_exceptions=True
        )
    assert [result for result in results if isinstance(result, UserActor)] == [ana]
    assert sum(isinstance(result, Unauthenticated) for result in results) == 7


async def test_a_challenge_ends(
    factors: FactorService, clock: FixedClock, ana: UserActor, phone: Authenticator
) -> None:
    creation = await factors.registration_options(ana, "ana@example.com")
    clock.instant += FIVE_MINUTES
    assert await not_added(factors, ana, phone.create(creation)) == "passkey_refused"
    await add(factors, ana, phone)
    request = await factors.authentication_options()
    clock.instant += FIVE_MINUTES - timedelta(seconds=1)
    assert await factors.authenticate(phone.get(request)) == ana
    request = await factors.authentication_options()
    clock.instant += FIVE_MINUTES
    assert await refused(factors, phone.get(request)) == "invalid_passkey"


async def test_anothers_challenge_makes_no_passkey(
    factors: FactorService, ana: UserActor, ben: UserActor, phone: Authenticator
) -> None:
    options = await factors.registration_options(ben, "ben@example.com")
    assert await not_added(factors, ana, phone.create(options)) == "passkey_refused"


@pytest.mark.usefixtures("passkey")
async def test_a_challenge_for_one_thing_is_none_for_another(
    factors: FactorService, ana: UserActor, phone: Authenticator, origin: str
) -> None:
    log_in = await factors.authentication_options()
    confirm = await factors.authentication_options(ana)
    creation = await factors.registration_options(ana, "ana@example.com")
    assert await refused(factors, phone.get(log_in), ana) == "invalid_passkey"
    assert await refused(factors, phone.get(confirm)) == "invalid_passkey"
    for actor, options in ((None, log_in), (ana, confirm)):
        assertion = phone.get(options | {"challenge": creation["challenge"]})
        assert await refused(factors, assertion, actor) == "invalid_passkey"
    other = Authenticator(origin)
    with pytest.raises(Invalid):
        await factors.register(ana, other.create(creation | {"challenge": confirm["challenge"]}), "Tablet")
    assert await factors.authenticate(phone.get(confirm), ana) == ana
    assert await factors.authenticate(phone.get(log_in)) == ana


@pytest.mark.usefixtures("passkey")
async def test_nobody_confirms_for_another(
    factors: FactorService, ana: UserActor, ben: UserActor, phone: Authenticator
) -> None:
    """Ana's passkey does not show that whoever sits at Ben's session is Ben."""
    for asked in (ana, ben):
        options = await factors.authentication_options(asked)
        assert await refused(factors, phone.get(options), ben) == "invalid_passkey"


async def test_a_registration_is_not_replayed_after_the_passkey_was_removed(
    factors: FactorService, ana: UserActor, phone: Authenticator
) -> None:
    credential = phone.create(await factors.registration_options(ana, "ana@example.com"))
    passkey = await factors.register(ana, credential, "Phone")
    await factors.remove_passkey(ana, passkey.id)
    assert await not_added(factors, ana, credential) == "passkey_refused"


async def test_over_challenges_are_purged(
    vault: Vault,
    worker_database: Database,
    clock: FixedClock,
    settings: FactorSettings,
    ana: UserActor,
    owner: Connection,
) -> None:
    """By the database's clock, with an hour for those of others."""
    for end, kept in (("-59 minutes", 1), ("-61 minutes", 0)):
        await owner.execute(
            "insert into passkey_challenges values (sha256(%s::bytea), %s, now() + %s::interval)",
            [end, ana.user_id, end],
        )
        await FactorService(worker_database, vault, clock, settings).purge()
        cursor = await owner.execute(
            "select 1 from passkey_challenges where user_id = %s and challenge_hash = sha256(%s::bytea)",
            [ana.user_id, end],
        )
        assert len(await cursor.fetchall()) == kept


# Whose they are


@pytest.mark.usefixtures("passkey")
async def test_an_authenticator_that_names_somebody_else_does_not_log_in(
    factors: FactorService, ana: UserActor, ben: UserActor, phone: Authenticator
) -> None:
    ours = phone.user_handle
    bens = decode((await factors.registration_options(ben, "ben@example.com"))["user"]["id"])
    for handle in (bens, None, b""):
        phone.user_handle = handle
        assert await refused(factors, phone.get(await factors.authentication_options())) == "invalid_passkey"
    # Who is signed in is known without.
    phone.user_handle = None
    assert await factors.authenticate(phone.get(await factors.authentication_options(ana)), ana) == ana
    phone.user_handle = bens
    options = await factors.authentication_options(ana)
    assert await refused(factors, phone.get(options), ana) == "invalid_passkey"
    phone.user_handle = ours
    assert await factors.authenticate(phone.get(await factors.authentication_options())) == ana


async def test_a_passkey_has_one_owner(
    factors: FactorService, ana: UserActor, ben: UserActor, phone: Authenticator, passkey: Passkey
) -> None:
    for actor in (ana, ben):
        options = await factors.registration_options(actor, "ana@example.com")
        with pytest.raises(Conflict) as caught:
            await factors.register(actor, phone.create(options), "Mine")
        assert caught.value.code == "passkey_known"
    assert (await factors.status(ana)).passkeys == [passkey]
    assert (await factors.status(ben)).passkeys == []


@pytest.mark.usefixtures("passkey")
async def test_a_counter_that_goes_back_is_refused_and_on_record(
    factors: FactorService, ana: UserActor, phone: Authenticator, audited: Audited
) -> None:
    for _ in range(3):
        await factors.authenticate(phone.get(await factors.authentication_options()))
    before = (await factors.status(ana)).passkeys
    for count in (phone.count - 1, phone.count - 2, -1):
        copy = Authenticator(
            phone.origin,
            count=count,
            key=phone.key,
            credential_id=phone.credential_id,
            user_handle=phone.user_handle,
        )
        assert await refused(factors, copy.get(await factors.authentication_options())) == "invalid_passkey"
    assert await audited(ana) == ["passkey.added", *["passkey.refused"] * 3]
    assert (await factors.status(ana)).passkeys == before
    assert await factors.authenticate(phone.get(await factors.authentication_options())) == ana


@pytest.mark.usefixtures("passkey")
async def test_an_authenticator_that_does_not_count_is_fine(
    factors: FactorService, ana: UserActor, phone: Authenticator
) -> None:
    for _ in range(3):
        phone.count = -1
        assert await factors.authenticate(phone.get(await factors.authentication_options())) == ana


async def test_a_removed_passkey_does_not_log_in(
    factors: FactorService, ana: UserActor, phone: Authenticator, passkey: Passkey, audited: Audited
) -> None:
    options = await factors.authentication_options()
    await factors.remove_passkey(ana, passkey.id)
    assert await refused(factors, phone.get(options)) == "invalid_passkey"
    assert (await factors.status(ana)).passkeys == []
    assert await audited(ana) == ["passkey.added", "passkey.removed"]
    with pytest.raises(NotFound):
        await factors.remove_passkey(ana, passkey.id)


@pytest.mark.usefixtures("passkey")
async def test_suspended_people_are_told_so_and_nobody_else(
    factors: FactorService,
    ana: UserActor,
    phone: Authenticator,
    suspend: Suspend,
    origin: str,
) -> None:
    await suspend(ana.user_id)
    options = await factors.authentication_options()
    with pytest.raises(Forbidden) as caught:
        await factors.authenticate(phone.get(options))
    assert caught.value.code == "account_suspended"
    thief = Authenticator(origin, credential_id=phone.credential_id, user_handle=phone.user_handle, count=100)
    assert await refused(factors, thief.get(options)) == "invalid_passkey"


# Keeping them


async def test_passkeys_are_renamed(
    factors: FactorService, ana: UserActor, passkey: Passkey, origin: str
) -> None:
    await add(factors, ana, Authenticator(origin), "Tablet")
    renamed = await factors.rename_passkey(ana, passkey.id, " Old  phone ")
    assert (renamed.id, renamed.name) == (passkey.id, "Old phone")
    assert [one.name for one in (await factors.status(ana)).passkeys] == ["Old phone", "Tablet"]
    with pytest.raises(Invalid):
        await factors.rename_passkey(ana, passkey.id, " ")


async def test_anothers_passkey_is_as_good_as_none(
    factors: FactorService, ana: UserActor, ben: UserActor, passkey: Passkey, audited: Audited
) -> None:
    for change in (factors.rename_passkey(ben, passkey.id, "Mine"), factors.remove_passkey(ben, passkey.id)):
        with pytest.raises(NotFound) as caught:
            await change
        assert caught.value.code == "passkey_not_found"
    assert (await factors.status(ana)).passkeys == [passkey]
    assert await audited(ben) == []


async def test_twenty_passkeys_are_enough(
    factors: FactorService, ana: UserActor, ben: UserActor, origin: str
) -> None:
    """However many are added at once."""
    pairs = [
        (await factors.registration_options(ana, "ana@example.com"), Authenticator(origin)) for _ in range(23)
    ]
    results = await asyncio.gather(
        *(factors.register(ana, one.create(options), "Key") for options, one in pairs),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Passkey) for result in results) == 20
    assert {result.code for result in results if isinstance(result, Conflict)} == {"too_many_passkeys"}
    assert len((await factors.status(ana)).passkeys) == 20
    with pytest.raises(Conflict):
        await factors.registration_options(ana, "ana@example.com")
    await add(factors, ben, Authenticator(origin))


@pytest.mark.usefixtures("passkey")
async def test_what_is_wrong_with_a_passkey_is_logged_without_anybody_in_it(
    factors: FactorService,
    ana: UserActor,
    phone: Authenticator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    await refused(factors, phone.get(await factors.authentication_options(), verified=False))
    assert "a passkey was refused: InvalidAuthenticationResponse" in caplog.text
    assert encode(phone.credential_id) not in caplog.text
    assert ana.subject not in caplog.text
