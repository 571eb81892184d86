"""A master key in Google Cloud KMS, through Google's own client."""

import asyncio
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from visiona.adapters.http import RATE_LIMITED, SERVER_ERROR, TIMEOUT, UNREACHABLE
from visiona.adapters.master_keys.managed import CALL_TIMEOUT_S, ManagedMasterKey, require
from visiona.ports.errors import ProviderError

_NAME = re.compile(r"projects/[a-z0-9:.-]+/locations/[a-z0-9-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+")


class GcpMasterKey(ManagedMasterKey):
    """`resource` names the key, without a version: the primary one encrypts. Raises `ValueError`.

    With an `endpoint`, which stands in for Google on this machine, no credentials are looked for.
    """

    provider = "gcp-kms"

    def __init__(self, resource: str, *, endpoint: str | None = None) -> None:
        if not _NAME.fullmatch(resource):
            raise ValueError(
                "a key in Google's KMS is named gcp-kms://projects/<project>/locations/<location>/"
                "keyRings/<ring>/cryptoKeys/<key>"
            )
        require("google.cloud.kms_v1", "gcp-kms")
        super().__init__(f"gcp-kms://{resource}")
        self._resource = resource
        self._endpoint = endpoint

    async def _encrypt(self, key: bytes, context: str) -> bytes:
        request = {
            "name": self._resource,
            "plaintext": key,
            "additional_authenticated_data": context.encode(),
        }
        return (await self._in_thread(lambda: self._client.encrypt(request, **_ONCE))).ciphertext

    async def _decrypt(self, wrapped: bytes, context: str) -> bytes:
        request = {
            "name": self._resource,
            "ciphertext": wrapped,
            "additional_authenticated_data": context.encode(),
        }
        return (await self._in_thread(lambda: self._client.decrypt(request, **_ONCE))).plaintext

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        """The client over HTTP blocks; the one over gRPC brings threads of its own, which a fork breaks."""
        try:
            return await asyncio.to_thread(call)
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> ProviderError:
        from google.api_core import exceptions as api  # noqa: PLC0415 - loaded when first used
        from google.auth import exceptions as auth  # noqa: PLC0415 - loaded when first used
        from requests import exceptions as http  # noqa: PLC0415 - loaded when first used

        match error:
            case api.TooManyRequests():
                return self._unavailable(RATE_LIMITED)
            case api.ServerError() | api.RetryError():
                return self._unavailable(SERVER_ERROR)
            case http.Timeout():
                return self._unavailable(TIMEOUT)
            case http.ConnectionError() | auth.TransportError():
                return self._unavailable(UNREACHABLE)
            case _:
                return self._rejected(type(error).__name__)

    @cached_property
    def _client(self) -> Any:
        from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415 - loaded when first used
        from google.cloud.kms_v1 import KeyManagementServiceClient  # noqa: PLC0415 - loaded when first used

        if self._endpoint is None:
            return _unled(KeyManagementServiceClient(transport="rest"))
        rest = KeyManagementServiceClient.get_transport_class("rest")
        parts = urlsplit(self._endpoint)
        make: Any = rest  # the base class does not know the scheme
        transport = make(host=parts.netloc, url_scheme=parts.scheme, credentials=AnonymousCredentials())
        return _unled(KeyManagementServiceClient(transport=transport))


def _unled(client: Any) -> Any:
    """The client, led nowhere by redirects: what is to be wrapped is for its own service."""
    client.transport._session.max_redirects = 0  # noqa: SLF001 - the transport has no setting for it
    return client


_ONCE: dict[str, Any] = {"retry": None, "timeout": CALL_TIMEOUT_S}
