"""The trigger word reaches the provider as it was trained, however it was typed."""

import pytest

from visiona.generations.model import with_trigger_word


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("TOK on a beach", "TOK on a beach"),
        ("on a beach", "TOK, on a beach"),
        ("tok on a beach, Tok at sea", "TOK on a beach, TOK at sea"),
        ("TOK and tok", "TOK and tok"),
        ("TOKYO at night", "TOK, TOKYO at night"),
        ("a portrait of TOK.", "a portrait of TOK."),
    ],
)
def test_it_is_there_once_as_a_word(prompt: str, sent: str) -> None:
    assert with_trigger_word(prompt, "TOK") == sent
