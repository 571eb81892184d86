"""Second factors and passkeys over HTTP, as a browser would."""

import pyotp
import pytest
from httpx import AsyncClient, Response
from tests.factories.authenticator import Authenticator, encode

# On one's own machine passkeys are for `localhost`: an address is no domain.
ORIGIN = "http://localhost:8000"


def _is_problem(answer: Response, status: int, code: str) -> bool:
    return (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.fixture
def phone() -> Authenticator:
    return Authenticator(ORIGIN)


async def test_two_factor_log_in_is_turned_on_and_off(
    stranger: AsyncClient, person: dict[str, str], email: str
) -> None:
    headers = {"authorization": person["token"]}

    async def status() -> dict[str, object]:
        return (await stranger.get("/api/account/factors", headers=headers)).json()["totp"]

    assert await status() == {"enabled": False, "since": None, "recovery_codes_left": 0}
    setup = await stranger.post("/api/account/totp", headers=headers)
    assert (setup.status_code, setup.headers["cache-control"]) == (200, "no-store")
    authenticator = pyotp.parse_uri(setup.json()["uri"])
    assert (authenticator.secret, authenticator.name) == (setup.json()["secret"], email)
    assert authenticator.issuer == "Visiona"
    assert setup.json()["qr_svg"].startswith("<svg xmlns=")

    confirm = "/api/account/totp/confirm"
    wrong = await stranger.post(confirm, headers=headers, json={"code": "not a code"})
    assert _is_problem(wrong, 422, "invalid_input")
    assert [(one["field"], one["code"]) for one in wrong.json()["errors"]] == [("code", "wrong_code")]
    confirmed = await stranger.post(confirm, headers=headers, json={"code": authenticator.now()})
    assert (confirmed.status_code, confirmed.headers["cache-control"]) == (200, "no-store")
    assert len(confirmed.json()["recovery_codes"]) == 10
    on = await status()
    assert (on["enabled"], on["recovery_codes_left"]) == (True, 10)
    assert on["since"] is not None

    again = await stranger.post("/api/account/totp", headers=headers)
    assert _is_problem(again, 409, "two_factor_on")
    renewed = await stranger.post("/api/account/recovery-codes", headers=headers)
    assert not set(renewed.json()["recovery_codes"]) & set(confirmed.json()["recovery_codes"])
    off = await stranger.delete("/api/account/totp", headers=headers)
    assert (off.status_code, off.content) == (204, b"")
    assert await status() == {"enabled": False, "since": None, "recovery_codes_left": 0}
    codes = await stranger.post("/api/account/recovery-codes", headers=headers)
    assert _is_problem(codes, 409, "two_factor_off")
    unbegun = await stranger.post(confirm, headers=headers, json={"code": "123456"})
    assert _is_problem(unbegun, 409, "two_factor_not_begun")


async def test_a_passkey_is_added_renamed_and_removed(
    stranger: AsyncClient, person: dict[str, str], email: str, phone: Authenticator
) -> None:
    headers = {"authorization": person["token"]}
    asked = await stranger.post("/api/account/passkeys/options", headers=headers)
    assert (asked.status_code, asked.headers["cache-control"]) == (200, "no-store")
    options = asked.json()
    assert options["rp"] == {"id": "localhost", "name": "Visiona"}
    assert options["user"]["name"] == email

    body = {"credential": phone.create(options), "name": "Phone"}
    added = await stranger.post("/api/account/passkeys", headers=headers, json=body)
    assert added.status_code == 201, added.text
    passkey = added.json()
    assert (passkey["name"], passkey["synced"], passkey["last_used_at"]) == ("Phone", False, None)
    replayed = await stranger.post("/api/account/passkeys", headers=headers, json=body)
    assert _is_problem(replayed, 422, "passkey_refused")

    address = f"/api/account/passkeys/{passkey['id']}"
    renamed = await stranger.patch(address, headers=headers, json={"name": "Old phone"})
    assert (renamed.status_code, renamed.json()) == (200, passkey | {"name": "Old phone"})
    nameless = await stranger.patch(address, headers=headers, json={"name": " "})
    assert nameless.json()["errors"][0]["field"] == "name"
    listed = await stranger.get("/api/account/factors", headers=headers)
    assert listed.json()["passkeys"] == [renamed.json()]
    again = await stranger.post("/api/account/passkeys/options", headers=headers)
    assert [one["id"] for one in again.json()["excludeCredentials"]] == [encode(phone.credential_id)]

    assert (await stranger.delete(address, headers=headers)).status_code == 204
    gone = await stranger.delete(address, headers=headers)
    assert _is_problem(gone, 404, "passkey_not_found")


@pytest.mark.parametrize("credential", [{}, {"id": "x", "response": []}, {"type": "public-key"}], ids=str)
async def test_what_is_no_passkey_is_refused(
    stranger: AsyncClient, person: dict[str, str], credential: dict[str, object]
) -> None:
    answer = await stranger.post(
        "/api/account/passkeys",
        headers={"authorization": person["token"]},
        json={"credential": credential, "name": "Phone"},
    )
    assert _is_problem(answer, 422, "passkey_refused")


async def test_anybody_may_ask_to_log_in_by_passkey(stranger: AsyncClient) -> None:
    """The answer names nobody's passkeys, and is never the same."""
    first, second = [await stranger.post("/api/auth/passkey/options") for _ in range(2)]
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-store")
    assert {name: first.json()[name] for name in ("rpId", "allowCredentials", "userVerification")} == {
        "rpId": "localhost",
        "allowCredentials": [],
        "userVerification": "required",
    }
    assert first.json()["challenge"] != second.json()["challenge"]


async def test_another_site_may_not_ask(stranger: AsyncClient) -> None:
    answer = await stranger.post("/api/auth/passkey/options", headers={"origin": "https://evil.example"})
    assert _is_problem(answer, 403, "origin_mismatch")
