"""A key that wraps the keys of people: in the settings, or in somebody's key management service."""

from typing import Protocol


class MasterKey(Protocol):
    """Wrapped keys name the master key that wrapped them, so that several can be in use at once."""

    @property
    def name(self) -> str:
        """Which key this is; the same in each process, and tells nothing about the key."""
        ...

    async def wrap(self, key: bytes, context: str) -> bytes:
        """`key` encrypted and bound to `context`. Raises `ProviderError`."""
        ...

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """What was wrapped for the same `context`.

        Raises `ProviderRejected` where this is not a key that was wrapped so, or may not be had;
        `ProviderUnavailable` where it may be had later.
        """
        ...

    async def aclose(self) -> None: ...
