"""What prompt writers on an official SDK have in common: loading it late, bounding it, reading it warily."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any, Generic, Protocol, TypeVar, cast

from visiona.adapters.egress import Destinations, confine
from visiona.adapters.prompt_brief import UnusableAnswerError
from visiona.core.guard import forbid_open_transaction
from visiona.ports.enhancer import EnhancementFailed, EnhancementRequest


class _Closable(Protocol):
    def close(self) -> Awaitable[None]: ...


ClientT = TypeVar("ClientT", bound=_Closable)


class SdkPromptWriter(ABC, Generic[ClientT]):
    """Implements `ports.enhancer.PromptWriter`. `timeout_s` bounds a whole call, its retry included.

    The SDK is imported, and the client built, off the event loop at the first call (law 10).
    """

    name: str

    def __init__(self, api_key: str, model: str, base_url: str, timeout_s: float) -> None:
        self._api_key = api_key
        self._model = model
        self._base_url = base_url  # always given: the SDK would read it from the environment
        self._timeout_s = timeout_s
        self._client: ClientT | None = None
        self._building = asyncio.Lock()

    async def prepare(self) -> None:
        """Import the SDK and build the client now, so that no first call spends its time on it.

        Optional: a process that lives long does so in the background, a short-lived one never.
        """
        await self._connected()

    async def write(self, request: EnhancementRequest) -> str:
        forbid_open_transaction(self.name)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._ask(await self._connected(), request)
        except TimeoutError as error:
            raise EnhancementFailed(self.name, "timeout") from error
        try:
            return self._prompt_in(answer)
        except (UnusableAnswerError, AttributeError, TypeError) as error:
            # The SDK does not check what it receives: an answer of another shape shows up here.
            raise EnhancementFailed(self.name, "unusable") from error

    async def aclose(self) -> None:
        """Close the connections; the writer can be used again after."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connected(self) -> ClientT:
        async with self._building:
            if self._client is None:
                self._client = await asyncio.to_thread(self._build)
                # Where the SDK keeps its HTTP client; one made by us would lose its defaults.
                http = cast("Any", self._client)._client  # noqa: SLF001 - see above
                confine(http, Destinations.of([self._base_url]))
            return self._client

    @abstractmethod
    def _build(self) -> ClientT:
        """The SDK's client; runs in a thread."""

    @abstractmethod
    async def _ask(self, client: ClientT, request: EnhancementRequest) -> object:
        """The SDK's answer. Raises `EnhancementFailed` for each of the SDK's errors."""

    @abstractmethod
    def _prompt_in(self, answer: object) -> str:
        """The prompt in an answer. Raises `EnhancementFailed` (`refused`) or `UnusableAnswerError`."""
