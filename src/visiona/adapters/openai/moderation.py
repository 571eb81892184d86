"""A moderator on OpenAI's moderation endpoint, which costs nothing and keeps nothing."""

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from visiona.adapters.egress import Destinations, confine
from visiona.adapters.openai.writer import BASE_URL
from visiona.core.guard import forbid_open_transaction
from visiona.ports.moderation import Moderation, ModerationUnavailable

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MODEL: Final = "omni-moderation-latest"


class OpenAIModerator:
    """Implements `ports.moderation.Moderator`. `timeout_s` bounds a whole call, its retry included.

    The SDK is imported, and the client built, off the event loop at the first call (law 10).
    """

    def __init__(self, api_key: str, base_url: str | None = None, timeout_s: float = 6.0) -> None:
        self._api_key = api_key
        self._base_url = base_url or BASE_URL
        self._timeout_s = timeout_s
        self._client: AsyncOpenAI | None = None
        self._building = asyncio.Lock()

    async def prepare(self) -> None:
        """Import the SDK and build the client now; see `SdkPromptWriter.prepare`."""
        await self._connected()

    async def moderate(self, text: str) -> Moderation:
        forbid_open_transaction("moderation")
        client = await self._connected()
        from openai import APIStatusError, OpenAIError  # noqa: PLC0415 - law 10

        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await client.moderations.create(model=MODEL, input=text)
            # The SDK does not check what it receives, and its types know fewer categories than there may be.
            categories = answer.results[0].categories.model_dump(by_alias=True)
            flagged = frozenset(name for name, applies in categories.items() if applies is True)
        except TimeoutError as error:
            raise ModerationUnavailable("timeout") from error
        except APIStatusError as error:
            raise ModerationUnavailable(f"status {error.status_code}") from error
        except OpenAIError as error:
            raise ModerationUnavailable("unreachable") from error
        except (AttributeError, IndexError, TypeError, ValueError, RecursionError) as error:
            raise ModerationUnavailable("unusable answer") from error
        return Moderation(flagged)

    async def aclose(self) -> None:
        """Close the connections; it can be used again after."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connected(self) -> "AsyncOpenAI":
        async with self._building:
            if self._client is None:
                self._client = await asyncio.to_thread(self._build)
                # Where the SDK keeps its HTTP client; one made by us would lose its defaults.
                http = cast("Any", self._client)._client  # noqa: SLF001 - see above
                confine(http, Destinations.of([self._base_url]))
            return self._client

    def _build(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI  # noqa: PLC0415 - half a second of import, paid on first use (law 10)

        client = AsyncOpenAI(
            api_key=self._api_key, base_url=self._base_url, timeout=self._timeout_s, max_retries=1
        )
        _ = client.moderations  # imports what the SDK loads lazily, here and not on the event loop
        return client
