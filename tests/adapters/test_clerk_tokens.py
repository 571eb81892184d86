"""Session tokens and handshakes: the genuine ones are read, and every forgery we know of is refused.

The keys come over HTTP from a server on this machine, as they do from Clerk.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from clerk_backend_api.security import VerifyTokenOptions, verify_token
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.adapters.clerk_instance import KID, NOW, ORIGIN, ClerkInstance, b64, jwk_of, pem_of, segment, sign

from visiona.adapters.clerk import ClerkIdentity
from visiona.adapters.clerk.tokens import VERIFIED_TOKENS_KEPT
from visiona.ports.identity import InvalidToken, TokenReport

SESSION_COOKIE = "__session=abc.def.ghi; Path=/; Max-Age=60; SameSite=Lax"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def other_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def instance(scripted_server: Any, key: rsa.RSAPrivateKey) -> ClerkInstance:
    return ClerkInstance(scripted_server, key)


@pytest.fixture
async def identity(instance: ClerkInstance) -> AsyncGenerator[ClerkIdentity]:
    identity = ClerkIdentity(instance.config())
    yield identity
    await identity.aclose()


def hmac_signed(instance: ClerkInstance, algorithm: str, digest: Any, key: bytes) -> str:
    signed = f"{segment(instance.header(alg=algorithm))}.{segment(instance.claims())}"
    return f"{signed}.{b64(hmac.digest(key, signed.encode(), digest))}"


def rsa_signed(instance: ClerkInstance, algorithm: str) -> str:
    private = instance.key
    return jwt.encode(
        instance.claims(), private, algorithm=algorithm, headers={"kid": KID, "cat": "cl_B7d4PD111AAA"}
    )


def with_key(instance: ClerkInstance, private: Any, algorithm: str) -> str:
    return jwt.encode(instance.claims(), private, algorithm=algorithm, headers={"kid": KID})


def unsigned(instance: ClerkInstance, algorithm: Any, signature: str = "") -> str:
    return f"{segment(instance.header(alg=algorithm))}.{segment(instance.claims())}.{signature}"


def altered(token: str, place: int, value: Any) -> str:
    parts = token.split(".")
    parts[place] = segment(value)
    return ".".join(parts)


def claims(**changes: Any) -> Callable[[ClerkInstance, Any], str]:
    return lambda instance, _: instance.token(changes)


def header(**changes: Any) -> Callable[[ClerkInstance, Any], str]:
    return lambda instance, _: instance.token(header=changes)


def times(**seconds: int) -> Callable[[ClerkInstance, Any], str]:
    return claims(**{name: int(NOW.timestamp()) + offset for name, offset in seconds.items()})


def raw(text: Callable[[ClerkInstance], bytes]) -> Callable[[ClerkInstance, Any], str]:
    return lambda instance, _: sign(instance.key, instance.header(), text(instance))


def flipped(token: str) -> str:
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


Forge = Callable[[ClerkInstance, rsa.RSAPrivateKey], str]

FORGERIES: dict[str, tuple[Forge, str]] = {
    # The algorithm
    "none": (lambda i, _: unsigned(i, "none"), "malformed"),
    "none with a signature": (lambda i, _: unsigned(i, "none", "AAAA"), "wrong_algorithm"),
    "None": (lambda i, _: unsigned(i, "None", "AAAA"), "wrong_algorithm"),
    "NONE": (lambda i, _: unsigned(i, "NONE", "AAAA"), "wrong_algorithm"),
    "nOnE": (lambda i, _: unsigned(i, "nOnE", "AAAA"), "wrong_algorithm"),
    "no algorithm, rightly signed": (header(alg=...), "wrong_algorithm"),
    "an empty algorithm": (header(alg=""), "wrong_algorithm"),
    "an algorithm of null": (header(alg=None), "wrong_algorithm"),
    "algorithms in a list": (header(alg=["RS256"]), "wrong_algorithm"),
    "rs256": (header(alg="rs256"), "wrong_algorithm"),
    "HS256 with the PEM": (
        lambda i, _: hmac_signed(i, "HS256", "sha256", pem_of(i.key).encode()),
        "wrong_algorithm",
    ),
    "HS256 with the PEM, trimmed": (
        lambda i, _: hmac_signed(i, "HS256", "sha256", pem_of(i.key).strip().encode()),
        "wrong_algorithm",
    ),
    "HS384 with the PEM": (
        lambda i, _: hmac_signed(i, "HS384", "sha384", pem_of(i.key).encode()),
        "wrong_algorithm",
    ),
    "HS512 with the PEM": (
        lambda i, _: hmac_signed(i, "HS512", "sha512", pem_of(i.key).encode()),
        "wrong_algorithm",
    ),
    "HS256 with the modulus": (
        lambda i, _: hmac_signed(i, "HS256", "sha256", jwk_of(i.key)["n"].encode()),
        "wrong_algorithm",
    ),
    "HMAC that says RS256": (
        lambda i, _: hmac_signed(i, "RS256", "sha256", pem_of(i.key).encode()),
        "bad_signature",
    ),
    "RS384": (lambda i, _: rsa_signed(i, "RS384"), "wrong_algorithm"),
    "RS512": (lambda i, _: rsa_signed(i, "RS512"), "wrong_algorithm"),
    "PS256": (lambda i, _: rsa_signed(i, "PS256"), "wrong_algorithm"),
    "ES256": (lambda i, _: with_key(i, ec.generate_private_key(ec.SECP256R1()), "ES256"), "wrong_algorithm"),
    "EdDSA": (lambda i, _: with_key(i, ed25519.Ed25519PrivateKey.generate(), "EdDSA"), "wrong_algorithm"),
    "PSS padding that says RS256": (lambda i, _: pss_as_rs256(i), "bad_signature"),
    # The key
    "another key under our kid": (lambda i, other: sign(other, i.header(), i.claims()), "bad_signature"),
    "another key under its own kid": (
        lambda i, other: sign(other, i.header(kid="ins_other"), i.claims()),
        "unknown_key",
    ),
    "a kid that climbs": (header(kid="../../../../dev/null"), "unknown_key"),
    "a kid that is a query": (header(kid="' OR 1=1 --"), "unknown_key"),
    "a kid that is an address": (header(kid="https://evil.example/jwks.json"), "unknown_key"),
    "a kid with a null byte": (header(kid=f"{KID}\0"), "unknown_key"),
    "a kid in other letters": (header(kid=KID.upper()), "unknown_key"),
    "no kid": (header(kid=...), "unknown_key"),
    "an empty kid": (header(kid=""), "unknown_key"),
    "a kid of 0": (header(kid=0), "unknown_key"),
    "a kid of null": (header(kid=None), "unknown_key"),
    "kids in a list": (header(kid=[KID]), "unknown_key"),
    "a long kid": (header(kid="k" * 129), "unknown_key"),
    "the forger's key in jwk": (
        lambda i, other: sign(other, i.header(jwk=jwk_of(other)), i.claims()),
        "steering_header",
    ),
    "our own key in jwk": (lambda i, _: i.token(header={"jwk": jwk_of(i.key)}), "steering_header"),
    "jku": (header(jku="https://evil.example/jwks.json"), "steering_header"),
    "x5u": (header(x5u="https://evil.example/cert.pem"), "steering_header"),
    "x5c": (header(x5c=["MIIB"]), "steering_header"),
    "x5t": (header(x5t="abc"), "steering_header"),
    "crit": (header(crit=["exp"]), "steering_header"),
    "crit of nothing": (header(crit=[]), "steering_header"),
    "b64 false": (header(b64=False, crit=["b64"]), "steering_header"),
    "b64 false without crit": (header(b64=False), "steering_header"),
    "zip": (header(zip="DEF"), "steering_header"),
    "enc": (header(enc="A256GCM"), "steering_header"),
    "a token inside a token": (header(cty="JWT"), "steering_header"),
    # The kind
    "no typ": (header(typ=...), "wrong_type"),
    "typ in small letters": (header(typ="jwt"), "wrong_type"),
    "typ of an access token": (header(typ="at+jwt"), "wrong_type"),
    "a JWT template": (header(cat="cl_B7d4PD222AAA"), "wrong_category"),
    "a machine's token": (header(cat="cl_B7d4PD333AAA"), "wrong_category"),
    "a category that says nothing": (header(cat="cl_I7d4PD111III"), "wrong_category"),
    "a category of null": (header(cat=None), "wrong_category"),
    "a handshake": (lambda i, _: i.handshake([SESSION_COOKIE]), "wrong_issuer"),
    "a handshake that names an issuer": (lambda i, _: i.handshake([], iss=i.url), "malformed_sub"),
    "a sign-in ticket": (
        lambda i, _: sign(
            i.key,
            i.header(),
            {"exp": int(NOW.timestamp()) + 60, "iid": KID, "sid": "sit_1", "st": "sign_in_token"},
        ),
        "wrong_issuer",
    ),
    # The issuer, the party, the audience
    "the issuer with a slash": (lambda i, _: i.token({"iss": i.url + "/"}), "wrong_issuer"),
    "another issuer": (claims(iss="https://clerk.evil.example"), "wrong_issuer"),
    "the issuer in capitals": (lambda i, _: i.token({"iss": i.url.upper()}), "wrong_issuer"),
    "the issuer with a user": (
        lambda i, _: i.token({"iss": i.url.replace("http://", "http://x@")}),
        "wrong_issuer",
    ),
    "no issuer": (claims(iss=...), "wrong_issuer"),
    "an issuer of null": (claims(iss=None), "wrong_issuer"),
    "issuers in a list": (lambda i, _: i.token({"iss": [i.url]}), "wrong_issuer"),
    "another party": (claims(azp="https://evil.example"), "wrong_party"),
    "a party that begins like ours": (claims(azp=ORIGIN + ".evil.example"), "wrong_party"),
    "our party with a slash": (claims(azp=ORIGIN + "/"), "wrong_party"),
    "our party over http": (claims(azp=ORIGIN.replace("https", "http")), "wrong_party"),
    "an empty party": (claims(azp=""), "wrong_party"),
    "a party of null": (claims(azp=None), "wrong_party"),
    "parties in a list": (claims(azp=[ORIGIN]), "wrong_party"),
    "an audience": (claims(aud="convex"), "wrong_audience"),
    "audiences with ours among them": (claims(aud=[ORIGIN, "visiona"]), "wrong_audience"),
    "an audience of null": (claims(aud=None), "wrong_audience"),
    # Whom it is about
    "no sub": (claims(sub=...), "malformed_sub"),
    "a sub of null": (claims(sub=None), "malformed_sub"),
    "an empty sub": (claims(sub=""), "malformed_sub"),
    "a sub that is a number": (claims(sub=1), "malformed_sub"),
    "a sub in a list": (claims(sub=["user_1"]), "malformed_sub"),
    "a sub of another kind": (claims(sub="mch_1"), "malformed_sub"),
    "a sub that climbs": (claims(sub="user_../1"), "malformed_sub"),
    "a sub with a line break": (claims(sub="user_1\n"), "malformed_sub"),
    "no sid": (claims(sid=...), "malformed_sid"),
    "a sid of another kind": (claims(sid="client_1"), "malformed_sid"),
    "a sid that is a number": (claims(sid=1), "malformed_sid"),
    "pending": (claims(sts="pending"), "pending"),
    "a status nobody knows": (claims(sts="superseded"), "pending"),
    "a status of null": (claims(sts=None), "pending"),
    "impersonated": (claims(act={"sub": "user_admin"}), "impersonated"),
    "impersonated by nobody": (claims(act=None), "impersonated"),
    # The times
    "no exp": (claims(exp=...), "malformed_exp"),
    "no iat": (claims(iat=...), "malformed_iat"),
    "no nbf": (claims(nbf=...), "malformed_nbf"),
    "exp as text": (claims(exp=str(int(NOW.timestamp()) + 60)), "malformed_exp"),
    "exp as a fraction": (claims(exp=NOW.timestamp() + 60.5), "malformed_exp"),
    "exp as true": (claims(exp=True), "malformed_exp"),
    "exp in a list": (claims(exp=[int(NOW.timestamp()) + 60]), "malformed_exp"),
    "exp in milliseconds": (claims(exp=(int(NOW.timestamp()) + 60) * 1000), "malformed_exp"),
    "exp beyond all dates": (claims(exp=10**400), "malformed_exp"),
    "exp before all dates": (claims(exp=-1), "malformed_exp"),
    "exp in the next century": (claims(exp=4_102_444_800), "lives_too_long"),
    "exp of infinity": (raw(lambda i: json.dumps(i.claims(exp=float("inf"))).encode()), "malformed"),
    "exp of nan": (raw(lambda i: json.dumps(i.claims(exp=float("nan"))).encode()), "malformed"),
    "iat as text": (claims(iat="1"), "malformed_iat"),
    "nbf as true": (claims(nbf=True), "malformed_nbf"),
    "expired a minute ago": (times(iat=-120, nbf=-130, exp=-60), "expired"),
    "expired just beyond the leeway": (times(exp=-5), "expired"),
    "not valid before soon": (times(nbf=6), "not_yet_valid"),
    "issued in the future": (times(iat=6), "not_yet_valid"),
    # The text
    "another subject in place": (
        lambda i, _: altered(i.token(), 1, i.claims(sub="user_2")),
        "bad_signature",
    ),
    "another header in place": (
        lambda i, _: altered(i.token(), 0, i.header(note="x")),
        "bad_signature",
    ),
    "a flipped signature": (lambda i, _: flipped(i.token()), "bad_signature"),
    "a signature cut short": (lambda i, _: i.token()[:-8], "bad_signature"),
    "a signature of zeros": (
        lambda i, _: i.token().rpartition(".")[0] + "." + b64(bytes(256)),
        "bad_signature",
    ),
    "no signature": (lambda i, _: i.token().rpartition(".")[0] + ".", "malformed"),
    "two segments": (lambda i, _: i.token().rpartition(".")[0], "malformed"),
    "four segments": (lambda i, _: i.token() + ".AAAA", "malformed"),
    "five segments, as of a JWE": (lambda _, __: ".".join(["AAAA"] * 5), "malformed"),
    "a header of two joined texts": (
        lambda i, _: sign(i.key, json.dumps(i.header()).encode() + b"{}", i.claims()),
        "malformed",
    ),
    "a header that is a list": (lambda i, _: sign(i.key, [i.header()], i.claims()), "malformed"),
    "a bottomless header": (lambda _, __: f"{b64(b'[' * 2500)}.e30.AAAA", "malformed"),
    "a payload that is a list": (raw(lambda i: json.dumps([i.claims()]).encode()), "malformed"),
    "a payload that is not JSON": (raw(lambda _: b"sub=user_1"), "malformed"),
    "a payload that is not UTF-8": (raw(lambda _: b'{"sub": "\xff\xfe"}'), "malformed"),
    "a bottomless payload": (raw(lambda _: b'{"x":' + b"[" * 2200), "malformed"),
    "a subject twice": (
        raw(lambda i: json.dumps(i.claims()).encode()[:-1] + b', "sub": "user_2"}'),
        "malformed",
    ),
    "an algorithm twice": (
        lambda i, _: sign(i.key, b'{"alg": "none", ' + json.dumps(i.header()).encode()[1:], i.claims()),
        "malformed",
    ),
    "too long": (claims(note="x" * 4096), "too_long"),
    "a megabyte": (lambda _, __: "A" * 1_000_000, "too_long"),
    "a line break at the end": (lambda i, _: i.token() + "\n", "malformed"),
    "a space before": (lambda i, _: " " + i.token(), "malformed"),
    "padding": (lambda i, _: i.token() + "=", "malformed"),
    "the other base64 alphabet": (lambda i, _: i.token()[:-4] + "++//", "malformed"),
    "a letter that is not ASCII": (lambda i, _: i.token()[:-1] + "ä", "malformed"),
    "a lone surrogate": (lambda i, _: i.token()[:-1] + "\ud800", "malformed"),
    "digits that are not ASCII": (lambda i, _: i.token()[:-1] + "٣", "malformed"),
    "nothing": (lambda _, __: "", "malformed"),
    "dots": (lambda _, __: "..", "malformed"),
}


def pss_as_rs256(instance: ClerkInstance) -> str:
    signed = f"{segment(instance.header())}.{segment(instance.claims())}"
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return f"{signed}.{b64(instance.key.sign(signed.encode(), pss, hashes.SHA256()))}"


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_token_is_refused(
    name: str, instance: ClerkInstance, identity: ClerkIdentity, other_key: rsa.RSAPrivateKey
) -> None:
    forge, reason = FORGERIES[name]
    genuine = instance.token()
    token = forge(instance, other_key)

    assert (await identity.verify(genuine, NOW)).subject == "user_1"
    with pytest.raises(InvalidToken) as caught:
        await identity.verify(token, NOW)
    assert caught.value.reason == reason
    assert caught.value.__cause__ is None
    # Nor is it let in by what was remembered of the genuine one, or of itself.
    with pytest.raises(InvalidToken):
        await identity.verify(token, NOW)
    assert instance.asked("/.well-known/jwks.json") == 1


async def test_what_a_genuine_token_says(instance: ClerkInstance, identity: ClerkIdentity) -> None:
    end = NOW.replace(microsecond=0) + timedelta(seconds=60)

    token = instance.token({"fva": [0, -1]})
    assert await identity.verify(token, NOW) == TokenReport(
        "user_1", "sess_1", end, NOW.replace(microsecond=0)
    )


@pytest.mark.parametrize(
    ("fva", "minutes"),
    [
        ([7, -1], 7),
        ([90, 3], 3),
        ([-1, 4], 4),
        ([-1, -1], None),
        (None, None),
        ([], None),
        (["0", True], None),
        ([10**12, -1], None),
        ({"first": 0}, None),
    ],
)
async def test_how_long_ago_somebody_showed_who_they_are(
    instance: ClerkInstance, identity: ClerkIdentity, fva: Any, minutes: int | None
) -> None:
    report = await identity.verify(instance.token({"fva": fva}), NOW)

    issued = NOW.replace(microsecond=0)
    assert report.confirmed_at == (None if minutes is None else issued - timedelta(minutes=minutes))


async def test_what_the_official_library_makes_of_it(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    """It reads our genuine tokens; and it takes those of any issuer and category, pending and impersonated
    ones among them. That is why the rules here are our own.
    """
    moment = datetime.now(UTC)
    issued = int(moment.timestamp())
    times = {"iat": issued, "nbf": issued - 10, "exp": issued + 60}
    options = VerifyTokenOptions(jwt_key=pem_of(instance.key), authorized_parties=[ORIGIN])
    genuine = instance.token(times)

    assert verify_token(genuine, options)["sub"] == (await identity.verify(genuine, moment)).subject
    for lax in (
        instance.token(times | {"iss": "https://clerk.evil.example"}),
        instance.token(times | {"act": {"sub": "user_admin"}}),
        instance.token(times | {"sts": "pending"}),
        instance.token(times, {"cat": "cl_B7d4PD222AAA"}),
    ):
        assert verify_token(lax, options)["sub"] == "user_1"
        with pytest.raises(InvalidToken):
            await identity.verify(lax, moment)


GENUINE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "without a party": ({"azp": ...}, {}),
    "without a category": ({}, {"cat": ...}),
    "of version 1": ({"v": ..., "jti": ..., "sts": ..., "fva": ..., "org_id": "org_1"}, {}),
    "with an organisation and plans": (
        {"o": {"id": "org_1", "rol": "admin"}, "pla": "u:free", "fea": "u:x"},
        {},
    ),
    "with claims of the operator": ({"role": "authenticated", "ß": "ü"}, {}),
    "just expired, by a clock that is a little fast": ({"exp": int(NOW.timestamp()) - 4}, {}),
    "from a clock that is a little fast": ({"iat": int(NOW.timestamp()) + 5}, {}),
    "of a day": ({"exp": int(NOW.timestamp()) + 86_400}, {}),
}


@pytest.mark.parametrize("name", GENUINE)
async def test_a_genuine_token_is_accepted(
    name: str, instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    changes, headers = GENUINE[name]

    report = await identity.verify(instance.token(changes, headers), NOW)

    assert (report.subject, report.session_id) == ("user_1", "sess_1")


async def test_only_the_given_clock_counts(instance: ClerkInstance, identity: ClerkIdentity) -> None:
    """The year 2000 by the given clock, whatever the machine says."""
    then = datetime(2000, 1, 1, tzinfo=UTC)
    issued = int(then.timestamp())
    token = instance.token({"iat": issued, "nbf": issued, "exp": issued + 60})

    assert (await identity.verify(token, then)).subject == "user_1"
    with pytest.raises(InvalidToken, match="expired"):
        await identity.verify(token, datetime.now(UTC))


async def test_a_remembered_token_expires_all_the_same(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    token = instance.token()
    for _ in range(3):
        await identity.verify(token, NOW)

    with pytest.raises(InvalidToken, match="expired"):
        await identity.verify(token, NOW + timedelta(seconds=66))


async def test_a_token_in_use_costs_one_signature(
    instance: ClerkInstance, identity: ClerkIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[str] = []
    check = jwt.PyJWS.decode_complete

    def counted(self: jwt.PyJWS, *args: Any, **kwargs: Any) -> Any:
        checks.append("one")
        return check(self, *args, **kwargs)

    monkeypatch.setattr(jwt.PyJWS, "decode_complete", counted)
    token = instance.token()
    started = time.perf_counter()
    for _ in range(1000):
        await identity.verify(token, NOW)

    assert len(checks) == 1
    assert time.perf_counter() - started < 1.0


async def test_what_is_remembered_is_bounded(instance: ClerkInstance, identity: ClerkIdentity) -> None:
    remembered = identity._tokens._verified
    first = instance.token()
    await identity.verify(first, NOW)
    sample = next(iter(remembered.values()))
    for number in range(VERIFIED_TOKENS_KEPT - 1):
        remembered[hashlib.sha256(str(number).encode()).digest()] = sample
    assert len(remembered) == VERIFIED_TOKENS_KEPT

    await identity.verify(instance.token({"jti": "another"}), NOW)

    assert len(remembered) == VERIFIED_TOKENS_KEPT
    assert hashlib.sha256(first.encode()).digest() not in remembered


async def test_a_configured_key_needs_no_network(
    instance: ClerkInstance, other_key: rsa.RSAPrivateKey
) -> None:
    identity = ClerkIdentity(instance.config(jwt_key=pem_of(instance.key).replace("\n", "\\n")))

    assert (await identity.verify(instance.token(), NOW)).subject == "user_1"
    with pytest.raises(InvalidToken, match="bad_signature"):
        await identity.verify(sign(other_key, instance.header(), instance.claims()), NOW)
    for kid in (..., 5, "../x", ""):
        with pytest.raises(InvalidToken, match="unknown_key"):
            await identity.verify(instance.token(header={"kid": kid}), NOW)
    assert not instance.server.exchanges
    await identity.aclose()


# Handshakes


async def test_a_handshake_brings_the_cookies_of_clerk_alone(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    kept = [
        SESSION_COOKIE,
        "__session_Ab3-_9xZ=abc.def.ghi; Path=/; Secure; HttpOnly",
        "__client_uat=1700000000; Path=/; Domain=visiona.example; Max-Age=315360000",
        "__client_uat_Ab3-_9xZ=0; Path=/",
        "__refresh_Ab3-_9xZ=xyz; Path=/; HttpOnly",
        "__clerk_db_jwt=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ]
    others = [
        "visiona_session=stolen; Path=/",
        "__Host-visiona=1; Path=/; Secure",
        "__sessionx=1",
        "__session",
        " __session=1",
        "__SESSION=1",
        "__session=a\r\nSet-Cookie: visiona_session=stolen",
        "__session=a; Path=/\nX: y",
        "__session=ä",
        "",
    ]
    token = instance.handshake([*others, *kept])
    instance.nonces["nonce1"] = [*kept, *others]

    assert await identity.read_handshake(token=token, nonce=None, now=NOW) == kept
    assert await identity.read_handshake(token=None, nonce="nonce1", now=NOW) == kept


UNWANTED_HANDSHAKES: dict[str, tuple[Forge, str]] = {
    "a session token": (lambda i, _: i.token(), "not_a_handshake"),
    "a session token with cookies in it": (claims(handshake=[SESSION_COOKIE]), "not_a_handshake"),
    "a template's token with cookies in it": (
        lambda i, _: i.handshake([SESSION_COOKIE], {"cat": "cl_B7d4PD222AAA"}),
        "wrong_category",
    ),
    "one with a subject": (lambda i, _: i.handshake([SESSION_COOKIE], sub=None), "not_a_handshake"),
    "of another key": (lambda i, o: sign(o, i.header(), {"handshake": [SESSION_COOKIE]}), "bad_signature"),
    "of an unknown key": (lambda i, _: i.handshake([], {"kid": "ins_other"}), "unknown_key"),
    "unsigned": (
        lambda i, _: f"{segment(i.header(alg='none'))}.{segment({'handshake': []})}.AA",
        "wrong_algorithm",
    ),
    "with jwk": (lambda i, o: sign(o, i.header(jwk=jwk_of(o)), {"handshake": []}), "steering_header"),
    "of another issuer": (lambda i, _: i.handshake([], iss="https://clerk.evil.example"), "wrong_issuer"),
    "expired": (lambda i, _: i.handshake([], exp=int(NOW.timestamp()) - 5), "expired"),
    "not yet valid": (lambda i, _: i.handshake([], nbf=int(NOW.timestamp()) + 6), "not_yet_valid"),
    "with an exp that is text": (lambda i, _: i.handshake([], exp="never"), "malformed_exp"),
    "without lines": (lambda i, _: sign(i.key, i.header(), {}), "malformed_handshake"),
    "with a line for lines": (lambda i, _: i.handshake(SESSION_COOKIE), "malformed_handshake"),
    "with numbers for lines": (lambda i, _: i.handshake([1]), "malformed_handshake"),
    "with a thousand lines": (lambda i, _: i.handshake(["__session=a"] * 100), "malformed_handshake"),
    "too long": (lambda i, _: i.handshake(["__session=" + "a" * 20_000]), "too_long"),
}


@pytest.mark.parametrize("name", UNWANTED_HANDSHAKES)
async def test_a_forged_handshake_is_refused(
    name: str, instance: ClerkInstance, identity: ClerkIdentity, other_key: rsa.RSAPrivateKey
) -> None:
    forge, reason = UNWANTED_HANDSHAKES[name]

    with pytest.raises(InvalidToken) as caught:
        await identity.read_handshake(token=forge(instance, other_key), nonce=None, now=NOW)
    assert caught.value.reason == reason


async def test_a_nonce_counts_once_and_before_a_token(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    instance.nonces["nonce1"] = [SESSION_COOKIE]
    forged = instance.handshake(["__session=other"])

    assert await identity.read_handshake(token=forged, nonce="nonce1", now=NOW) == [SESSION_COOKIE]
    with pytest.raises(InvalidToken, match="unknown_nonce"):
        await identity.read_handshake(token=forged, nonce="nonce1", now=NOW)


@pytest.mark.parametrize("nonce", ["a b", "a/../b", "a&limit=1", "ä", "x" * 513, "a\n"])
async def test_a_malformed_nonce_is_not_asked_about(
    nonce: str, instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    with pytest.raises(InvalidToken, match="malformed_nonce"):
        await identity.read_handshake(token=None, nonce=nonce, now=NOW)
    assert not instance.server.exchanges


@pytest.mark.parametrize("nothing", [None, ""])
async def test_a_return_without_a_handshake_is_refused(nothing: str | None, identity: ClerkIdentity) -> None:
    with pytest.raises(InvalidToken, match="no_handshake"):
        await identity.read_handshake(token=nothing, nonce=nothing, now=NOW)


def test_the_forgeries_would_be_tokens_but_for_one_thing(key: rsa.RSAPrivateKey) -> None:
    """The tool that forges them makes what another library reads."""
    token = sign(key, {"alg": "RS256", "typ": "JWT"}, {"sub": "user_1"})
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    assert jwt.decode(token, key.public_key(), algorithms=["RS256"]) == {"sub": "user_1"}
    assert base64.b64decode(b"".join(private.splitlines()[1:-1]))
    assert len(FORGERIES) >= 45
