"""A rewriter that fills in what an image prompt leaves open, without a language model.

It reads what the person already said (place, part, hour, weather, medium, framing, light, clothes),
keeps every word of it, and adds only what is missing and fits: a beach at night gets a lantern and
no sun, a watercolor gets washes and no lens. The same prompt always gives the same text.
"""

from visiona.sandbox.llm.rewriter.compose import rewrite

__all__ = ["rewrite"]
