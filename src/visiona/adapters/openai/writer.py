"""A prompt writer on OpenAI's Responses API."""

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
    from openai import APIStatusError, AsyncOpenAI
    from openai.types.responses import Response

BASE_URL: Final = "https://api.openai.com/v1"
_DECLINED_CODES: Final = {"content_filter", "content_policy_violation", "invalid_prompt"}


class OpenAIPromptWriter(SdkPromptWriter["AsyncOpenAI"]):
    """Nothing is stored at OpenAI: `store=False`."""

    name = "openai"

    def __init__(
        self, api_key: str, model: str = "gpt-6-luna", base_url: str | None = None, timeout_s: float = 10.0
    ) -> None:
        super().__init__(api_key, model, base_url or BASE_URL, timeout_s)

    async def _ask(self, client: "AsyncOpenAI", request: EnhancementRequest) -> object:
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

    def _prompt_in(self, answer: object) -> str:
        from openai.types.responses import Response  # noqa: PLC0415 - law 10; loaded by now

        if not isinstance(answer, Response):  # text, where the content type was not JSON
            raise UnusableAnswerError("the answer is not a response object")
        if _declined(answer):
            raise EnhancementFailed(self.name, "refused")
        if answer.status != "completed":
            raise UnusableAnswerError("the answer is not complete")
        return read_answer(answer.output_text)


def _declined(response: "Response") -> bool:
    details = response.incomplete_details
    if details is not None and details.reason == "content_filter":
        return True
    return any(
        part.type == "refusal" for item in response.output if item.type == "message" for part in item.content
    )
