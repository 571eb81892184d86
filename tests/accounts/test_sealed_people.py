"""What says who somebody is, is nowhere in the database but sealed, and they read it as ever."""

import psycopg
import pyotp
from tests.accounts.house import House
from tests.accounts.test_account_clerk import address, news
from tests.factories.authenticator import Authenticator
from tests.factories.canaries import Watch, canary, columns_of, disguises

from visiona.db.sealed import SEALED
from visiona.vault.model import VERSION

PASSKEY_ORIGIN = "http://localhost:8000"
OWN = {"users", "email_links", "mails", "sessions", "api_keys", "passkeys", "totp_secrets"}


def _url(house: House) -> str:
    return house.app.settings.database_url or ""


def _found(house: House, words: dict[str, str]) -> set[tuple[str, str]]:
    with psycopg.connect(_url(house)) as connection:
        return Watch(words).found_among(columns_of(connection))


async def test_who_somebody_is_stands_nowhere_but_sealed(house: House) -> None:
    words = {
        name: canary(name) for name in ("first", "new", "wanted", "password", "browser", "key", "passkey")
    }
    first, new, wanted = (f"{words[name]}@example.com" for name in ("first", "new", "wanted"))
    browser = house.browser(**{"user-agent": f"Mozilla/5.0 {words['browser']}"})

    async def send(path: str, **body: object) -> dict:
        answer = await browser.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else {}

    await send("/api/auth/signup", email=first, password=words["password"])
    setup = await send("/api/account/totp")
    code = pyotp.TOTP(setup["secret"]).at(house.clock.now())
    recovery = await send("/api/account/totp/confirm", code=code)
    phone = Authenticator(PASSKEY_ORIGIN)
    made = phone.create(await send("/api/account/passkeys/options"))
    await send("/api/account/passkeys", credential=made, name=f"My {words['passkey']}")
    await send("/api/keys", name=f"Of {words['key']}", scopes=["photos:read"])
    await send("/api/account/email", email=new)
    await send("/api/auth/verify", token=await house.link(new))
    # From here on mails and links wait, with the addresses that they go to.
    await send("/api/account/email", email=wanted)
    await send("/api/auth/reset", email=new)
    wrong = await house.log_in(new, f"not {words['password']}")
    assert wrong.status_code == 401

    words |= {"secret": setup["secret"]}
    words |= {f"recovery {n}": one.replace("-", "") for n, one in enumerate(recovery["recovery_codes"])}
    assert _found(house, words) == set()
    kinds = {kind for (kind,) in await house.rows("select kind from mails where state = 'waiting'")}
    assert {"address_changed", "change_address", "reset_password"} <= kinds
    for column in SEALED:
        if column.table in OWN:
            values = await house.rows(
                f"select {column.column} from {column.table} where {column.column} is not null"
            )
            assert values, column.place
            assert all(value.startswith(VERSION) for (value,) in values), column.place

    me = (await browser.get("/api/auth/me")).json()
    assert me["email"] == new
    (session,) = (await browser.get("/api/account/sessions")).json()["items"]
    assert words["browser"] in session["client"]
    (key,) = (await browser.get("/api/keys")).json()["items"]
    assert key["name"] == f"Of {words['key']}"
    mails = await house.mails(first)
    assert "was changed" in mails[0]["subject"]


async def test_an_address_that_the_identity_service_tells_stands_nowhere_but_sealed(
    clerk_house: House,
) -> None:
    word = canary("hosted")
    email = f"{word}@example.com"
    person = clerk_house.there.user(word)
    email = address(person)
    await news(clerk_house, person)
    session = clerk_house.there.session(person["id"])
    me = await clerk_house.web.get("/api/auth/me", headers=clerk_house.token(session["id"]))
    assert me.json()["email"] == email
    assert _found(clerk_house, {"address": email.partition("@")[0]}) == set()


async def test_every_way_of_writing_a_word_would_be_found(house: House) -> None:
    """In a column of each type, beside what else may stand there."""
    word = canary("planted")
    forms = disguises(word)
    with psycopg.connect(_url(house), autocommit=True) as connection:
        connection.execute("create table public.planted (words text, bytes bytea, document jsonb)")
        try:
            for name, form in forms.items():
                connection.execute("insert into planted (bytes) values (%s)", [b"before " + form + b" after"])
                if name != "utf-16":
                    connection.execute(
                        "insert into planted (words, document) select %s::text, to_jsonb(%s::text)",
                        [f"before {form.decode()} after"] * 2,
                    )
            found = _found(house, {"word": word})
        finally:
            connection.execute("drop table public.planted")
    assert {name for place, name in found if place == "public.planted.bytes"} == {
        f"word ({name})" for name in forms
    }
    for column in ("words", "document"):
        assert {name for place, name in found if place == f"public.planted.{column}"} == {
            f"word ({name})" for name in forms if name != "utf-16"
        }
