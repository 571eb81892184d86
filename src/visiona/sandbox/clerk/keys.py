"""The instance's signing keys, and what they sign.

The newest key signs; older ones stay in the key set for as long as a rotation left them there.
"""

from functools import lru_cache
from typing import Any, Final, cast

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from visiona.sandbox.clerk.clock import Clock
from visiona.sandbox.clerk.ids import new_id
from visiona.sandbox.clerk.store import Obj, Store

_KIND: Final = "_key"
_INSTANCE: Final = "_instance"

SESSION: Final = "cl_B7d4PD111AAA"
TEMPLATE: Final = "cl_B7d4PD222AAA"
MACHINE: Final = "cl_B7d4PD333AAA"


class Keys:
    def __init__(self, store: Store, clock: Clock, issuer: str) -> None:
        self._store = store
        self._clock = clock
        self.issuer = issuer
        self.ensure()

    def ensure(self) -> None:
        """Make the instance and its first key, where there are none yet."""
        with self._store.atomic():
            if self._store.find(_INSTANCE, "instance") is None:
                kid = new_id("ins")
                self._store.put(_INSTANCE, {"id": "instance", "instance_id": kid})
                self._store.put(_KIND, {"id": kid, "pem": new_private_pem(), "current": True, "until": None})

    @property
    def instance_id(self) -> str:
        return self._store.get(_INSTANCE, "instance")["instance_id"]

    @property
    def current(self) -> Obj:
        """`id` is the key's `kid`, `pem` the private key."""
        return next(key for key in self._store.all(_KIND) if key["current"])

    def published(self) -> list[Obj]:
        """The keys of the key set, the newest first."""
        now = self._clock.now()
        keys = [key for key in self._store.all(_KIND) if key["until"] is None or key["until"] > now]
        return sorted(keys, key=lambda key: not key["current"])

    def key_set(self) -> Obj:
        return {"keys": [jwk(key["pem"], key["id"]) for key in self.published()]}

    def rotate(self, keep_old_s: int | None) -> Obj:
        """Sign with a new key; the old ones leave the key set after so many seconds, None for never."""
        until = None if keep_old_s is None else self._clock.now() + keep_old_s * 1000
        for key in self.published():
            last = key["until"] if until is None else min(until, key["until"] or until)
            self._store.put(_KIND, {**key, "current": False, "until": last})
        fresh = {"id": new_id("ins"), "pem": new_private_pem(), "current": True, "until": None}
        self._store.put(_KIND, fresh)
        return fresh

    def sign(self, claims: Obj, category: str | None = None) -> str:
        key = self.current
        headers = {"kid": key["id"]} if category is None else {"cat": category, "kid": key["id"]}
        return jwt.encode(claims, key["pem"], algorithm="RS256", headers=headers)

    def read(self, token: str) -> Obj | None:
        """The claims of a token that a published key signed, whatever its dates; None for any other."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = next((key for key in self.published() if key["id"] == kid), None)
            if key is None:
                return None
            options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
            return jwt.decode(token, public_pem(key["pem"]), algorithms=["RS256"], options=options)
        except jwt.InvalidTokenError:
            return None


def new_private_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@lru_cache(maxsize=32)
def public_pem(private_pem: str) -> str:
    encoding, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return _private_key(private_pem).public_key().public_bytes(encoding, kind).decode()


def jwk(private_pem: str, kid: str) -> Obj:
    """The public half as a key set shows it."""
    numbers = RSAAlgorithm.to_jwk(_private_key(private_pem).public_key(), as_dict=True)
    return {"use": "sig", "kty": "RSA", "kid": kid, "alg": "RS256", "n": numbers["n"], "e": numbers["e"]}


def _private_key(private_pem: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(private_pem.encode(), password=None)
    return cast("rsa.RSAPrivateKey", key)
