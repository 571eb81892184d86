"""A master key in the transit engine of HashiCorp Vault (or OpenBao), through `hvac`."""

import asyncio
import base64
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

from visiona.adapters.http import RATE_LIMITED, SERVER_ERROR, TIMEOUT, UNREACHABLE, UNUSABLE_ANSWER
from visiona.adapters.master_keys.managed import CALL_TIMEOUT_S, ManagedMasterKey, require
from visiona.ports.errors import ProviderError

_PATH = re.compile(r"([\w./-]+)/keys/([\w.-]+)")


class VaultMasterKey(ManagedMasterKey):
    """`path` is the engine's mount and the key: `transit/keys/visiona`. Raises `ValueError`.

    Where the server is, and the token, come from the environment (`VAULT_ADDR`, `VAULT_TOKEN`,
    `VAULT_NAMESPACE`, `VAULT_CACERT`) as for its own command, unless an `endpoint` is given.
    """

    provider = "vault"

    def __init__(self, path: str, *, endpoint: str | None = None) -> None:
        found = _PATH.fullmatch(path)
        if found is None:
            raise ValueError(
                "a key in Vault is named vault://<mount>/keys/<key>, like vault://transit/keys/visiona"
            )
        require("hvac", "vault")
        super().__init__(f"vault://{path}")
        self._mount, self._key = found[1], found[2]
        self._endpoint = endpoint

    async def _encrypt(self, key: bytes, context: str) -> bytes:
        answer = await self._in_thread(
            lambda: self._transit.encrypt_data(
                self._key,
                plaintext=base64.b64encode(key).decode(),
                associated_data=base64.b64encode(context.encode()).decode(),
                mount_point=self._mount,
            )
        )
        return self._field(answer, "ciphertext").encode()

    async def _decrypt(self, wrapped: bytes, context: str) -> bytes:
        answer = await self._in_thread(
            lambda: self._transit.decrypt_data(
                self._key,
                ciphertext=wrapped.decode(),
                associated_data=base64.b64encode(context.encode()).decode(),
                mount_point=self._mount,
            )
        )
        return base64.b64decode(self._field(answer, "plaintext"))

    def _field(self, answer: Any, name: str) -> str:
        try:
            return str(answer["data"][name])
        except (KeyError, TypeError):
            raise self._unavailable(UNUSABLE_ANSWER) from None

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        try:
            return await asyncio.to_thread(call)
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> ProviderError:
        from hvac import exceptions as vault  # noqa: PLC0415 - loaded when first used
        from requests import exceptions as http  # noqa: PLC0415 - loaded when first used

        match error:
            case vault.RateLimitExceeded():
                return self._unavailable(RATE_LIMITED)
            case (
                vault.InternalServerError()
                | vault.BadGateway()
                | vault.VaultDown()
                | vault.VaultNotInitialized()
            ):
                return self._unavailable(SERVER_ERROR)
            case http.Timeout():
                return self._unavailable(TIMEOUT)
            case http.ConnectionError():
                return self._unavailable(UNREACHABLE)
            case _:
                return self._rejected(type(error).__name__)

    @cached_property
    def _transit(self) -> Any:
        from hvac import Client  # noqa: PLC0415 - loaded when first used

        # Followed, a redirect would take the token along to whichever host it names.
        client: Any = Client(url=self._endpoint, timeout=round(CALL_TIMEOUT_S), allow_redirects=False)
        return client.secrets.transit
