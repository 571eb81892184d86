"""Records in a log on disk, so that a restart finds people, sessions and keys again.

A record is a dict with an `id`, of a kind. Each read gives a copy of its own; `put` makes changes last.
Every action is one line of the log, so that a process that dies over it leaves all of it or nothing; at
the start the log is written anew with what there still is.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec

from visiona.sandbox.clerk.errors import ClerkError

Obj = dict[str, Any]
Key = tuple[str, str]

Field = Literal["user_id", "client_id", "email_address", "external_id"]
"""What records can be looked up by besides their id."""

_FIELDS: Final[tuple[Field, ...]] = get_args(Field)


class _Kept(msgspec.Struct, frozen=True):
    """A record, and its place in the order of creation."""

    sequence: int
    body: msgspec.Raw


class _Entry(msgspec.Struct, array_like=True, frozen=True):
    """How a record is from now on, None where it is gone."""

    kind: str
    id: str
    kept: _Kept | None


class Store:
    """One process at a time may use `root`."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = root / "records.jsonl"
        self._kinds: dict[str, dict[str, _Kept]] = {}
        self._index: dict[tuple[str, Field, str], set[str]] = {}
        self._sequence = 0
        self._before: dict[Key, _Kept | None] | None = None
        for entry in _read(self._path):
            self._set((entry.kind, entry.id), entry.kept)
        self._log = self._path.open("ab")
        self._start_anew()

    def close(self) -> None:
        self._log.close()

    def find(self, kind: str, id: str) -> Obj | None:  # noqa: A002 - as on the wire
        kept = self._kinds.get(kind, {}).get(id)
        return None if kept is None else msgspec.json.decode(kept.body)

    def get(self, kind: str, id: str) -> Obj:  # noqa: A002 - as on the wire
        """A record that must be there. Raises `LookupError` where it is not."""
        found = self.find(kind, id)
        if found is None:
            raise LookupError(f"no {kind} {id}")
        return found

    def all(self, kind: str) -> list[Obj]:
        """Every record of a kind, oldest first."""
        return self._oldest_first(self._kinds.get(kind, {}).values())

    def where(self, kind: str, field: Field, value: str) -> list[Obj]:
        """The records of a kind with this value, oldest first."""
        ids = self._index.get((kind, field, value), set())
        return self._oldest_first(self._kinds[kind][id_] for id_ in ids)

    def counts(self) -> dict[str, int]:
        """How many records there are of each kind."""
        return {kind: len(found) for kind, found in sorted(self._kinds.items()) if found}

    def put(self, kind: str, record: Obj) -> None:
        """Add a record or make its changes last."""
        key = (kind, str(record["id"]))
        old = self._kinds.get(kind, {}).get(key[1])
        if old is None:
            self._sequence += 1
        sequence = self._sequence if old is None else old.sequence
        self._change(key, _Kept(sequence, msgspec.Raw(msgspec.json.encode(record))))

    def delete(self, kind: str, id: str) -> None:  # noqa: A002 - as on the wire
        """Forget a record; one that is not there is no mistake."""
        if id in self._kinds.get(kind, {}):
            self._change((kind, id), None)

    def clear(self) -> None:
        self._kinds.clear()
        self._index.clear()
        self._start_anew()

    @contextmanager
    def atomic(self) -> Generator[None]:
        """All of the block's changes or none; a block within a block belongs to the outer one.

        A `ClerkError` that `keeps` what happened leaves the changes.
        """
        if self._before is not None:
            yield
            return
        before = self._before = {}
        try:
            yield
        except BaseException as error:
            self._before = None
            if isinstance(error, ClerkError) and error.keeps:
                self._write(before)
            else:
                for key, kept in before.items():
                    self._set(key, kept)
            raise
        self._before = None
        self._write(before)

    def _change(self, key: Key, kept: _Kept | None) -> None:
        old = self._kinds.get(key[0], {}).get(key[1])
        self._set(key, kept)
        if self._before is None:
            self._write([key])
        else:
            self._before.setdefault(key, old)

    def _set(self, key: Key, kept: _Kept | None) -> None:
        kind, id_ = key
        records = self._kinds.setdefault(kind, {})
        old = records.pop(id_, None)
        if old is not None:
            for place in _places(kind, old):
                self._index[place].discard(id_)
        if kept is not None:
            records[id_] = kept
            self._sequence = max(self._sequence, kept.sequence)
            for place in _places(kind, kept):
                self._index.setdefault(place, set()).add(id_)

    def _write(self, keys: Iterable[Key]) -> None:
        entries = [_Entry(kind, id_, self._kinds[kind].get(id_)) for kind, id_ in keys]
        if entries:
            self._log.write(msgspec.json.encode(entries) + b"\n")
            self._log.flush()

    def _start_anew(self) -> None:
        """Replace the log by one without what is past."""
        self._log.close()
        entries = [
            _Entry(kind, id_, kept) for kind, found in self._kinds.items() for id_, kept in found.items()
        ]
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(entries) + b"\n")
        fresh.replace(self._path)
        self._log = self._path.open("ab")

    def _oldest_first(self, found: Iterable[_Kept]) -> list[Obj]:
        ordered = sorted(found, key=lambda kept: kept.sequence)
        return [msgspec.json.decode(kept.body) for kept in ordered]


def _read(path: Path) -> list[_Entry]:
    """The entries of a log; the last line may have been cut off."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    decoder = msgspec.json.Decoder(list[_Entry])
    return [entry for line in lines for entry in decoder.decode(line)]


def _places(kind: str, kept: _Kept) -> list[tuple[str, Field, str]]:
    """Where a record stands in the index."""
    record: Obj = msgspec.json.decode(kept.body)
    return [(kind, field, record[field]) for field in _FIELDS if isinstance(record.get(field), str)]
