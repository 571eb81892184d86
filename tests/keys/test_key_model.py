"""What a key looks like, and what may be asked for."""

import re

import pytest

from visiona.core.errors import Invalid
from visiona.keys.model import (
    Scope,
    is_token,
    known_scopes,
    new_token,
    requested_key,
    token_hash,
    token_prefix,
)


def test_a_key_has_the_form_that_scanners_look_for() -> None:
    tokens = {new_token() for _ in range(200)}
    assert len(tokens) == 200
    for token in tokens:
        assert re.fullmatch(r"vsk_[0-9A-Za-z]{22}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", token)
        assert is_token(token)
        assert re.fullmatch(r"vsk_[0-9A-Za-z]{22}", token_prefix(token))
        assert token.startswith(token_prefix(token))
    assert len({token_prefix(token) for token in tokens}) == 200
    assert len({token_hash(token) for token in tokens}) == 200


def test_the_secret_uses_the_whole_alphabet_evenly() -> None:
    """43 characters of 62 carry 256 bits if all are as likely: none is rare, none is everywhere."""
    text = "".join(new_token()[27:70] for _ in range(1000))
    counts = [text.count(character) for character in set(text)]
    assert len(counts) == 62
    assert min(counts) > 500
    assert max(counts) < 900


def test_a_key_that_was_mistyped_or_cut_off_is_none() -> None:
    token = new_token()
    for position in range(4, len(token)):
        if token[position] != "_":
            other = "x" if token[position] != "x" else "y"
            assert not is_token(token[:position] + other + token[position + 1 :])
    for changed in (
        token[:-1],
        token + "a",
        token.upper(),
        " " + token,
        token + "\n",
        token.replace("_", "-"),
    ):
        assert not is_token(changed)
    assert not is_token("")
    assert not is_token("vsk_" + "ä" * 73)


def test_what_may_be_asked_for() -> None:
    wanted = requested_key(
        "  My \t program ", [Scope.IMAGES_WRITE, Scope.PHOTOS_READ, Scope.IMAGES_WRITE], 365
    )
    assert wanted.name == "My program"
    assert wanted.scopes == (Scope.PHOTOS_READ, Scope.IMAGES_WRITE)
    assert wanted.lifetime.days == 365
    assert requested_key("x" * 60, Scope, 1).scopes == tuple(Scope)


@pytest.mark.parametrize(
    ("name", "scopes", "days", "field", "code"),
    [
        (" \n ", [Scope.PHOTOS_READ], 90, "name", "required"),
        ("x" * 61, [Scope.PHOTOS_READ], 90, "name", "too_long"),
        ("a\x1b[31m", [Scope.PHOTOS_READ], 90, "name", "invalid_characters"),
        ("\ud800", [Scope.PHOTOS_READ], 90, "name", "invalid_characters"),
        ("name", [], 90, "scopes", "required"),
        ("name", [Scope.PHOTOS_READ], 0, "expires_in_days", "out_of_range"),
        ("name", [Scope.PHOTOS_READ], 366, "expires_in_days", "out_of_range"),
        ("name", [Scope.PHOTOS_READ], -(10**30), "expires_in_days", "out_of_range"),
    ],
)
def test_what_may_not_be_asked_for(name: str, scopes: list[Scope], days: int, field: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        requested_key(name, scopes, days)
    assert [(error.field, error.code) for error in caught.value.errors] == [(field, code)]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        requested_key("", [], 0)
    assert [error.field for error in caught.value.errors] == ["name", "scopes", "expires_in_days"]


def test_a_scope_of_a_later_release_opens_nothing() -> None:
    assert known_scopes(["images:read", "everything:write", "photos:read"]) == (
        Scope.PHOTOS_READ,
        Scope.IMAGES_READ,
    )
