"""Sealed values: whatever they are, at their place and for their person only."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiona.vault.model import VERSION, Cipher, Unreadable

KEY = bytes(range(32))
CIPHER = Cipher(7, KEY)
PLACES = st.sampled_from(["runs.prompt", "runs.inputs", "generations.prompt", "users.email"])


@given(PLACES, st.text())
def test_what_is_sealed_opens_again(place: str, text: str) -> None:
    sealed = CIPHER.seal(place, text)
    assert CIPHER.open(place, sealed) == text
    assert CIPHER.open_optional(place, CIPHER.seal_optional(place, text)) == text
    assert sealed[:1] == VERSION
    assert len(sealed) == len(text.encode()) + 29
    assert CIPHER.seal(place, text) != sealed


@given(PLACES, PLACES, st.binary(), st.sampled_from([(7, KEY), (8, KEY), (7, bytes(32))]))
def test_it_opens_at_its_own_place_for_its_own_person_only(
    place: str, elsewhere: str, data: bytes, other: tuple[int, bytes]
) -> None:
    sealed = CIPHER.seal_bytes(place, data)
    if (place, (7, KEY)) == (elsewhere, other):
        assert Cipher(*other).open_bytes(elsewhere, sealed) == data
    else:
        with pytest.raises(Unreadable):
            Cipher(*other).open_bytes(elsewhere, sealed)


@given(st.binary(max_size=100), st.data())
def test_no_bit_can_be_changed_and_nothing_cut_off(data: bytes, draw: st.DataObject) -> None:
    sealed = CIPHER.seal_bytes("runs.prompt", data)
    position = draw.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[position] ^= 1 << draw.draw(st.integers(0, 7))
    for bad in (bytes(changed), sealed[:position], sealed + b"\0"):
        with pytest.raises(Unreadable):
            CIPHER.open_bytes("runs.prompt", bad)


@given(st.text())
def test_nothing_that_is_not_sealed_opens(text: str) -> None:
    with pytest.raises(Unreadable):
        CIPHER.open("runs.prompt", text.encode())


def test_nothing_stays_nothing() -> None:
    assert CIPHER.seal_optional("runs.prompt", None) is None
    assert CIPHER.open_optional("runs.prompt", None) is None


def test_a_key_is_not_shown_copied_or_written_anywhere() -> None:
    """Its bytes are nowhere that a repr, a traceback with locals or a debugger's dump of attributes looks."""
    assert repr(CIPHER) == "Cipher(user_id=7)"
    assert all(KEY not in repr(getattr(CIPHER, name)).encode() for name in CIPHER.__slots__)
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            write(CIPHER)
    with pytest.raises(Unreadable) as failure:
        CIPHER.open("runs.prompt", CIPHER.seal("runs.inputs", "a secret prompt"))
    assert str(failure.value) == "what is kept for runs.prompt cannot be opened"
    assert failure.value.__cause__ is None
