"""What may be told of an error of the database: not the rows and values that it quotes."""

from typing import Final

import psycopg

_DATA_EXCEPTION: Final = "22"
"""The class of SQLSTATEs whose messages quote the value that could not be read."""


def told(error: BaseException) -> str | None:
    """The server's code and message without its DETAIL, which is the row; None for what is no error of the
    database's.
    """
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate
    if state is None:  # not the server's but the library's, which is about the connection
        return str(error).partition("\n")[0]
    return state if state.startswith(_DATA_EXCEPTION) else f"{state} {error.diag.message_primary}"
