"""Session tokens as they should be, and with one thing wrong: for those who try a verifier.

| defect | what is wrong |
|---|---|
| `expired` | ran out a minute ago |
| `not_yet_valid` | valid from ten minutes on |
| `issued_later` | issued ten minutes from now |
| `wrong_issuer` | another instance's issuer, own key |
| `wrong_azp`, `no_azp` | asked for by another origin; says none |
| `other_key` | signed with a key that is not published, under the current `kid` |
| `other_kid` | signed with the current key under a `kid` that is not published |
| `pending` | tasks are left, so nobody is signed in yet |
| `alg_none` | no signature |
| `hs256_with_pem` | an HMAC whose secret is the public key |
| `template`, `machine`, `unknown_category` | another category of token |
| `no_category`, `no_kid` | the header leaves it out (the first is a genuine, older token) |
| `no_exp`, `no_iat`, `no_nbf`, `no_sub`, `no_sid`, `no_iss` | the claim is missing |
| `version_1` | a genuine token of the first version: no `v`, no `jti`, no `sts`, no `fva` |
| `jwk_header` | another key's signature, with that key in the header |
| `jku_header`, `x5u_header` | another key's signature, with an address where that key lies |
| `crit_header` | an extension that nobody knows must be understood |
| `broken_signature` | the last characters of the signature changed |
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import jwt
import msgspec

from visiona.sandbox.clerk.clock import real_seconds
from visiona.sandbox.clerk.config import ClerkSandboxConfig
from visiona.sandbox.clerk.errors import bad_request
from visiona.sandbox.clerk.ids import new_id
from visiona.sandbox.clerk.keys import MACHINE, SESSION, TEMPLATE, Keys, jwk, new_private_pem, public_pem
from visiona.sandbox.clerk.sessions import Sessions
from visiona.sandbox.clerk.store import Obj

OTHER_KEYS: Final = "/.well-known/other-keys.json"
"""Where the key lies that signs for nobody: whoever fetches it has followed a token's header."""

KEY_SETS: Final = frozenset({"/.well-known/jwks.json", "/v1/jwks", OTHER_KEYS})
"""The paths whose requests are counted, failed ones too."""

Algorithm = Literal["RS256", "HS256", "none"]


@dataclass
class _Draft:
    claims: Obj
    header: Obj
    key: str | None
    algorithm: Algorithm = "RS256"
    broken: bool = field(default=False)


class Mint:
    def __init__(self, config: ClerkSandboxConfig, keys: Keys, sessions: Sessions) -> None:
        self._config = config
        self._keys = keys
        self._sessions = sessions
        self._other_pem: str | None = None
        self._other_kid = new_id("ins")

    def mint(
        self, session_id: str, *, azp: str | None, seconds: int, defects: list[str], claims: Obj, headers: Obj
    ) -> Obj:
        """A token of a session, with defects; `claims` and `headers` are laid over what comes of them.

        A value of None leaves a claim out. Raises `ClerkError`: 404 for an unknown session, 400 for an
        unknown defect.
        """
        session = self._sessions.get(session_id)
        current = self._keys.current
        draft = _Draft(
            self._sessions.claims(session, azp=azp, seconds=seconds),
            {"alg": "RS256", "cat": SESSION, "kid": current["id"], "typ": "JWT"},
            current["pem"],
        )
        for defect in defects:
            self._spoil(draft, defect)
        draft.claims = _without_none({**draft.claims, **claims})
        draft.header = _without_none({**draft.header, **headers})
        return {"jwt": self._signed(draft), "claims": draft.claims, "header": draft.header}

    def other_key_set(self) -> Obj:
        return {"keys": [jwk(self._other_key(), self._other_kid)]}

    def _spoil(self, draft: _Draft, defect: str) -> None:
        now = real_seconds()
        spoil = {**_claims_changed(now, self._config.public_url), **_HEADERS_CHANGED}.get(defect)
        if spoil is not None:
            claims, header = spoil
            draft.claims |= claims
            draft.header |= header
            return
        other = self._by_other_means().get(defect)
        if other is None:
            raise bad_request("bad_request", f"There is no defect {defect}.")
        other(draft)

    def _by_other_means(self) -> dict[str, Callable[[_Draft], None]]:
        other_keys = f"{self._config.public_url}{OTHER_KEYS}"

        def other_key(draft: _Draft, **header: Any) -> None:
            draft.key = self._other_key()
            draft.header |= header

        def unsigned(draft: _Draft) -> None:
            draft.key, draft.algorithm = None, "none"
            draft.header["alg"] = "none"

        def confused(draft: _Draft) -> None:
            draft.key, draft.algorithm = public_pem(self._keys.current["pem"]), "HS256"
            draft.header["alg"] = "HS256"

        def broken(draft: _Draft) -> None:
            draft.broken = True

        return {
            "other_key": other_key,
            "alg_none": unsigned,
            "hs256_with_pem": confused,
            "broken_signature": broken,
            "jwk_header": lambda draft: other_key(draft, jwk=jwk(self._other_key(), self._other_kid)),
            "jku_header": lambda draft: other_key(draft, kid=self._other_kid, jku=other_keys),
            "x5u_header": lambda draft: other_key(draft, kid=self._other_kid, x5u=other_keys),
        }

    def _signed(self, draft: _Draft) -> str:
        header = _encoded(draft.header)
        signing_input = f"{header}.{_encoded(draft.claims)}"
        algorithm = jwt.get_algorithm_by_name(draft.algorithm)
        if draft.algorithm == "none":
            signature = b""
        elif draft.algorithm == "HS256":  # the library itself would refuse such a secret
            signature = algorithm.sign(signing_input.encode(), (draft.key or "").encode())
        else:
            signature = algorithm.sign(signing_input.encode(), algorithm.prepare_key(draft.key or ""))
        if draft.broken:
            signature = signature[:-4] + bytes(byte ^ 1 for byte in signature[-4:])
        return f"{signing_input}.{_base64(signature)}"

    def _other_key(self) -> str:
        if self._other_pem is None:
            self._other_pem = new_private_pem()
        return self._other_pem


_Change = tuple[Obj, Obj]
"""Claims and header fields to lay over; None leaves one out."""

_HEADERS_CHANGED: Final[dict[str, _Change]] = {
    "other_kid": ({}, {"kid": "ins_unpublished0000000000000000"}),
    "no_kid": ({}, {"kid": None}),
    "template": ({}, {"cat": TEMPLATE}),
    "machine": ({}, {"cat": MACHINE}),
    "unknown_category": ({}, {"cat": "cl_X0d0XX000XXX"}),
    "no_category": ({}, {"cat": None}),
    "crit_header": ({}, {"crit": ["visiona"], "visiona": True}),
}


def _claims_changed(now: int, issuer: str) -> dict[str, _Change]:
    return {
        "expired": ({"exp": now - 60, "iat": now - 120, "nbf": now - 130}, {}),
        "not_yet_valid": ({"exp": now + 660, "nbf": now + 600}, {}),
        "issued_later": ({"exp": now + 660, "iat": now + 600}, {}),
        "wrong_issuer": ({"iss": f"{issuer}.example"}, {}),
        "wrong_azp": ({"azp": "http://elsewhere.example"}, {}),
        "no_azp": ({"azp": None}, {}),
        "pending": ({"sts": "pending"}, {}),
        "version_1": ({"v": None, "jti": None, "sts": None, "fva": None}, {}),
        **{f"no_{claim}": ({claim: None}, {}) for claim in ("exp", "iat", "nbf", "sub", "sid", "iss")},
    }


def _without_none(fields: Obj) -> Obj:
    return {name: value for name, value in fields.items() if value is not None}


def _encoded(part: Obj) -> str:
    return _base64(msgspec.json.encode(part))


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
