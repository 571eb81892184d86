"""OpenAI: prompts written through the Responses API."""

from visiona.adapters.openai.writer import OpenAIPromptWriter

__all__ = ["OpenAIPromptWriter"]
