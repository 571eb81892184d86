"""Texts, names, statements and links of consents."""

import uuid

import pytest

from visiona.consents.model import (
    MAX_NAME,
    check_statements,
    checked_name,
    consent_in,
    current_text,
    texts,
    token_of,
)
from visiona.core.errors import Conflict, Invalid, NotFound

SECRET = b"s" * 32


def test_a_text_says_all_that_the_law_asks_for() -> None:
    text = current_text()
    assert [section.title for section in text.sections] == [
        "Whose face",
        "What for",
        "What is kept",
        "How long",
        "With whom",
        "Your rights",
    ]
    assert all(section.paragraphs for section in text.sections)
    assert len(text.confirmations) == 2
    assert "18" in text.confirmations[0]
    assert len(text.sha256) == 32


# People have signed these very bytes: a text that changes is another text, with a date of its own.
@pytest.mark.parametrize(
    ("version", "sha256"),
    [("2026-11-23", "6c9ee021de2e1bd3ef49e7fc7e789d933788d9eadec1d0b6f2e9df561c91d1af")],
)
def test_a_text_that_was_signed_never_changes(version: str, sha256: str) -> None:
    (text,) = [text for text in texts() if text.version == version]
    assert text.sha256.hex() == sha256


def test_every_text_is_held_to_its_bytes() -> None:
    assert [text.version for text in texts()] == ["2026-11-23"]


def test_both_statements_are_needed() -> None:
    version = current_text().version
    check_statements(version=version, adult=True, agreed=True)
    for adult, agreed in ((True, False), (False, True), (False, False)):
        with pytest.raises(Invalid) as refused:
            check_statements(version=version, adult=adult, agreed=agreed)
        assert {error.field for error in refused.value.errors} == {
            name for name, said in (("adult", adult), ("agreed", agreed)) if not said
        }


def test_an_older_text_is_not_signed() -> None:
    with pytest.raises(Conflict, match="text has changed"):
        check_statements(version="2020-01-01", adult=True, agreed=True)


@pytest.mark.parametrize("name", ["", " ", "\n", "x" * (MAX_NAME + 1), "a\x00b", "a\u202eb"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(Invalid):
        checked_name(name)


def test_a_name_is_kept_as_it_is_written() -> None:
    assert checked_name("  Zoë   Ångström-O’Neill ") == "Zoë Ångström-O’Neill"  # noqa: RUF001 - a real apostrophe


def test_a_link_opens_its_own_consent_only() -> None:
    one, other = uuid.uuid4(), uuid.uuid4()
    assert consent_in(token_of(one, SECRET), SECRET) == one
    forged = other.hex + token_of(one, SECRET)[32:]
    for token in (forged, token_of(one, b"t" * 32), token_of(one, SECRET)[:-1], "", "é" * 64, one.hex):
        with pytest.raises(NotFound):
            consent_in(token, SECRET)
