"""A local stand-in for OpenAI's and Anthropic's text APIs.

It speaks both protocols as documented, refuses what they refuse, fails on request, and rewrites
image prompts without a model. It never runs in production, and its answers say where they come from.
"""

from visiona.sandbox.llm.app import LlmSandboxConfig, create_app

__all__ = ["LlmSandboxConfig", "create_app"]
