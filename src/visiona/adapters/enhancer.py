"""The enhancer that the application uses: one provider after the other, in bounded time.

Any failure ends in the person's own prompt, so nothing here is worth waiting long for. An SDK may
sleep through a `Retry-After` of minutes: the deadline is therefore kept here, by cancelling, and
not left to the client's own timeouts.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Literal

from visiona.adapters.prompt_brief import UnusableAnswerError
from visiona.adapters.prompt_text import usable_prompt
from visiona.ports.enhancer import Enhancement, EnhancementFailed, EnhancementRequest, PromptWriter

_log = logging.getLogger(__name__)

_LEVELS: dict[str, int] = {"rejected": logging.ERROR, "refused": logging.INFO}
"""`rejected` (a wrong key, no credit, an unknown model) stays so until the operator acts."""


class FallbackEnhancer:
    """Implements `ports.enhancer.Enhancer` over writers in the order of preference.

    A refusal ends the asking: a prompt that one model declined is not taken round to the others.
    Every other failure moves on to the next writer while there is time. Logs carry the provider and
    the reason, never a prompt.
    """

    def __init__(
        self, writers: Sequence[PromptWriter], deadline_s: float = 15.0, per_writer_s: float = 8.0
    ) -> None:
        self._writers = tuple(writers)
        self._deadline_s = deadline_s
        self._per_writer_s = per_writer_s

    async def enhance(self, request: EnhancementRequest) -> Enhancement:
        if not self._writers:
            return Enhancement("off")
        clock = asyncio.get_running_loop().time
        end = clock() + self._deadline_s
        for writer in self._writers:
            allowance = min(self._per_writer_s, end - clock())
            if allowance <= 0:
                _log.warning("prompt enhancement: no time left to ask %s", writer.name)
                break
            try:
                text = await _ask(writer, request, allowance)
            except EnhancementFailed as failure:
                _log.log(_LEVELS.get(failure.reason, logging.WARNING), "prompt enhancement: %s", failure)
                if failure.reason == "refused":
                    return Enhancement("refused", writer.name)
            else:
                return Enhancement("enhanced", writer.name, text)
        return Enhancement("unavailable")


async def _ask(writer: PromptWriter, request: EnhancementRequest, allowance: float) -> str:
    try:
        async with asyncio.timeout(allowance):
            answer = await writer.write(request)
    except TimeoutError:
        raise _failed(writer, "timeout") from None
    try:
        return usable_prompt(answer, request.trigger_word)
    except UnusableAnswerError:
        raise _failed(writer, "unusable") from None


def _failed(writer: PromptWriter, reason: Literal["timeout", "unusable"]) -> EnhancementFailed:
    return EnhancementFailed(writer.name, reason)
