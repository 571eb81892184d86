"""Law 3 made executable: no provider is called while a database transaction is open.

A network call inside a transaction holds row locks and a connection for as long as a stranger
likes. `db` marks the current task while a transaction is open; adapters ask before they call.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_open = ContextVar("visiona_transaction_open", default=False)


class TransactionOpenError(RuntimeError):
    """A provider was about to be called inside a transaction: a programming error."""


@contextmanager
def transaction_marker() -> Generator[None]:
    """Mark this task as holding a transaction for the length of the block."""
    token = _open.set(True)
    try:
        yield
    finally:
        _open.reset(token)


def in_transaction() -> bool:
    return _open.get()


def forbid_open_transaction(what: str) -> None:
    """Raise `TransactionOpenError` if this task holds a transaction; `what` names the call."""
    if _open.get():
        raise TransactionOpenError(f"{what} was called while a transaction is open")
