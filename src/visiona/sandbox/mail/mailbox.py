"""Mails on disk, one file each, so that a restart finds them again; the oldest make room for new ones."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from visiona.sandbox.mail.letters import Kept, Letter, read_letter

KEPT: Final = 500


class Mailbox:
    """Everybody's mails. One process at a time may use `root`."""

    def __init__(self, root: Path, *, limit: int = KEPT) -> None:
        self._root = root
        self._limit = limit
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for unfinished in root.glob("*.new"):
            unfinished.unlink()
        decoder = msgspec.json.Decoder(Kept)
        kept = sorted((decoder.decode(path.read_bytes()) for path in root.glob("*.json")), key=_number)
        self._letters = {one.number: read_letter(one) for one in kept}
        self._next = kept[-1].number + 1 if kept else 1

    def add(self, sender: str, recipients: list[str], content: bytes) -> Letter:
        kept = Kept(self._next, datetime.now(UTC), sender, recipients, content)
        self._next += 1
        path = self._path(kept.number)
        unfinished = path.with_suffix(".new")
        unfinished.write_bytes(msgspec.json.encode(kept))
        unfinished.replace(path)
        letter = self._letters[kept.number] = read_letter(kept)
        for number in list(self._letters)[: -self._limit]:
            self._path(number).unlink(missing_ok=True)
            del self._letters[number]
        return letter

    def find(self, number: int) -> Letter | None:
        return self._letters.get(number)

    def to(self, address: str) -> list[Letter]:
        """Those to exactly this address, newest first; to anybody where it is empty."""
        wanted = address.strip().casefold()
        return [
            letter
            for letter in self._newest_first()
            if not wanted or wanted in {one.casefold() for one in letter.kept.recipients}
        ]

    def search(self, part: str) -> list[Letter]:
        """Those to an address that contains this, newest first."""
        wanted = part.strip().casefold()
        return [
            letter
            for letter in self._newest_first()
            if any(wanted in one.casefold() for one in letter.kept.recipients)
        ]

    def __len__(self) -> int:
        return len(self._letters)

    def clear(self) -> None:
        for number in self._letters:
            self._path(number).unlink(missing_ok=True)
        self._letters.clear()

    def _newest_first(self) -> list[Letter]:
        return list(self._letters.values())[::-1]

    def _path(self, number: int) -> Path:
        return self._root / f"{number:08}.json"


def _number(kept: Kept) -> int:
    return kept.number
