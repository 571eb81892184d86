"""What all key management services have in common: an address, patience, and errors that tell no secrets."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from importlib.util import find_spec

from visiona.adapters.http import (
    CONNECTION_LOST,
    NO_CONNECTION,
    RATE_LIMITED,
    SERVER_ERROR,
    TIMEOUT,
    UNREACHABLE,
    retrying,
)
from visiona.core.guard import forbid_open_transaction
from visiona.ports.errors import ProviderRejected, ProviderUnavailable

CALL_TIMEOUT_S = 10.0
_BUDGET_S = 6.0
_RETRIED = frozenset({UNREACHABLE, NO_CONNECTION, CONNECTION_LOST, TIMEOUT, RATE_LIMITED, SERVER_ERROR})


class ManagedMasterKey(ABC):
    """A key that never leaves the service: it is asked to encrypt and to decrypt, and may say no."""

    provider: str
    """As errors name it."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name})"

    async def wrap(self, key: bytes, context: str) -> bytes:
        return await self._patiently(lambda: self._encrypt(key, context))

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        return await self._patiently(lambda: self._decrypt(wrapped, context))

    async def aclose(self) -> None:  # noqa: B027 - some services have nothing to close
        """Where the service's library keeps connections, they end with the process."""

    @abstractmethod
    async def _encrypt(self, key: bytes, context: str) -> bytes:
        """Once. Raises `ProviderUnavailable` and `ProviderRejected`."""

    @abstractmethod
    async def _decrypt(self, wrapped: bytes, context: str) -> bytes:
        """Once. Raises `ProviderUnavailable` and `ProviderRejected`."""

    async def _patiently(self, call: Callable[[], Awaitable[bytes]]) -> bytes:
        forbid_open_transaction(self.provider)
        return await retrying(call, _RETRIED, _BUDGET_S)

    def _unavailable(self, reason: str) -> ProviderUnavailable:
        return ProviderUnavailable(self.provider, reason)

    def _rejected(self, reason: str) -> ProviderRejected:
        """`reason` is the service's word for it, such as `access_denied`; never its sentence, nor a key."""
        return ProviderRejected(
            self.provider, reason, status=400, message="The key management service refuses."
        )


def require(module: str, extra: str) -> None:
    """Raises `ValueError` where the library of a service is not installed."""
    try:
        found = find_spec(module)
    except ModuleNotFoundError:  # not even what it is in
        found = None
    if found is None:
        raise ValueError(f"this needs a library that is not installed: pip install 'visiona[{extra}]'")
