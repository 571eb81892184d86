"""A prompt writer on Anthropic's Messages API."""

from typing import TYPE_CHECKING, Final

from visiona.adapters.prompt_brief import (
    ANSWER_SCHEMA,
    INSTRUCTIONS,
    MAX_OUTPUT_TOKENS,
    UnusableAnswerError,
    read_answer,
    user_message,
)
from visiona.adapters.sdk_writer import SdkPromptWriter
from visiona.ports.enhancer import EnhancementFailed, EnhancementRequest

if TYPE_CHECKING:
    from anthropic import APIStatusError, AsyncAnthropic

_BASE_URL: Final = "https://api.anthropic.com"


class AnthropicPromptWriter(SdkPromptWriter["AsyncAnthropic"]):
    """The SDK waits as long as a `Retry-After` says, so the bound on a call is kept around it."""

    name = "anthropic"

    def __init__(
        self,
        api_key: str,
        model: str = "claude-haiku-5-5",
        base_url: str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        super().__init__(api_key, model, base_url or _BASE_URL, timeout_s)

    async def _ask(self, client: "AsyncAnthropic", request: EnhancementRequest) -> object:
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

    def _prompt_in(self, answer: object) -> str:
        from anthropic.types import Message  # noqa: PLC0415 - law 10; loaded by now

        if not isinstance(answer, Message):  # text, where the content type was not JSON
            raise UnusableAnswerError("the answer is not a message")
        if answer.stop_reason == "refusal":
            raise EnhancementFailed(self.name, "refused")
        if answer.stop_reason != "end_turn":
            raise UnusableAnswerError("the answer is not complete")
        # By type and not by place: a thinking block can come first.
        return read_answer("".join(block.text for block in answer.content if block.type == "text"))
