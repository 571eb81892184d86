"""What one person's key can do. Pure: nothing here is read from anywhere."""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from visiona.vault.stream import ReadRange, Unreadable, open_pieces, open_range, plain_size, seal_pieces

__all__ = ["KEY_BYTES", "VERSION", "Cipher", "KeyDestroyed", "KeyMissing", "Survey", "Unreadable", "new_key"]

KEY_BYTES = 32
VERSION = b"\xf8"
"""The first byte of every sealed value; no text in UTF-8 begins with it."""

_NONCE_BYTES = 12


class KeyMissing(Exception):
    """There is no key of this person, though there should be."""


class KeyDestroyed(Exception):
    """The key of this person was destroyed: nothing that it sealed can be read, nor can it be made anew."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in the key store: all is well where only `wrapped_by` and `destroyed` have anything to tell."""

    wrapped_by: Mapping[str, int]
    """How many keys each master key has wrapped, by its name."""
    destroyed: frozenset[int]
    """The people whose keys were destroyed."""
    in_one_place: frozenset[str]
    """Keys and tombstones that the store or the mirror lacks."""
    left_over: frozenset[str]
    """Keys that are there although they were destroyed."""
    different: frozenset[str]
    """Keys that are not the same in the store and in the mirror."""

    @property
    def sound(self) -> bool:
        return not (self.in_one_place or self.left_over or self.different)


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


class Cipher:
    """One person's key, in memory.

    A value is bound to its `place` and to the person: moved to another column, table, object or owner it
    does not open. Values and objects are sealed with keys of their own, derived from the person's.
    """

    __slots__ = ("__weakref__", "_objects", "_user_id", "_values")

    def __init__(self, user_id: int, key: bytes) -> None:
        self._user_id = user_id
        self._values = AESGCM(_derived(key, b"visiona values"))
        self._objects = _derived(key, b"visiona objects")

    @property
    def user_id(self) -> int:
        return self._user_id

    def __repr__(self) -> str:
        return f"Cipher(user_id={self._user_id})"

    def __reduce__(self) -> str:
        raise TypeError("a key is not written anywhere")

    def seal(self, place: str, text: str) -> bytes:
        """`place` names the table and the column: `runs.prompt`."""
        return self.seal_bytes(place, text.encode())

    def open(self, place: str, sealed: bytes) -> str:
        """Raises `Unreadable`."""
        return self.open_bytes(place, sealed).decode()

    def seal_optional(self, place: str, text: str | None) -> bytes | None:
        return None if text is None else self.seal(place, text)

    def open_optional(self, place: str, sealed: bytes | None) -> str | None:
        """Raises `Unreadable`."""
        return None if sealed is None else self.open(place, sealed)

    def seal_bytes(self, place: str, data: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return VERSION + nonce + self._values.encrypt(nonce, data, self._about(place))

    def open_bytes(self, place: str, sealed: bytes) -> bytes:
        """Raises `Unreadable`."""
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != VERSION or len(nonce) != _NONCE_BYTES:
            raise Unreadable(place)
        try:
            return self._values.decrypt(nonce, rest, self._about(place))
        except InvalidTag:
            raise Unreadable(place) from None

    def seal_file(self, place: str, source: Path, target: Path) -> None:
        """Seal what is in `source` into `target`, at flat memory; `place` is the object's key. Blocking."""
        with source.open("rb") as plain, target.open("wb") as sealed:
            for piece in seal_pieces(self._objects, self._user_id, place, plain):
                sealed.write(piece)

    def open_file(self, place: str, source: Path, target: Path) -> None:
        """The reverse. Nothing is left at `target` unless all of it is as it was sealed. Blocking.

        Raises `Unreadable`.
        """
        try:
            with source.open("rb") as sealed, target.open("wb") as plain:
                for piece in open_pieces(self._objects, self._user_id, place, sealed):
                    plain.write(piece)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def open_object(
        self, place: str, read: ReadRange, sealed_size: int, byte_range: tuple[int, int] | None = None
    ) -> AsyncIterator[bytes]:
        """The plain bytes of a stored object, or of the half-open range of them, as they are read.

        `read` fetches ranges of what is stored, which has `sealed_size` bytes; only the segments that
        hold the range are asked for. The pieces raise `Unreadable`.
        """
        whole = (0, max(1, sealed_size))
        return open_range(self._objects, self._user_id, place, read, sealed_size, byte_range or whole)

    @staticmethod
    def plain_size(sealed_size: int) -> int:
        """How many bytes a stored object of `sealed_size` holds. Raises `ValueError`."""
        return plain_size(sealed_size)

    def _about(self, place: str) -> bytes:
        return f"{place}\0{self._user_id}".encode()


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, None, purpose).derive(key)
