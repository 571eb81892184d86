"""Rows whose columns are sealed: how a store reads them, and keeps what is no plain text."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from psycopg.rows import BaseRowFactory, kwargs_row

from visiona.db.sealed import SealedColumn
from visiona.vault.model import Cipher

T = TypeVar("T")


def seal_json(cipher: Cipher, column: SealedColumn, value: Any) -> bytes:
    """For what is no text by itself: the inputs of a run, the parameters of a training."""
    return cipher.seal_bytes(column.place, msgspec.json.encode(value))


def opening(
    make: Callable[..., T],
    cipher: Cipher,
    texts: Iterable[SealedColumn],
    documents: Iterable[SealedColumn] = (),
) -> BaseRowFactory[T]:
    """A row factory: `make` gets the columns by their names, those that are sealed as what is in them.

    `texts` were made by `Cipher.seal`, `documents` by `seal_json`. Reading raises `Unreadable`.
    """

    def read(**columns: Any) -> T:
        for text in texts:
            columns[text.column] = cipher.open_optional(text.place, columns[text.column])
        for document in documents:
            columns[document.column] = msgspec.json.decode(
                cipher.open_bytes(document.place, columns[document.column])
            )
        return make(**columns)

    return kwargs_row(read)
