"""Records in a database file, so that a restart finds people, sessions and keys again.

A record is a dict with an `id`, of a kind. Each read gives a copy of its own; `put` makes changes last.
"""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from visiona.sandbox.clerk.errors import ClerkError

Obj = dict[str, Any]

Field = Literal["user_id", "client_id", "email_address", "external_id"]
"""What records can be looked up by besides their id."""

_SCHEMA: Final = """
create table if not exists records (
    sequence integer primary key, kind text not null, id text not null, body text not null,
    unique (kind, id)
);
create index if not exists records_user_id on records (kind, json_extract(body, '$.user_id'));
create index if not exists records_client_id on records (kind, json_extract(body, '$.client_id'));
create index if not exists records_email_address on records (kind, json_extract(body, '$.email_address'));
create index if not exists records_external_id on records (kind, json_extract(body, '$.external_id'));
"""


class Store:
    """One process at a time may use `root`."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = sqlite3.connect(
            root / "records.sqlite3", isolation_level=None, check_same_thread=False
        )
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = normal")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        self._database.close()

    def find(self, kind: str, id: str) -> Obj | None:  # noqa: A002 - as on the wire
        found = self._read("select body from records where kind = ? and id = ?", kind, id)
        return found[0] if found else None

    def get(self, kind: str, id: str) -> Obj:  # noqa: A002 - as on the wire
        """A record that must be there. Raises `LookupError` where it is not."""
        found = self.find(kind, id)
        if found is None:
            raise LookupError(f"no {kind} {id}")
        return found

    def all(self, kind: str) -> list[Obj]:
        """Every record of a kind, oldest first."""
        return self._read("select body from records where kind = ? order by sequence", kind)

    def where(self, kind: str, field: Field, value: str) -> list[Obj]:
        """The records of a kind with this value, oldest first."""
        query = (
            f"select body from records where kind = ? and json_extract(body, '$.{field}') = ? "
            "order by sequence"
        )
        return self._read(query, kind, value)

    def counts(self) -> dict[str, int]:
        """How many records there are of each kind."""
        rows = self._database.execute("select kind, count(*) from records group by kind order by kind")
        return {str(kind): int(count) for kind, count in rows}

    def put(self, kind: str, record: Obj) -> None:
        """Add a record or make its changes last."""
        self._database.execute(
            "insert into records (kind, id, body) values (?, ?, ?) "
            "on conflict (kind, id) do update set body = excluded.body",
            (kind, record["id"], msgspec.json.encode(record).decode()),
        )

    def delete(self, kind: str, id: str) -> None:  # noqa: A002 - as on the wire
        """Forget a record; one that is not there is no mistake."""
        self._database.execute("delete from records where kind = ? and id = ?", (kind, id))

    def clear(self) -> None:
        self._database.execute("delete from records")

    @contextmanager
    def atomic(self) -> Generator[None]:
        """All of the block's changes or none; a block within a block belongs to the outer one."""
        if self._database.in_transaction:
            yield
            return
        self._database.execute("begin immediate")
        try:
            yield
        except BaseException as error:
            keeps = isinstance(error, ClerkError) and error.keeps
            self._database.execute("commit" if keeps else "rollback")
            raise
        self._database.execute("commit")

    def _read(self, query: str, *values: str) -> list[Obj]:
        rows: list[tuple[str]] = self._database.execute(query, values).fetchall()
        return [msgspec.json.decode(body) for (body,) in rows]
