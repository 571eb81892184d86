"""The server's answers, as far as the commands read them.

Members that a command can do without have a default, so that a newer or older server is still
understood; members not named here are ignored. `--json` prints answers without passing by here.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import msgspec

Item = TypeVar("Item")


class FieldProblem(msgspec.Struct, frozen=True):
    field: str = ""
    code: str = ""
    message: str = ""


class RejectedFile(msgspec.Struct, frozen=True):
    filename: str
    code: str = ""
    message: str = ""


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details; an upload of which nothing was accepted also says `rejected`."""

    title: str = ""
    detail: str = ""
    code: str = ""
    errors: list[FieldProblem] = []
    rejected: list[RejectedFile] = []

    def summary(self, http_status: int) -> str:
        said = self.detail or self.title or f"The server answered {_status_line(http_status)}."
        return f"{said} [{self.code}]" if self.code else said

    def field_lines(self) -> list[str]:
        return [f"{error.field}: {error.message or error.code}" for error in self.errors]


class Page(msgspec.Struct, Generic[Item], frozen=True):
    items: list[Item]
    next_cursor: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """`limit` is None where there is none."""

    used: int
    limit: int | None = None


class Quota(msgspec.Struct, frozen=True):
    images: Usage
    clones: Usage
    period_end: datetime | None = None


class User(msgspec.Struct, frozen=True):
    email: str
    plan: str = ""
    created_at: datetime | None = None
    quota: Quota | None = None
    email_verified: bool = True


class SignedIn(msgspec.Struct, frozen=True):
    user: User
    access_token: str
    expires_in: float


class CodeWanted(msgspec.Struct, frozen=True):
    """The password was right, and the account asks for a second step."""

    ticket: str


class FreshToken(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float


class Photo(msgspec.Struct, frozen=True):
    id: int
    width: int | None = None
    height: int | None = None
    warnings: list[str] = []
    uploaded_at: datetime | None = None


class UploadReport(msgspec.Struct, frozen=True):
    """`photos` are the accepted files, in the order in which they were sent."""

    photos: list[Photo] = []
    rejected: list[RejectedFile] = []


class Failure(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""

    def sentence(self) -> str:
        return self.message or self.code or "no reason was given"


class Model(msgspec.Struct, frozen=True):
    id: int
    trigger_word: str
    status: str
    progress: float | None = None
    parameters: dict[str, Any] = {}
    error: Failure | None = None
    photo_count: int | None = None
    created_at: datetime | None = None
    ready_at: datetime | None = None


class Image(msgspec.Struct, frozen=True):
    id: int
    image_url: str
    model_id: int | None = None
    prompt: str = ""
    enhanced_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    created_at: datetime | None = None


class Enhancement(msgspec.Struct, frozen=True):
    provider: str | None = None
    outcome: str | None = None


class Run(msgspec.Struct, frozen=True):
    id: int | str
    status: str
    model_id: int | None = None
    progress: float | None = None
    prompt: str = ""
    enhanced_prompt: str | None = None
    enhancement: Enhancement = Enhancement()
    num_outputs: int = 1
    images: list[Image] = []
    error: Failure | None = None
    created_at: datetime | None = None


class Deletion(msgspec.Struct, frozen=True):
    deleted: list[int] = []
    not_found: list[int] = []


class ApiKey(msgspec.Struct, frozen=True):
    id: int
    name: str = ""
    prefix: str = ""
    scopes: list[str] = []
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class NewApiKey(msgspec.Struct, frozen=True):
    id: int
    key: str


def _status_line(http_status: int) -> str:
    try:
        return f"{http_status} {HTTPStatus(http_status).phrase}"
    except ValueError:
        return str(http_status)
