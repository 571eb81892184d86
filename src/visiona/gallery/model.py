"""How the gallery is asked for. Pure."""

from dataclasses import dataclass
from typing import Literal

from visiona.core.errors import NotFound

PAGE_MAX = 100
DELETE_MAX = 500

Order = Literal["newest", "oldest"]


@dataclass(frozen=True, slots=True)
class Query:
    """`after` is the id of the last image of the page before."""

    limit: int
    order: Order = "newest"
    after: int | None = None
    model_id: int | None = None


def image_not_found() -> NotFound:
    return NotFound("image_not_found", "There is no such image. It may have been deleted.")
