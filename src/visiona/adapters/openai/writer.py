"""A prompt writer on OpenAI's Responses API."""

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
    from openai import APIStatusError, AsyncOpenAI
    from openai.types.responses import Response

_BASE_URL: Final = "https://api.openai.com/v1"
_DECLINED_CODES: Final = {"content_filter", "content_policy_violation", "invalid_prompt"}


class OpenAIPromptWriter:
    """Implements `ports.enhancer.PromptWriter`. `timeout_s` bounds a whole call, its retry included.

    Nothing is stored at OpenAI (`store=False`), and the SDK is imported and the client built off the
    event loop at the first call.
    """

    name = "openai"

    def __init__(
        self, api_key: str, model: str = "gpt-6-luna", base_url: str | None = None, timeout_s: float = 10.0
    ) -> None:
        self._api_key = api_key
        self._model = model
        self._base_url = base_url or _BASE_URL  # always given: the SDK would read it from the environment
        self._timeout_s = timeout_s
        self._client: AsyncOpenAI | None = None
        self._building = asyncio.Lock()

    async def prepare(self) -> None:
        """Import the SDK and build the client now, so that no first call spends its time on it.

        Optional: a process that lives long does so in the background, a short-lived one never.
        """
        await self._connected()

    async def write(self, request: EnhancementRequest) -> str:
        forbid_open_transaction("OpenAI")
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._respond(request)
        except TimeoutError as error:
            raise EnhancementFailed(self.name, "timeout") from error
        return self._read(response)

    async def aclose(self) -> None:
        """Close the connections; the writer can be used again after."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _respond(self, request: EnhancementRequest) -> object:
        client = await self._connected()
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError  # noqa: PLC0415 - law 10

        try:
            return await client.responses.create(
                model=self._model,
                instructions=INSTRUCTIONS,
                input=user_message(request),
                max_output_tokens=MAX_OUTPUT_TOKENS,
                reasoning={"effort": "none"},
                text={
                    "format": {
                        "type": "json_schema",
                        "name": "image_prompt",
                        "strict": True,
                        "schema": ANSWER_SCHEMA,
                    }
                },
                safety_identifier=request.user_ref,
                store=False,
            )
        except APITimeoutError as error:
            raise EnhancementFailed(self.name, "timeout") from error
        except APIConnectionError as error:
            raise EnhancementFailed(self.name, "unavailable") from error
        except APIStatusError as error:
            raise self._failed(error) from error
        except (OpenAIError, ValueError, RecursionError) as error:  # announced as JSON, and it is not
            raise EnhancementFailed(self.name, "unusable") from error

    async def _connected(self) -> "AsyncOpenAI":
        async with self._building:
            if self._client is None:
                self._client = await asyncio.to_thread(self._build)
            return self._client

    def _build(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI  # noqa: PLC0415 - half a second of import, paid on first use (law 10)

        client = AsyncOpenAI(
            api_key=self._api_key, base_url=self._base_url, timeout=self._timeout_s, max_retries=1
        )
        _ = client.responses  # imports what the SDK loads lazily, here and not on the event loop
        return client

    def _failed(self, error: "APIStatusError") -> EnhancementFailed:
        if error.status_code in {408, 504}:
            return EnhancementFailed(self.name, "timeout")
        if error.code in _DECLINED_CODES:
            return EnhancementFailed(self.name, "refused")
        transient = error.status_code >= 500 or error.status_code in {409, 429}
        if transient and error.code != "insufficient_quota":
            return EnhancementFailed(self.name, "unavailable")
        return EnhancementFailed(self.name, "rejected")

    def _read(self, response: object) -> str:
        try:
            return self._prompt_in(response)
        except (UnusableAnswerError, AttributeError, TypeError) as error:
            # The SDK does not check what it receives: an answer of another shape shows up here.
            raise EnhancementFailed(self.name, "unusable") from error

    def _prompt_in(self, response: object) -> str:
        from openai.types.responses import Response  # noqa: PLC0415 - law 10; loaded by now

        if not isinstance(response, Response):  # text, where the content type was not JSON
            raise UnusableAnswerError("the answer is not a response object")
        if _declined(response):
            raise EnhancementFailed(self.name, "refused")
        if response.status != "completed":
            raise UnusableAnswerError("the answer is not complete")
        return read_answer(response.output_text)


def _declined(response: "Response") -> bool:
    details = response.incomplete_details
    if details is not None and details.reason == "content_filter":
        return True
    return any(
        part.type == "refusal" for item in response.output if item.type == "message" for part in item.content
    )
