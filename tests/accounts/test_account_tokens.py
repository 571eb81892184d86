"""Only what was issued here, for now, for a living session, is believed."""

import base64
import json
import secrets
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from visiona.accounts.model import AccountSettings, SignedIn, TokenKeys, derived_signing_key
from visiona.accounts.service import AccountService, Identities
from visiona.core.clock import FixedClock
from visiona.core.errors import Unauthenticated
from visiona.db.pool import Database
from visiona.vault.service import Vault

Forge = Callable[..., str]

REMOVED = object()


@pytest.fixture
def kid(accounts: AccountService) -> str:
    return accounts.jwks()["keys"][0]["kid"]


@pytest.fixture
def forge(signed_in: SignedIn, signing_key: str, kid: str, clock: FixedClock) -> Forge:
    """A token like a genuine one, but for what is given; signed with the genuine key unless told."""

    def forge(
        key: str | None = signing_key,
        algorithm: str = "EdDSA",
        headers: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        now = int(clock.now().timestamp())
        claims = {
            "iss": "https://visiona.example",
            "aud": "visiona",
            "sub": signed_in.session.subject,
            "sid": str(signed_in.session.session_id),
            "iat": now,
            "nbf": now,
            "exp": now + 600,
            "jti": "1",
        } | changes
        claims = {name: value for name, value in claims.items() if value is not REMOVED}
        for name, value in claims.items():
            if isinstance(value, timedelta):
                claims[name] = now + int(value.total_seconds())
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} | (headers or {}))

    return forge


async def refused(accounts: AccountService, token: str) -> None:
    with pytest.raises(Unauthenticated) as raised:
        await accounts.authenticate_bearer(token)
    assert raised.value.code == "invalid_token"


async def test_the_genuine_form_is_accepted(
    accounts: AccountService, forge: Forge, signed_in: SignedIn
) -> None:
    assert await accounts.authenticate_bearer(forge()) == signed_in.session


def test_issued_tokens_carry_what_was_promised(signed_in: SignedIn, kid: str, clock: FixedClock) -> None:
    token = signed_in.access_token.token
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "JWT", "kid": kid}
    claims = jwt.decode(token, options={"verify_signature": False})
    now = int(clock.now().timestamp())
    assert uuid.UUID(claims.pop("jti"))
    assert claims == {
        "iss": "https://visiona.example",
        "aud": "visiona",
        "sub": signed_in.session.subject,
        "sid": str(signed_in.session.session_id),
        "iat": now,
        "nbf": now,
        "exp": now + 600,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.example"},
        {"iss": "https://visiona.example/"},
        {"aud": "another"},
        {"aud": ["visiona", "another"]},
        {"exp": timedelta(seconds=-6)},
        {"exp": "2999-01-01"},
        {"exp": 4102444800.5},
        {"exp": True},
        {"nbf": timedelta(seconds=7)},
        {"iat": timedelta(seconds=7)},
        {"nbf": None},
        {"sid": "1"},
        {"sid": ""},
        {"sid": 7},
        {"sub": 7},
        *({name: REMOVED} for name in ("iss", "aud", "sub", "sid", "iat", "nbf", "jti")),
    ],
    ids=lambda changes: str(changes).replace(str(REMOVED), "removed"),
)
async def test_wrong_claims_are_refused_though_well_signed(
    accounts: AccountService, forge: Forge, changes: Any
) -> None:
    await refused(accounts, forge(**changes))


async def test_a_token_without_end_is_refused(
    accounts: AccountService, signing_key: str, signed_in: SignedIn, kid: str
) -> None:
    claims = jwt.decode(signed_in.access_token.token, options={"verify_signature": False})
    del claims["exp"]
    await refused(accounts, jwt.encode(claims, signing_key, algorithm="EdDSA", headers={"kid": kid}))


async def test_clocks_may_differ_by_five_seconds(accounts: AccountService, forge: Forge) -> None:
    for changes in (
        {"exp": timedelta(seconds=-3)},
        {"nbf": timedelta(seconds=4)},
        {"iat": timedelta(seconds=4)},
    ):
        assert await accounts.authenticate_bearer(forge(**changes))


async def test_another_subjects_name_on_a_session_is_refused(accounts: AccountService, forge: Forge) -> None:
    with pytest.raises(Unauthenticated):
        await accounts.authenticate_bearer(forge(sub="user_somebody_else"))


async def test_an_unknown_session_is_refused(accounts: AccountService, forge: Forge) -> None:
    with pytest.raises(Unauthenticated) as raised:
        await accounts.authenticate_bearer(forge(sid=str(uuid.uuid4())))
    assert raised.value.code == "session_expired"


async def test_unsigned_tokens_are_refused(accounts: AccountService, forge: Forge) -> None:
    await refused(accounts, forge(key=None, algorithm="none"))
    head, body, _ = forge().split(".")
    await refused(accounts, f"{head}.{body}.")
    await refused(accounts, f"{_part({'alg': 'none', 'typ': 'JWT'})}.{body}.")


async def test_the_public_key_is_no_secret(
    accounts: AccountService, signing_key: str, kid: str, signed_in: SignedIn
) -> None:
    public = load_pem_private_key(signing_key.encode(), None).public_key()
    jwk = json.dumps(accounts.jwks()["keys"][0])
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.Raw, PublicFormat.Raw),
        jwk.encode(),
    ):
        claims = jwt.decode(signed_in.access_token.token, options={"verify_signature": False})
        await refused(accounts, _hs256(claims, secret, kid))


async def test_other_keys_are_refused(accounts: AccountService, forge: Forge) -> None:
    other = derived_signing_key(secrets.token_bytes(32))
    other_kid = TokenKeys((other,), "x").jwks()["keys"][0]["kid"]
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    await refused(accounts, forge(key=other))
    await refused(accounts, forge(key=other, headers={"kid": other_kid}))
    await refused(accounts, forge(key=pem, algorithm="ES256"))
    embedded = {"jwk": TokenKeys((other,), "x").jwks()["keys"][0], "jku": "https://evil.example/jwks"}
    await refused(accounts, forge(key=other, headers=embedded))


@pytest.mark.parametrize("kid", ["", "unknown", "../../etc/passwd", "' or 1=1 --"])
async def test_the_genuine_key_under_another_name_is_refused(
    accounts: AccountService, forge: Forge, kid: str
) -> None:
    await refused(accounts, forge(headers={"kid": kid}))


async def test_critical_headers_are_refused(accounts: AccountService, forge: Forge) -> None:
    await refused(accounts, forge(headers={"crit": ["x"], "x": 1}))


async def test_altered_tokens_are_refused(accounts: AccountService, forge: Forge) -> None:
    head, body, signature = forge().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    await refused(accounts, f"{head}.{_part(claims | {'sub': 'user_1'})}.{signature}")
    await refused(accounts, f"{head}.{body}.{'A' * len(signature)}")


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "é.é.é", "\ud800", "x" * 5000, "null", "." * 900],
    ids=range(9),
)
async def test_nonsense_is_refused(accounts: AccountService, token: str) -> None:
    await refused(accounts, token)


async def test_a_token_longer_than_ours_is_not_even_parsed(accounts: AccountService, forge: Forge) -> None:
    assert await accounts.authenticate_bearer(forge(jti="1" * 200))
    await refused(accounts, forge(jti="1" * 700))


def test_a_deeply_nested_header_does_not_exhaust_the_stack(signing_key: str, clock: FixedClock) -> None:
    keys = TokenKeys((signing_key,), "x")
    token = base64.urlsafe_b64encode(b"[" * 700).decode().rstrip("=") + ".e30.x"

    def verify_below(frames: int) -> None:
        if frames > 0:
            verify_below(frames - 1)
        keys.verify(token, clock.now())

    with pytest.raises(Unauthenticated):
        verify_below(500)


def test_the_key_set_is_public_and_named_by_thumbprint(accounts: AccountService, signing_key: str) -> None:
    (jwk,) = accounts.jwks()["keys"]
    assert set(jwk) == {"crv", "kty", "x", "kid", "use", "alg"}
    assert (jwk["kty"], jwk["crv"], jwk["use"], jwk["alg"]) == ("OKP", "Ed25519", "sig", "EdDSA")
    assert jwk["x"] not in signing_key


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    # The key of RFC 8037, appendix A.1, and its thumbprint from A.3.
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    pem = derived_signing_key(seed)
    (jwk,) = TokenKeys((pem,), "x").jwks()["keys"]
    assert jwk["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert jwk["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


async def test_a_key_can_be_rotated(
    vault: Vault,
    database: Database,
    clock: FixedClock,
    signing_key: str,
    signed_in: SignedIn,
    settings: AccountSettings,
    identities: Identities,
) -> None:
    new = derived_signing_key(secrets.token_bytes(32))
    rotated = _with_keys(vault, database, clock, settings, identities, (new, signing_key))
    assert await rotated.authenticate_bearer(signed_in.access_token.token) == signed_in.session
    fresh = await rotated.refresh(signed_in.session)
    assert len(rotated.jwks()["keys"]) == 2
    assert jwt.get_unverified_header(fresh.token)["kid"] == rotated.jwks()["keys"][0]["kid"]

    dropped = _with_keys(vault, database, clock, settings, identities, (new,))
    assert await dropped.authenticate_bearer(fresh.token) == signed_in.session
    await refused(dropped, signed_in.access_token.token)


def test_only_ed25519_private_keys_sign() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(TypeError, match="Ed25519"):
        TokenKeys((pem,), "x")
    with pytest.raises(ValueError, match="signing key"):
        TokenKeys((), "x")


def _with_keys(
    vault: Vault,
    database: Database,
    clock: FixedClock,
    settings: AccountSettings,
    identities: Identities,
    keys: tuple[str, ...],
) -> AccountService:
    own = AccountSettings(keys, settings.issuer, settings.throttle_secret)
    return AccountService(database, vault, clock, own, identities)


def _part(content: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _hs256(claims: dict, secret: bytes, kid: str) -> str:
    """Built by hand: the library refuses to sign with a public key, an attacker does not."""
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{_part(claims)}"
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        signed.encode(), secret
    )
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
