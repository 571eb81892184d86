"""Parameters that several routes share."""

from typing import Annotated

from litestar.params import HeaderParameter, PathParameter, QueryParameter

RowId = Annotated[int, PathParameter(ge=1, le=2**63 - 1)]
Limit = Annotated[int, QueryParameter(ge=1, le=100)]
Cursor = Annotated[
    int | None, QueryParameter(ge=1, le=2**63 - 1, description="`next_cursor` of the page before.")
]
IdempotencyHeader = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="The same key with the same body spends once and answers the same result.",
    ),
]


def row_id(text: str) -> int | None:
    """The id that stands in a page's address; None where it is left empty, as a form without scripts does, or
    is no id.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
