"""Objects on disk, one JSON file each, so that a restart finds customers and subscriptions again.

Everything is read once at the start and kept in memory. An object is the same dict for everybody who
gets it, so code that changes one changes it for all at once, and makes it last with `put`.

Within `atomic()` nothing reaches the disk before the block ends, and a block that raises leaves no
trace: objects that were changed or merely handed out in it are as they were before. What a block
changed is first written as one journal, so that a process that dies over it does not leave half of it.
"""

import re
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from visiona.sandbox.stripe.errors import StripeError, missing

Obj = dict[str, Any]
Key = tuple[str, str]

_FILE_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,200}")


class _Kept(msgspec.Struct):
    """An object, and its place in the order of creation (`created` has seconds only)."""

    sequence: int
    object: Obj


class _Entry(msgspec.Struct):
    """A line of the journal: how an object is from now on, None where it is gone."""

    kind: str
    id: str
    kept: _Kept | None


class Store:
    """One process at a time may use `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._journal = root / "journal.json"
        self._kinds: dict[str, dict[str, _Kept]] = {}
        self._sequence = 0
        self._block: _Block | None = None
        self._open()

    def get(self, kind: str, id: str, *, param: str = "id") -> Obj:  # noqa: A002 - as on the wire
        """The object. Raises `StripeError` 404, or 400 where `param` says that a parameter named it.

        A deleted customer, of whom only `{"deleted": true}` is left, is missing here; `find` gives it.
        """
        found = self.find(kind, id)
        if found is None or found.get("deleted"):
            raise missing(kind, id, param=param)
        return found

    def find(self, kind: str, id: str) -> Obj | None:  # noqa: A002 - as on the wire
        kept = self._kinds.get(kind, {}).get(id)
        return None if kept is None else self._handed_out(kept)

    def all(self, kind: str) -> list[Obj]:
        """Every object of a kind, oldest first."""
        return [self._handed_out(kept) for kept in self._kinds.get(kind, {}).values()]

    def each(self, kind: str) -> Iterator[Obj]:
        """Every object of a kind, oldest first, to be looked at only.

        A block does not remember how they were, so this is cheap for many, and what is to be changed is
        fetched with `get`.
        """
        return (kept.object for kept in self._kinds.get(kind, {}).values())

    def kind_of(self, id: str) -> str | None:  # noqa: A002 - as on the wire
        """The kind of the object with this id; None where there is none."""
        return next((kind for kind, kept in self._kinds.items() if id in kept), None)

    def sequence(self, kind: str, id: str) -> int:  # noqa: A002 - as on the wire
        """An object's place in the order of creation. It must be there."""
        return self._kinds[kind][id].sequence

    def count(self, kind: str) -> int:
        return len(self._kinds.get(kind, {}))

    def kinds(self) -> list[str]:
        return sorted(kind for kind, kept in self._kinds.items() if kept)

    def put(self, obj: Obj) -> None:
        """Add an object or make its changes last; its `object` field is its kind.

        Raises `ValueError` for an id that cannot be the name of a file.
        """
        key = (str(obj["object"]), str(obj["id"]))
        if not all(_FILE_NAME.fullmatch(part) for part in key):
            raise ValueError(f"{key[1]!r} is no id that the sandbox could have given")
        kept = self._kinds.setdefault(key[0], {}).get(key[1])
        if self._block is not None:
            self._block.remember(key, kept)
        if kept is None:
            self._sequence += 1
            kept = self._kinds[key[0]][key[1]] = _Kept(self._sequence, obj)
        else:
            kept.object = obj
        self._changed(key)

    def delete(self, kind: str, id: str) -> None:  # noqa: A002 - as on the wire
        """Forget an object; one that is not there is no mistake."""
        kept = self._kinds.get(kind, {}).get(id)
        if kept is None:
            return
        if self._block is not None:
            self._block.remember((kind, id), kept)
        del self._kinds[kind][id]
        self._changed((kind, id))

    def clear(self) -> None:
        """Forget everything, on disk too."""
        shutil.rmtree(self._root)
        self._open()

    @contextmanager
    def atomic(self) -> Generator[None]:
        """All of the block's changes or none; a block within a block belongs to the outer one.

        A `StripeError` with status 402 keeps the changes: the decline that it tells of has happened.
        """
        if self._block is not None:
            yield
            return
        block = self._block = _Block(self._sequence)
        try:
            yield
        except BaseException as error:
            self._block = None
            if isinstance(error, StripeError) and error.status == 402:
                self._write_all(block)
            else:
                self._take_back(block)
            raise
        self._block = None
        self._write_all(block)

    def _handed_out(self, kept: _Kept) -> Obj:
        if self._block is not None:
            self._block.remember((str(kept.object["object"]), str(kept.object["id"])), kept)
        return kept.object

    def _changed(self, key: Key) -> None:
        if self._block is not None:
            self._block.changed[key] = None
        else:
            self._write(_Entry(*key, self._kinds[key[0]].get(key[1])))

    def _write_all(self, block: "_Block") -> None:
        """Keep a block's changes; from the moment its journal is there, they will be made."""
        entries = [_Entry(*key, self._kinds.get(key[0], {}).get(key[1])) for key in block.changed]
        if len(entries) > 1:
            _replace(self._journal, msgspec.json.encode(entries))
        for entry in entries:
            self._write(entry)
        if len(entries) > 1:
            self._journal.unlink()

    def _take_back(self, block: "_Block") -> None:
        for (kind, id_), before in block.before.items():
            if before is None:
                self._kinds[kind].pop(id_, None)
                continue
            kept, encoded = before
            kept.object.clear()
            kept.object.update(msgspec.json.decode(encoded))
            self._kinds[kind][id_] = kept
        for kind in {kind for kind, _ in block.changed}:
            ordered = sorted(self._kinds[kind].items(), key=lambda item: item[1].sequence)
            self._kinds[kind] = dict(ordered)
        self._sequence = block.sequence

    def _open(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._journal.exists():
            for entry in msgspec.json.decode(self._journal.read_bytes(), type=list[_Entry]):
                self._write(entry)
            self._journal.unlink()
        decoder = msgspec.json.Decoder(_Kept)
        found: list[_Kept] = []
        for folder in (path for path in self._root.iterdir() if path.is_dir()):
            for unfinished in folder.glob("*.new"):
                unfinished.unlink()
            found.extend(decoder.decode(path.read_bytes()) for path in folder.glob("*.json"))
        found.sort(key=lambda kept: kept.sequence)
        self._kinds = {}
        for kept in found:
            self._kinds.setdefault(str(kept.object["object"]), {})[str(kept.object["id"])] = kept
        self._sequence = found[-1].sequence if found else 0

    def _write(self, entry: _Entry) -> None:
        path = self._root / entry.kind / f"{entry.id}.json"
        if entry.kept is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            _replace(path, msgspec.json.encode(entry.kept))


class _Block:
    """What an atomic block has touched: how it was before, and what has to be written."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.before: dict[Key, tuple[_Kept, bytes] | None] = {}
        self.changed: dict[Key, None] = {}

    def remember(self, key: Key, kept: _Kept | None) -> None:
        if key not in self.before:
            self.before[key] = None if kept is None else (kept, msgspec.json.encode(kept.object))


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    temporary.replace(path)
