"""OpenAI: prompts written through the Responses API, and judged by its moderation endpoint."""

from visiona.adapters.openai.moderation import OpenAIModerator
from visiona.adapters.openai.writer import OpenAIPromptWriter

__all__ = ["OpenAIModerator", "OpenAIPromptWriter"]
