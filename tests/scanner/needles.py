"""Finding thousands of words in gigabytes, in one pass."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import numpy as np
from tests.factories.canaries import disguises, disguises_of_bytes

_SHORTEST: Final = 8
_MIX: Final = np.uint32(2654435761)
_SHIFT: Final = np.uint32(12)
_SLOTS: Final = 1 << 20


class Needles:
    """`words` are texts and pieces of files, by their names; each is looked for in every disguise but
    those `without`.
    """

    def __init__(self, words: Mapping[str, str | bytes], without: frozenset[str] = frozenset()) -> None:
        self._by_beginning: defaultdict[bytes, list[tuple[bytes, str, str]]] = defaultdict(list)
        self.longest = 0
        for name, word in words.items():
            assert len(word) >= 2 * _SHORTEST, f"{name} is too short not to be found by chance"
            for form, written in forms_of(word).items():
                needle = written.lower()
                if form not in without:
                    self._by_beginning[needle[:_SHORTEST]].append((needle, name, form))
                    self.longest = max(self.longest, len(needle))
        # The first four bytes of a needle, and the next four, mark a slot each: what is in both is looked at.
        self._first, self._second = (np.zeros(_SLOTS, bool) for _ in range(2))
        for beginning in self._by_beginning:
            first, second = _slots(np.frombuffer(beginning, "<u4"))
            self._first[first] = self._second[second] = True

    def found(self, data: bytes) -> set[tuple[str, str]]:
        """Names, and in which disguise; whatever the case of letters."""
        text = data.lower()
        found: set[tuple[str, str]] = set()
        for shift in range(4):
            count = (len(text) - shift) // 4
            if count < 2:
                continue
            slots = _slots(np.frombuffer(text, "<u4", count, shift))
            (hits,) = np.nonzero(self._first[slots[:-1]] & self._second[slots[1:]])
            for hit in hits.tolist():
                start = hit * 4 + shift
                for needle, name, form in self._by_beginning.get(text[start : start + _SHORTEST], ()):
                    if text.startswith(needle, start):
                        found.add((name, form))
        return found


def forms_of(word: str | bytes) -> dict[str, bytes]:
    """How a word, or a piece of a file, may be written."""
    if isinstance(word, bytes):
        return disguises_of_bytes(word)
    return disguises(word) | {
        "utf-16 the other way round": word.encode("utf-16-be"),
        "of an address, all escaped": "".join(f"%{byte:02x}" for byte in word.encode()).encode(),
        "json, all escaped": "".join(f"\\u{ord(letter):04x}" for letter in word).encode(),
    }


def _slots(words: np.ndarray) -> np.ndarray:
    return (words * _MIX) >> _SHIFT
