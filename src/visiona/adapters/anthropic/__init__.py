"""Anthropic: prompts written through the Messages API."""

from visiona.adapters.anthropic.writer import AnthropicPromptWriter

__all__ = ["AnthropicPromptWriter"]
