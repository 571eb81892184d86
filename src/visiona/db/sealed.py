"""Which columns hold what a person typed or is: sealed with that person's key, under their old name.

Each has a constraint `<table>_<column>_sealed`, and is of type bytea. What was there before it was sealed
is sealed by `visiona migrate`, which reads this list.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """`owner` is the column with the id of the person whose key it is."""

    table: str
    column: str
    owner: str = "user_id"

    @property
    def place(self) -> str:
        """What the values are bound to, besides the person."""
        return f"{self.table}.{self.column}"

    @property
    def constraint(self) -> str:
        return f"{self.table}_{self.column}_sealed"


SEALED: tuple[SealedColumn, ...] = ()
