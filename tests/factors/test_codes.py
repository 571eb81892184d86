"""One-time codes and recovery codes: each is taken once, by its owner, and guessing is slow."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import pyotp
import pytest
from tests.factories.people import OpenDatabase

from visiona.core.clock import FixedClock
from visiona.core.errors import Conflict, Invalid, TooMany, Unauthenticated
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.factors.model import FactorSettings, Used, guess_limit, recovery_hash
from visiona.factors.service import FactorService
from visiona.vault.service import Vault

SetUp = Callable[[UserActor], Awaitable[tuple[pyotp.TOTP, tuple[str, ...]]]]
Audited = Callable[[UserActor], Awaitable[list[str]]]

STEP = timedelta(seconds=30)
WRONG = "000000"


async def refused(factors: FactorService, actor: UserActor, code: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await factors.check_code(actor, code)
    return caught.value.code


async def test_nobody_has_a_second_factor_at_first(factors: FactorService, ana: UserActor) -> None:
    status = await factors.status(ana)
    assert (status.totp_since, status.recovery_codes_left, status.passkeys) == (None, 0, [])
    assert not await factors.required(ana)
    assert await refused(factors, ana, WRONG) == "invalid_code"


async def test_it_is_asked_for_once_it_is_confirmed(
    factors: FactorService, clock: FixedClock, ana: UserActor, ben: UserActor, audited: Audited
) -> None:
    setup = await factors.begin_totp(ana, "ana@example.com")
    authenticator = pyotp.TOTP(setup.secret)
    assert not await factors.required(ana)
    assert (await factors.status(ana)).totp_since is None
    assert await refused(factors, ana, authenticator.at(clock.now())) == "invalid_code"
    assert await audited(ana) == []

    codes = await factors.confirm_totp(ana, authenticator.at(clock.now()))
    assert await factors.required(ana)
    assert not await factors.required(ben)
    status = await factors.status(ana)
    assert status.totp_since is not None
    assert (status.recovery_codes_left, len(set(codes))) == (10, 10)
    assert await audited(ana) == ["factor.totp_enabled"]


async def test_a_wrong_code_confirms_nothing(
    factors: FactorService, clock: FixedClock, ana: UserActor
) -> None:
    setup = await factors.begin_totp(ana, "ana@example.com")
    late = pyotp.TOTP(setup.secret).at(clock.now() - 2 * STEP)
    for code in (late, "", "abcdef"):
        with pytest.raises(Invalid) as caught:
            await factors.confirm_totp(ana, code)
        assert [(error.field, error.code) for error in caught.value.errors] == [("code", "wrong_code")]
    assert not await factors.required(ana)


async def test_what_was_not_begun_is_not_confirmed(factors: FactorService, ana: UserActor) -> None:
    with pytest.raises(Conflict) as caught:
        await factors.confirm_totp(ana, WRONG)
    assert caught.value.code == "two_factor_not_begun"


async def test_begun_again_the_first_secret_is_forgotten(
    factors: FactorService, clock: FixedClock, ana: UserActor
) -> None:
    first = await factors.begin_totp(ana, "ana@example.com")
    second = await factors.begin_totp(ana, "ana@example.com")
    with pytest.raises(Invalid):
        await factors.confirm_totp(ana, pyotp.TOTP(first.secret).at(clock.now()))
    await factors.confirm_totp(ana, pyotp.TOTP(second.secret).at(clock.now()))


async def test_a_confirmed_secret_is_neither_replaced_nor_confirmed_again(
    factors: FactorService, clock: FixedClock, ana: UserActor, set_up: SetUp
) -> None:
    authenticator, _ = await set_up(ana)
    clock.instant += STEP
    with pytest.raises(Conflict) as begun:
        await factors.begin_totp(ana, "ana@example.com")
    with pytest.raises(Conflict) as confirmed:
        await factors.confirm_totp(ana, authenticator.at(clock.now()))
    assert begun.value.code == confirmed.value.code == "two_factor_on"
    assert await factors.check_code(ana, authenticator.at(clock.now())) is Used.TOTP


async def test_the_code_that_confirmed_is_used_up(
    factors: FactorService, clock: FixedClock, ana: UserActor, set_up: SetUp
) -> None:
    authenticator, _ = await set_up(ana)
    assert await refused(factors, ana, authenticator.at(clock.now())) == "invalid_code"


async def test_a_code_is_taken_once_and_none_before_it_any_more(
    factors: FactorService, clock: FixedClock, ana: UserActor, set_up: SetUp
) -> None:
    authenticator, _ = await set_up(ana)
    clock.instant += 3 * STEP
    before, now, after = (authenticator.at(clock.now() + n * STEP) for n in (-1, 0, 1))
    assert await factors.check_code(ana, now) is Used.TOTP
    assert await refused(factors, ana, now) == "invalid_code"
    assert await refused(factors, ana, before) == "invalid_code"
    assert await factors.check_code(ana, after) is Used.TOTP
    clock.instant += STEP
    assert await refused(factors, ana, after) == "invalid_code"


async def test_clocks_may_differ_by_one_step(
    factors: FactorService, clock: FixedClock, ana: UserActor, set_up: SetUp
) -> None:
    authenticator, _ = await set_up(ana)
    for offset, good in ((-2, False), (-1, True), (2, False), (1, True)):
        clock.instant += 10 * STEP
        code = authenticator.at(clock.now() + offset * STEP)
        if good:
            assert await factors.check_code(ana, code) is Used.TOTP
        else:
            assert await refused(factors, ana, code) == "invalid_code"


async def test_anothers_code_is_wrong(
    factors: FactorService, clock: FixedClock, ana: UserActor, ben: UserActor, set_up: SetUp
) -> None:
    authenticator, codes = await set_up(ana)
    await set_up(ben)
    clock.instant += STEP
    assert await refused(factors, ben, authenticator.at(clock.now())) == "invalid_code"
    assert await refused(factors, ben, codes[0]) == "invalid_code"
    assert await factors.check_code(ana, codes[0]) is Used.RECOVERY


async def test_a_recovery_code_is_taken_once(
    factors: FactorService, ana: UserActor, set_up: SetUp, audited: Audited
) -> None:
    _, codes = await set_up(ana)
    assert await factors.check_code(ana, codes[3].upper().replace("-", " ")) is Used.RECOVERY
    assert await refused(factors, ana, codes[3]) == "invalid_code"
    assert await factors.check_code(ana, codes[4]) is Used.RECOVERY
    assert (await factors.status(ana)).recovery_codes_left == 8
    assert await audited(ana) == ["factor.totp_enabled", *["factor.recovery_code_used"] * 2]


async def test_changes_are_told_by_mail(
    factors: FactorService, ana: UserActor, set_up: SetUp, owner: Connection, mailed: Audited
) -> None:
    _, codes = await set_up(ana)
    for code in (codes[0], codes[1]):
        await factors.check_code(ana, code)
    await refused(factors, ana, codes[0])
    await factors.disable_totp(ana)
    await factors.disable_totp(ana)
    assert await mailed(ana) == [
        "second_factor_on",
        "recovery_codes_used",
        "recovery_codes_used",
        "second_factor_off",
    ]
    cursor = await owner.execute(
        "select details from mails where user_id = %s and kind = 'recovery_codes_used' order by created_at",
        [ana.user_id],
    )
    assert await cursor.fetchall() == [({"left": 9},), ({"left": 8},)]


async def test_renewed_recovery_codes_replace_those_before(
    factors: FactorService, ana: UserActor, set_up: SetUp, audited: Audited
) -> None:
    _, old = await set_up(ana)
    new = await factors.renew_recovery_codes(ana)
    assert len({*old, *new}) == 20
    assert await refused(factors, ana, old[0]) == "invalid_code"
    assert await factors.check_code(ana, new[0]) is Used.RECOVERY
    assert (await audited(ana))[1] == "factor.recovery_codes_renewed"


async def test_recovery_codes_come_with_a_confirmed_factor_only(
    factors: FactorService, ana: UserActor
) -> None:
    await factors.begin_totp(ana, "ana@example.com")
    with pytest.raises(Conflict) as caught:
        await factors.renew_recovery_codes(ana)
    assert caught.value.code == "two_factor_off"


async def test_turned_off_nothing_of_it_works(
    factors: FactorService, clock: FixedClock, ana: UserActor, ben: UserActor, set_up: SetUp, audited: Audited
) -> None:
    authenticator, codes = await set_up(ana)
    await set_up(ben)
    clock.instant += STEP
    await factors.disable_totp(ana)
    await factors.disable_totp(ana)
    assert not await factors.required(ana)
    assert (await factors.status(ana)).recovery_codes_left == 0
    assert await refused(factors, ana, authenticator.at(clock.now())) == "invalid_code"
    assert await refused(factors, ana, codes[0]) == "invalid_code"
    assert await audited(ana) == ["factor.totp_enabled", "factor.totp_disabled"]
    assert await factors.required(ben)


async def test_an_old_secrets_code_says_nothing_of_a_new_one(
    factors: FactorService, clock: FixedClock, ana: UserActor, set_up: SetUp
) -> None:
    old, old_codes = await set_up(ana)
    await factors.disable_totp(ana)
    clock.instant += STEP
    new, _ = await set_up(ana)
    clock.instant += STEP
    assert await refused(factors, ana, old.at(clock.now())) == "invalid_code"
    assert await refused(factors, ana, old_codes[0]) == "invalid_code"
    assert await factors.check_code(ana, new.at(clock.now())) is Used.TOTP


async def test_one_code_in_many_processes_at_once_is_taken_once(
    open_database: OpenDatabase,
    vault: Vault,
    clock: FixedClock,
    settings: FactorSettings,
    ana: UserActor,
    set_up: SetUp,
) -> None:
    """As many services with a database each; guesses are counted for all of them together."""
    authenticator, codes = await set_up(ana)
    clock.instant += STEP
    async with AsyncExitStack() as stack:
        everywhere = [
            FactorService(await stack.enter_async_context(open_database()), vault, clock, settings)
            for _ in range(5)
        ]
        for code, used in ((authenticator.at(clock.now()), Used.TOTP), (codes[0], Used.RECOVERY)):
            results = await asyncio.gather(
                *(one.check_code(ana, code) for one in everywhere), return_exceptions=True
            )
            assert [result for result in results if isinstance(result, Used)] == [used]
            assert all(isinstance(result, Used | Unauthenticated) for result in results)
            await everywhere[0].check_code(ana, codes[1 if used is Used.TOTP else 2])


async def test_confirming_twice_at_once_shows_codes_once(
    factors: FactorService, clock: FixedClock, ana: UserActor
) -> None:
    setup = await factors.begin_totp(ana, "ana@example.com")
    code = pyotp.TOTP(setup.secret).at(clock.now())
    results = await asyncio.gather(
        *(factors.confirm_totp(ana, code) for _ in range(4)), return_exceptions=True
    )
    (codes,) = [result for result in results if isinstance(result, tuple)]
    assert sum(isinstance(result, Conflict) for result in results) == 3
    assert await factors.check_code(ana, codes[0]) is Used.RECOVERY


async def test_renewing_at_once_leaves_ten_codes(
    factors: FactorService, ana: UserActor, set_up: SetUp
) -> None:
    await set_up(ana)
    await asyncio.gather(*(factors.renew_recovery_codes(ana) for _ in range(4)))
    assert (await factors.status(ana)).recovery_codes_left == 10


async def test_guessing_is_slow_for_this_person_alone(
    factors: FactorService, clock: FixedClock, ana: UserActor, ben: UserActor, set_up: SetUp
) -> None:
    authenticator, codes = await set_up(ana)
    _, bens = await set_up(ben)
    clock.instant += STEP
    right = authenticator.at(clock.now())
    wrong = f"{(int(right) + 1) % 10**6:06}"
    for guess in (wrong, "not a code", "22222-22222", wrong, WRONG if right != WRONG else wrong):
        assert await refused(factors, ana, guess) == "invalid_code"
    for code in (right, codes[0]):
        with pytest.raises(TooMany) as caught:
            await factors.check_code(ana, code)
        assert (caught.value.code, caught.value.retry_after) == ("too_many_attempts", 1)
    assert await factors.check_code(ben, bens[0]) is Used.RECOVERY
    assert (await factors.status(ana)).recovery_codes_left == 10


async def test_parallel_guesses_share_five(
    open_database: OpenDatabase,
    vault: Vault,
    clock: FixedClock,
    settings: FactorSettings,
    ana: UserActor,
    set_up: SetUp,
) -> None:
    await set_up(ana)
    async with open_database(max_size=8) as database:
        factors = FactorService(database, vault, clock, settings)
        results = await asyncio.gather(
            *(factors.check_code(ana, "not a code") for _ in range(20)), return_exceptions=True
        )
    kinds = [type(result) for result in results]
    assert (kinds.count(Unauthenticated), kinds.count(TooMany)) == (5, 15)


async def test_the_wait_doubles_up_to_a_quarter_of_an_hour(
    factors: FactorService, settings: FactorSettings, ana: UserActor, set_up: SetUp, owner: Connection
) -> None:
    await set_up(ana)
    waits: list[int] = []
    for _ in range(5):
        await refused(factors, ana, "not a code")
    for _ in range(12):
        with pytest.raises(TooMany) as caught:
            await factors.check_code(ana, "not a code")
        waits.append(caught.value.retry_after)
        if waits[-1] >= 900:
            break
        await owner.execute(
            """update sign_in_attempts set last_at = clock_timestamp() - make_interval(secs => %s)
               where key_hash = %s""",
            [waits[-1], guess_limit(settings.code_keys[0], ana.user_id).key],
        )
        await refused(factors, ana, "not a code")
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]


async def test_a_good_code_forgets_the_guesses(factors: FactorService, ana: UserActor, set_up: SetUp) -> None:
    _, codes = await set_up(ana)
    for code in codes[:3]:
        for _ in range(4):
            await refused(factors, ana, "not a code")
        assert await factors.check_code(ana, code) is Used.RECOVERY


async def test_secrets_and_codes_are_nowhere_in_the_clear(
    factors: FactorService, ana: UserActor, set_up: SetUp, owner: Connection
) -> None:
    authenticator, codes = await set_up(ana)
    await factors.check_code(ana, codes[0])
    stored = []
    for table in ("totp_secrets", "recovery_codes", "audit_logs", "sign_in_attempts"):
        cursor = await owner.execute(f"select t, t::text from {table} t")  # type: ignore[arg-type] # a name of ours
        stored += [str(row) for row in await cursor.fetchall()]
    text = "\n".join(stored)
    for secret in (authenticator.secret, *codes, *(code.replace("-", "") for code in codes)):
        assert secret not in text
        assert secret.encode().hex() not in text


async def test_a_secret_moved_to_another_row_opens_nothing(
    factors: FactorService,
    clock: FixedClock,
    ana: UserActor,
    ben: UserActor,
    set_up: SetUp,
    owner: Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever can write rows gives Ben their own secret, and is not let in as Ben."""
    authenticator, _ = await set_up(ana)
    _, bens_codes = await set_up(ben)
    await owner.execute(
        """update totp_secrets set secret = (select secret from totp_secrets where user_id = %s)
           where user_id = %s""",
        [ana.user_id, ben.user_id],
    )
    clock.instant += STEP
    code = authenticator.at(clock.now())
    assert await refused(factors, ben, code) == "invalid_code"
    assert f"user {ben.user_id} cannot be decrypted" in caplog.text
    assert authenticator.secret not in caplog.text
    assert await factors.check_code(ben, bens_codes[0]) is Used.RECOVERY
    assert await factors.check_code(ana, code) is Used.TOTP


async def test_recovery_codes_last_when_the_servers_secret_is_rotated(
    database: Database, vault: Vault, clock: FixedClock, ana: UserActor, set_up: SetUp
) -> None:
    """They lie in a drawer for years: what recognizes them is kept with people's keys."""
    _, codes = await set_up(ana)
    settings = FactorSettings((b"x" * 32,), "visiona.example", "Visiona", ())
    rotated = FactorService(database, vault, clock, settings)
    assert await rotated.check_code(ana, codes[0]) is Used.RECOVERY
    assert await refused(rotated, ana, codes[0]) == "invalid_code"


async def test_recovery_codes_from_before_are_taken_while_their_key_is_known(
    database: Database, vault: Vault, clock: FixedClock, ana: UserActor, set_up: SetUp, owner: Connection
) -> None:
    """Then they were hashed under the server's key."""
    _, codes = await set_up(ana)
    for code, key in ((codes[0], b"c"), (codes[1], b"o")):
        symbols = code.replace("-", "")
        await owner.execute(
            "update recovery_codes set code_hash = %s where user_id = %s and code_hash = %s",
            [
                recovery_hash(key * 32, ana.user_id, symbols),
                ana.user_id,
                recovery_hash(vault.secret("recovery-codes"), ana.user_id, symbols),
            ],
        )
    keys = (b"c" * 32, b"o" * 32)
    for known, expected in ((keys[:1], 1), (keys, 2)):
        settings = FactorSettings(known, "visiona.example", "Visiona", ())
        service = FactorService(database, vault, clock, settings)
        assert await service.check_code(ana, codes[expected - 1]) is Used.RECOVERY
        if expected == 1:
            assert await refused(service, ana, codes[1]) == "invalid_code"
