"""Words that nothing else says, and finding them wherever they may have got to, in any common disguise."""

import base64
import secrets
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

import psycopg
from psycopg import sql


def canary(kind: str) -> str:
    """A word of letters and digits; no two are the same."""
    return f"{kind}{secrets.token_hex(8)}"


def disguises(word: str) -> dict[str, bytes]:
    """How it may be written: as it is, and as programs write it elsewhere."""
    wide = word.encode("utf-16-le")
    return disguises_of_bytes(word.encode()) | {
        "utf-16": wide,
        "utf-16 in hex": wide.hex().encode(),
        "of an address": quote(word, safe="").encode(),
    }


def disguises_of_bytes(plain: bytes) -> dict[str, bytes]:
    """How a piece of a file may be written."""
    forms = {"raw": plain, "hex": plain.hex().encode()}
    for shift in range(3):  # in base64 it depends on how many bytes come before
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            padded = encode(b"\0" * shift + plain)
            # What the bytes beside it have a part in is left out.
            whole = padded[(0, 2, 3)[shift] : 4 * ((shift + len(plain)) // 3)]
            forms[f"{name} +{shift}"] = whole
    return forms


class Watch:
    """`words` are canaries by what they are."""

    def __init__(self, words: Mapping[str, str]) -> None:
        assert all(len(word) >= 10 for word in words.values()), "too short not to be found by chance"
        self._forms = {
            f"{name} ({form})": needle.lower()
            for name, word in words.items()
            for form, needle in disguises(word).items()
        }

    def found(self, data: bytes) -> set[str]:
        """Which are there, and how they are written; whatever the case of their letters."""
        text = data.lower()
        return {name for name, needle in self._forms.items() if needle in text}

    def found_among(self, places: Iterable[tuple[str, bytes]]) -> set[tuple[str, str]]:
        return {(place, name) for place, data in places for name in self.found(data)}


def columns_of(connection: psycopg.Connection) -> Iterator[tuple[str, bytes]]:
    """Every value of every table that is not PostgreSQL's own, as bytes, by its column."""
    columns = connection.execute(
        """select n.nspname, c.relname, a.attname, a.atttypid = 'bytea'::regtype
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           where c.relkind in ('r', 'm', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"""
    ).fetchall()
    for schema, table, column, is_bytes in columns:
        form = sql.SQL("{}") if is_bytes else sql.SQL("convert_to({}::text, 'UTF8')")
        query = sql.SQL("select {} from {} where {} is not null").format(
            form.format(sql.Identifier(column)), sql.Identifier(schema, table), sql.Identifier(column)
        )
        for (value,) in connection.execute(query).fetchall():
            yield f"{schema}.{table}.{column}", value
