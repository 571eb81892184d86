"""The public keys that Clerk signs with: fetched seldom, kept through outages, never taken on trust.

A token names its key by `kid`, which anybody can write. So an unknown one makes us ask again, but not
more often than the floor allows, and never twice at the same time.
"""

import asyncio
import base64
import binascii
import contextvars
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from visiona.adapters.clerk.config import MAX_KEY_BITS, is_strong
from visiona.adapters.clerk.failures import PROVIDER
from visiona.core.guard import forbid_open_transaction
from visiona.ports.errors import ProviderError, ProviderUnavailable

KID = re.compile(r"[A-Za-z0-9_-]{1,128}")

_log = logging.getLogger(__name__)

_MAX_KEYS = 32
_NUMBER = re.compile(r"[A-Za-z0-9_-]{1,1400}")
# While there is no key at all, nobody can be let in: ask more often than the floor, but not per request.
_FIRST_FLOOR_S = 1.0


class Keys(Protocol):
    def known(self, kid: str) -> RSAPublicKey | None:
        """Without waiting; None where this kid is not known now."""
        ...

    async def find(self, kid: str) -> RSAPublicKey | None:
        """Raises `ProviderUnavailable` where no key was ever had and none can be."""
        ...

    async def aclose(self) -> None: ...


class GivenKey:
    """The one key from the configuration, whatever a token calls it: nothing is ever fetched."""

    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    def known(self, kid: str) -> RSAPublicKey | None:
        return self._key if KID.fullmatch(kid) else None

    async def find(self, kid: str) -> RSAPublicKey | None:
        return self.known(kid)

    async def aclose(self) -> None:
        """There is nothing to close."""


class FetchedKeys:
    """`fetch` returns a JSON Web Key Set or raises `ProviderError`, in bounded time."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        floor_s: float,
        max_age_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._floor_s = floor_s
        self._max_age_s = max_age_s
        self._monotonic = monotonic
        self._keys: dict[str, RSAPublicKey] = {}
        self._asked_at = float("-inf")
        self._fetched_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    def known(self, kid: str) -> RSAPublicKey | None:
        """Old keys are good for now, and looked after in the background."""
        if self._keys and self._monotonic() - self._fetched_at >= self._max_age_s and self._may_ask():
            self._begin()
        return self._keys.get(kid)

    async def find(self, kid: str) -> RSAPublicKey | None:
        if KID.fullmatch(kid) is None:
            return None
        key = self.known(kid)
        if key is not None:
            return key
        if self._fetching is None and self._may_ask():
            self._begin()
        if self._fetching is not None:
            forbid_open_transaction(PROVIDER)
            # Those who wait may leave; the fetch goes on for the others.
            await asyncio.shield(self._fetching)
        if not self._keys:
            raise ProviderUnavailable(PROVIDER, "no_keys")
        return self._keys.get(kid)

    async def aclose(self) -> None:
        task = self._fetching
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _may_ask(self) -> bool:
        floor_s = self._floor_s if self._keys else min(self._floor_s, _FIRST_FLOOR_S)
        return self._fetching is None and self._monotonic() - self._asked_at >= floor_s

    def _begin(self) -> None:
        self._asked_at = self._monotonic()
        # In a context of its own: what whoever happened to ask first has open is not the fetch's business.
        self._fetching = asyncio.create_task(self._refresh(), context=contextvars.Context())

    async def _refresh(self) -> None:
        try:
            found = read_keys(await self._fetch())
        except ProviderError as failure:
            _log.warning("the keys could not be fetched: %s", failure)
        else:
            if found:
                self._keys = found
                self._fetched_at = self._monotonic()
            else:
                _log.warning("the keys could not be fetched: no usable key was among the answer")
        finally:
            self._fetching = None


def read_keys(body: bytes) -> dict[str, RSAPublicKey]:
    """The usable keys of a JSON Web Key Set by their `kid`; none where it is not one."""
    try:
        listed = msgspec.json.decode(body, type=_KeySet).keys[:_MAX_KEYS]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}
    found: dict[str, RSAPublicKey] = {}
    for jwk in listed:
        kid = jwk.get("kid")
        key = _usable(jwk)
        if isinstance(kid, str) and KID.fullmatch(kid) and key is not None:
            found.setdefault(kid, key)
    return found


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def _usable(jwk: dict[str, Any]) -> RSAPublicKey | None:
    """Only what signs by RS256. A key whose private half is published is everybody's."""
    if jwk.get("kty") != "RSA" or jwk.get("use") != "sig" or jwk.get("alg", "RS256") != "RS256" or "d" in jwk:
        return None
    modulus, exponent = _number(jwk.get("n")), _number(jwk.get("e"))
    if modulus.bit_length() > MAX_KEY_BITS:
        return None
    try:
        key = RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        return None
    return key if is_strong(key) else None


def _number(encoded: Any) -> int:
    """0 where it is not a number as RFC 7518 writes one."""
    if not isinstance(encoded, str) or not _NUMBER.fullmatch(encoded):
        return 0
    try:
        return int.from_bytes(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (binascii.Error, ValueError):
        return 0
