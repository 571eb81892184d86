"""An error that a provider's API would answer, before a dialect puts it into its own shape."""

from collections.abc import Mapping
from types import MappingProxyType


class ApiError(Exception):
    """`kind` is the provider's error type; `code` and `param` exist in OpenAI's dialect only."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.code = code
        self.param = param
        self.headers = headers
