"""Logging in with codes and passkeys over HTTP, and what somebody with half of it cannot do."""

import uuid
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import pyotp
import pytest
from tests.accounts.house import PASSWORD, House
from tests.factories.audit import UNGUARDED
from tests.factories.authenticator import Authenticator

from visiona.factors.model import STEP_S, WRONG_CODES_A_DAY

PASSKEY_ORIGIN = "http://localhost:8000"
FRESH = "/api/account/totp"


@dataclass
class Person:
    """Somebody with two-factor log-in; `browser` is where they set it up."""

    house: House
    email: str
    browser: httpx.AsyncClient
    totp: pyotp.TOTP
    step: int = 0
    recovery_codes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.look()

    def look(self) -> None:
        """At what the authenticator shows now; it is the same until they look again."""
        self.step = int(self.house.clock.now().timestamp()) // STEP_S

    def code(self, later: int = 0) -> str:
        """Each step is taken once: later ones are still to come."""
        return self.totp.at((self.step + later) * STEP_S)

    async def ticket(self, password: str = PASSWORD) -> str:
        answer = await self.house.log_in(self.email, password)
        assert answer.status_code == 202, answer.text
        assert answer.json()["status"] == "second_factor_required"
        assert "set-cookie" not in answer.headers
        return answer.json()["ticket"]


async def with_code(house: House, ticket: str, code: str) -> httpx.Response:
    return await house.browser().post("/api/auth/login/code", json={"ticket": ticket, "code": code})


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"] if answer.is_error else ""


async def new_person(house: House) -> Person:
    email = f"{uuid.uuid4().hex}@example.com"
    browser = await house.sign_up(email)
    setup = await browser.post("/api/account/totp")
    assert setup.status_code == 200, setup.text
    person = Person(house, email, browser, pyotp.TOTP(setup.json()["secret"]))
    confirmed = await browser.post("/api/account/totp/confirm", json={"code": person.code(-1)})
    assert confirmed.status_code == 200, confirmed.text
    person.recovery_codes = confirmed.json()["recovery_codes"]
    return person


@pytest.fixture
async def ada(house: House) -> Person:
    return await new_person(house)


async def test_both_together_log_in(house: House, ada: Person) -> None:
    ticket = await ada.ticket()
    answer = await with_code(house, ticket, ada.code())
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"]["email"] == ada.email
    assert "HttpOnly" in answer.headers["set-cookie"]
    # Shown again it wants another code.
    assert problem(await with_code(house, ticket, ada.code())) == (401, "invalid_code")
    assert (await with_code(house, ticket, ada.code(1))).status_code == 200


async def test_a_recovery_code_stands_in_once(house: House, ada: Person) -> None:
    code = ada.recovery_codes[0]
    assert (await with_code(house, await ada.ticket(), code.upper().replace("-", " "))).status_code == 200
    assert problem(await with_code(house, await ada.ticket(), code)) == (401, "invalid_code")


async def test_a_ticket_is_no_token_and_a_token_no_ticket(house: House, ada: Person) -> None:
    ticket = await ada.ticket()
    headers = {"authorization": f"Bearer {ticket}"}
    assert problem(await house.web.get("/api/auth/me", headers=headers)) == (401, "invalid_token")
    token = (await with_code(house, ticket, ada.code())).json()["access_token"]
    for other in (token, ticket[:-2], "", "a.b.c", ticket + "x"):
        assert problem(await with_code(house, other, ada.code(1))) == (401, "invalid_ticket")


async def test_ones_ticket_with_anothers_code(house: House, ada: Person) -> None:
    ben = await new_person(house)
    assert problem(await with_code(house, await ada.ticket(), ben.code())) == (401, "invalid_code")
    assert problem(await with_code(house, await ada.ticket(), ben.recovery_codes[0])) == (
        401,
        "invalid_code",
    )
    assert (await with_code(house, await ben.ticket(), ben.code())).status_code == 200


async def test_a_ticket_ends_after_ten_minutes(house: House, ada: Person) -> None:
    ticket = await ada.ticket()
    house.clock.shift += timedelta(minutes=10, seconds=6)
    assert problem(await with_code(house, ticket, ada.code())) == (401, "invalid_ticket")


async def test_a_ticket_ends_with_its_password(house: House, ada: Person) -> None:
    """Whoever knew the old one, and has a code, is not let in by both."""
    ticket = await ada.ticket()
    changed = await ada.browser.post("/api/account/password", json={"password": "another quiet harbour"})
    assert changed.status_code == 204
    assert problem(await with_code(house, ticket, ada.code())) == (401, "invalid_ticket")
    assert problem(await with_code(house, ticket, ada.recovery_codes[0])) == (401, "invalid_ticket")
    fresh = await ada.ticket("another quiet harbour")
    assert (await with_code(house, fresh, ada.code())).status_code == 200


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("status = 'suspended'", (403, "account_suspended")),
        ("barred = true", (403, "account_suspended")),
        ("status = 'deleted'", (401, "session_expired")),
    ],
)
async def test_who_is_barred_meanwhile_is_not_let_in(
    house: House, ada: Person, change: str, refusal: tuple[int, str]
) -> None:
    ticket = await ada.ticket()
    await house.rows(f"update users set {change} where email_index = %s", house.index(ada.email))
    assert problem(await with_code(house, ticket, ada.code())) == refusal


async def test_a_ticket_without_a_factor_any_more(house: House, ada: Person) -> None:
    ticket = await ada.ticket()
    assert (await ada.browser.delete("/api/account/totp")).status_code == 204
    assert problem(await with_code(house, ticket, ada.code())) == (401, "invalid_code")
    assert (await house.log_in(ada.email)).status_code == 200


async def test_right_passwords_are_no_guesses(house: House, ada: Person) -> None:
    """Neither of one's own nor of those in the same network."""
    browser = house.browser()
    body = {"email": ada.email, "password": PASSWORD}
    for _ in range(8):
        assert (await browser.post("/api/auth/login", json=body)).status_code == 202


async def test_guessing_codes_is_slow_whatever_the_ticket(house: House, ada: Person) -> None:
    codes = []
    for number in range(8):
        answer = await with_code(house, await ada.ticket(), f"{number:06}")
        codes.append(problem(answer))
    assert codes[:5] == [(401, "invalid_code")] * 5
    assert (429, "too_many_attempts") in codes


async def test_a_patient_guesser_has_thirty_codes_a_day(house: House, ada: Person) -> None:
    user_id = (await house.rows("select id from users where email_index = %s", house.index(ada.email)))[0][0]

    async def guess(code: str) -> tuple[int, str, int]:
        await house.rows("delete from sign_in_attempts")  # a quarter of an hour has passed
        answer = await with_code(house, await ada.ticket(), code)
        return *problem(answer), int(answer.headers.get("retry-after", 0))

    right = {ada.code(step) for step in (-1, 0, 1)}
    wrong = next(code for code in map("{:06}".format, range(10)) if code not in right)
    for _ in range(WRONG_CODES_A_DAY):
        assert await guess(wrong) == (401, "invalid_code", 0)
        assert (await guess("no code at all"))[:2] == (401, "invalid_code")
    ada.look()
    status, code, wait_s = await guess(ada.code())
    assert (status, code) == (429, "too_many_attempts")
    assert 86_000 < wait_s <= 86_400
    assert (await guess(ada.recovery_codes[0]))[:2] == (200, "")
    assert (await house.actions(user_id)).count("factor.code_refused") == WRONG_CODES_A_DAY

    await house.rows(
        f"""{UNGUARDED} update audit_logs set created_at = created_at - interval '1 day' from off where id = (
             select min(id) from audit_logs where user_id = %s and action = 'factor.code_refused')""",
        user_id,
    )
    assert (await guess(ada.code()))[:2] == (200, "")


# Confirming


async def stale(house: House, person: Person) -> None:
    await house.rows(
        """update sessions set confirmed_at = now() - interval '15 minutes'
           where user_id = (select id from users where email_index = %s)""",
        house.index(person.email),
    )
    refused = await person.browser.delete(FRESH)
    assert problem(refused) == (403, "confirmation_required")


@pytest.mark.parametrize("by", ["password", "code", "recovery code"])
async def test_confirming_makes_a_session_fresh(house: House, ada: Person, by: str) -> None:
    await stale(house, ada)
    body = {
        "password": {"password": PASSWORD},
        "code": {"code": ada.code()},
        "recovery code": {"code": ada.recovery_codes[0]},
    }[by]
    assert problem(await ada.browser.post("/api/auth/confirm", json=body)) == (204, "")
    assert (await ada.browser.delete(FRESH)).status_code == 204


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_credentials"),
        ({"password": "not it at all"}, "invalid_credentials"),
        ({"password": "x" * 5000}, "invalid_credentials"),
        ({"code": "000"}, "invalid_code"),
        ({"password": PASSWORD, "code": "nonsense"}, "invalid_code"),
    ],
    ids=["nothing", "wrong password", "long password", "wrong code", "wrong code beside a password"],
)
async def test_nothing_else_does(house: House, ada: Person, body: dict[str, str], code: str) -> None:
    await stale(house, ada)
    assert problem(await ada.browser.post("/api/auth/confirm", json=body)) == (401, code)
    assert problem(await ada.browser.delete(FRESH)) == (403, "confirmation_required")


async def test_a_password_is_known_however_its_letters_are_composed(house: House) -> None:
    email, composed = f"{uuid.uuid4().hex}@example.com", "ein stiller Häfen"
    browser = await house.sign_up(email, composed)
    decomposed = {"password": composed.replace("ä", "a\u0308")}
    assert (await browser.post("/api/auth/confirm", json=decomposed)).status_code == 204
    half = b'{"password": "\\ud800 half a letter"}'
    answer = await browser.post(
        "/api/auth/confirm", content=half, headers={"content-type": "application/json"}
    )
    assert answer.status_code in {400, 401}


async def test_guessing_the_password_of_an_open_session_is_slow(ada: Person) -> None:
    answers = [
        problem(await ada.browser.post("/api/auth/confirm", json={"password": f"guess {number}"}))
        for number in range(7)
    ]
    assert answers[:5] == [(401, "invalid_credentials")] * 5
    assert answers[-1] == (429, "too_many_attempts")


# Passkeys


async def add_passkey(person: Person) -> Authenticator:
    phone = Authenticator(PASSKEY_ORIGIN)
    options = (await person.browser.post("/api/account/passkeys/options")).json()
    body = {"credential": phone.create(options), "name": "Phone"}
    assert (await person.browser.post("/api/account/passkeys", json=body)).status_code == 201
    return phone


async def by_passkey(house: House, phone: Authenticator) -> httpx.Response:
    browser = house.browser()
    options = (await browser.post("/api/auth/passkey/options")).json()
    return await browser.post("/api/auth/passkey", json={"credential": phone.get(options)})


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ("status = 'active'", 200, ""),
        ("status = 'suspended'", 403, "account_suspended"),
        ("barred = true", 403, "account_suspended"),
        ("status = 'deleted'", 401, "invalid_passkey"),
    ],
)
async def test_whom_a_passkey_logs_in(house: House, ada: Person, change: str, status: int, code: str) -> None:
    phone = await add_passkey(ada)
    await house.rows(f"update users set {change} where email_index = %s", house.index(ada.email))
    assert problem(await by_passkey(house, phone)) == (status, code)


@pytest.mark.parametrize("confirmed", [False, True])
async def test_who_made_an_account_with_somebody_elses_address_is_locked_out_by_its_reader(
    house: House, confirmed: bool
) -> None:
    """They left ways in for when its owner uses it; what people add who have shown their address stays."""
    thief = await new_person(house)
    if confirmed:
        token = await house.link(thief.email)
        assert (await house.browser().post("/api/auth/verify", json={"token": token})).status_code == 204
    phone = await add_passkey(thief)
    wanted = {"name": "later", "scopes": ["photos:read"], "expires_in_days": 365}
    made = await thief.browser.post("/api/keys", json=wanted)
    assert made.status_code == 201, made.text
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    user_id = (await thief.browser.get("/api/auth/me")).json()["id"]

    await house.browser().post("/api/auth/reset", json={"email": thief.email})
    body = {"token": await house.link(thief.email), "password": "the harbour of its owner"}
    assert (await house.browser().post("/api/auth/reset/complete", json=body)).status_code == 204

    expected = 200 if confirmed else 401
    assert (await by_passkey(house, phone)).status_code == expected
    assert (await house.web.get("/api/photos", headers=headers)).status_code == expected
    ended = {"passkey.removed", "key.revoked"}
    assert ended & set(await house.actions(user_id)) == (set() if confirmed else ended)
    # A mailbox alone opens no account that has a second step.
    assert (await house.log_in(thief.email, body["password"])).status_code == 202


async def test_a_passkey_confirms_its_owner(house: House, ada: Person) -> None:
    phone = await add_passkey(ada)
    ben = await new_person(house)
    await stale(house, ada)
    await stale(house, ben)

    async def confirm(person: Person, credential: object) -> tuple[int, str]:
        body = {"credential": credential}
        return problem(await person.browser.post("/api/auth/confirm/passkey", json=body))

    async def options(person: Person) -> dict[str, object]:
        answer = await person.browser.post("/api/auth/confirm/passkey/options")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        return answer.json()

    asked = await options(ada)
    assert len(asked["allowCredentials"]) == 1  # type: ignore[arg-type] # a list
    assert (await options(ben))["allowCredentials"] == []
    to_log_in = (await ada.browser.post("/api/auth/passkey/options")).json()
    assert await confirm(ada, phone.get(to_log_in)) == (401, "invalid_passkey")
    assert await confirm(ben, phone.get(asked)) == (401, "invalid_passkey")
    assert await confirm(ben, phone.get(await options(ben))) == (401, "invalid_passkey")
    assert problem(await ada.browser.delete(FRESH)) == (403, "confirmation_required")

    answer = phone.get(await options(ada))
    assert await confirm(ada, answer) == (204, "")
    assert await confirm(ada, answer) == (401, "invalid_passkey")
    assert problem(await ben.browser.delete(FRESH)) == (403, "confirmation_required")
    assert (await ada.browser.delete(FRESH)).status_code == 204
