"""A prompt writer on Anthropic's Messages API."""

import asyncio
from typing import TYPE_CHECKING, Final

from visiona.adapters.prompt_brief import (
    ANSWER_SCHEMA,
    INSTRUCTIONS,
    MAX_OUTPUT_TOKENS,
    UnusableAnswerError,
    read_answer,
    user_message,
)
from visiona.core.guard import forbid_open_transaction
from visiona.ports.enhancer import EnhancementFailed, EnhancementRequest

if TYPE_CHECKING:
    from anthropic import APIStatusError, AsyncAnthropic

_BASE_URL: Final = "https://api.anthropic.com"


class AnthropicPromptWriter:
    """Implements `ports.enhancer.PromptWriter`. `timeout_s` bounds a whole call, its retry included.

    The SDK waits as long as a `Retry-After` says, so the bound is kept here. It is imported, and the
    client built, off the event loop at the first call.
    """

    name = "anthropic"

    def __init__(
        self,
        api_key: str,
        model: str = "claude-haiku-5-5",
        base_url: str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._api_key = api_key
        self._model = model
        self._base_url = base_url or _BASE_URL  # always given: the SDK would read it from the environment
        self._timeout_s = timeout_s
        self._client: AsyncAnthropic | None = None
        self._building = asyncio.Lock()

    async def prepare(self) -> None:
        """Import the SDK and build the client now, so that no first call spends its time on it.

        Optional: a process that lives long does so in the background, a short-lived one never.
        """
        await self._connected()

    async def write(self, request: EnhancementRequest) -> str:
        forbid_open_transaction("Anthropic")
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await self._message(request)
        except TimeoutError as error:
            raise EnhancementFailed(self.name, "timeout") from error
        return self._read(message)

    async def aclose(self) -> None:
        """Close the connections; the writer can be used again after."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _message(self, request: EnhancementRequest) -> object:
        client = await self._connected()
        from anthropic import AnthropicError, APIConnectionError, APIStatusError, APITimeoutError  # noqa: PLC0415 - law 10

        try:
            return await client.messages.create(
                model=self._model,
                max_tokens=MAX_OUTPUT_TOKENS,
                system=INSTRUCTIONS,
                messages=[{"role": "user", "content": user_message(request)}],
                thinking={"type": "disabled"},
                output_config={"format": {"type": "json_schema", "schema": ANSWER_SCHEMA}},
                metadata={"user_id": request.user_ref},
            )
        except APITimeoutError as error:
            raise EnhancementFailed(self.name, "timeout") from error
        except APIConnectionError as error:
            raise EnhancementFailed(self.name, "unavailable") from error
        except APIStatusError as error:
            raise self._failed(error) from error
        except (AnthropicError, ValueError, RecursionError) as error:  # announced as JSON, and it is not
            raise EnhancementFailed(self.name, "unusable") from error

    async def _connected(self) -> "AsyncAnthropic":
        async with self._building:
            if self._client is None:
                self._client = await asyncio.to_thread(self._build)
            return self._client

    def _build(self) -> "AsyncAnthropic":
        from anthropic import AsyncAnthropic  # noqa: PLC0415 - a second of import, paid on first use (law 10)

        return AsyncAnthropic(
            api_key=self._api_key, base_url=self._base_url, timeout=self._timeout_s, max_retries=1
        )

    def _failed(self, error: "APIStatusError") -> EnhancementFailed:
        if error.status_code in {408, 504}:
            return EnhancementFailed(self.name, "timeout")
        if error.status_code >= 500 or error.status_code in {409, 429}:
            return EnhancementFailed(self.name, "unavailable")
        return EnhancementFailed(self.name, "rejected")

    def _read(self, message: object) -> str:
        try:
            return self._prompt_in(message)
        except (UnusableAnswerError, AttributeError, TypeError) as error:
            # The SDK does not check what it receives: an answer of another shape shows up here.
            raise EnhancementFailed(self.name, "unusable") from error

    def _prompt_in(self, message: object) -> str:
        from anthropic.types import Message  # noqa: PLC0415 - law 10; loaded by now

        if not isinstance(message, Message):  # text, where the content type was not JSON
            raise UnusableAnswerError("the answer is not a message")
        if message.stop_reason == "refusal":
            raise EnhancementFailed(self.name, "refused")
        if message.stop_reason != "end_turn":
            raise UnusableAnswerError("the answer is not complete")
        # By type and not by place: a thinking block can come first.
        return read_answer("".join(block.text for block in message.content if block.type == "text"))
