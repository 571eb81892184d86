"""How the SDK's requests travel: over Visiona's own HTTP client. Imports the SDK, so imported late."""

from collections.abc import Mapping

import httpx
import stripe

from visiona.adapters.http import read_capped

# Among what is left out is Stripe-Notice, which the SDK would show as a Python warning.
_READ_HEADERS = ("request-id", "retry-after")


class CappedTransport(stripe.HTTPClient):
    """Raises `httpx.RequestError` and `BodyTooLargeError` straight through the SDK: it has no retries
    of its own here, since those forget that an earlier attempt may have had its effect.
    """

    name = "httpx"

    def __init__(self, http: httpx.AsyncClient, max_bytes: int) -> None:
        super().__init__()
        self._http = http
        self._max_bytes = max_bytes

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        content = None if post_data is None else post_data.encode()
        async with self._http.stream(method.upper(), url, headers=dict(headers), content=content) as response:
            body = await read_capped(response, self._max_bytes)
        kept = {name: response.headers[name] for name in _READ_HEADERS if name in response.headers}
        return body, response.status_code, httpx.Headers(kept)

    async def close_async(self) -> None:
        await self._http.aclose()
