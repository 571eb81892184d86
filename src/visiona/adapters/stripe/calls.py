"""One call to Stripe at a time: through the official SDK, bounded, with every failure translated."""

import asyncio
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, TypeVar

import httpx

from visiona.adapters.egress import Destinations
from visiona.adapters.http import (
    CONNECTION_LOST,
    SERVER_ERROR,
    TIMEOUT,
    UNREACHABLE,
    UNUSABLE_ANSWER,
    BodyTooLargeError,
    make_http_client,
)
from visiona.adapters.stripe.answers import Page, UnusableAnswerError, read
from visiona.adapters.stripe.config import StripeConfig
from visiona.adapters.stripe.failures import (
    CONFLICT,
    PROVIDER,
    from_sdk,
    from_transport,
    lost,
    no_key,
    request_id_of,
)
from visiona.adapters.stripe.webhooks import PINNED_VERSION
from visiona.core.guard import forbid_open_transaction
from visiona.ports.errors import OutcomeUnknown, ProviderError, ProviderRejected, ProviderUnavailable

if TYPE_CHECKING:
    from stripe import RequestOptions, StripeClient
    from stripe._v1_services import V1Services

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PAGE_SIZE = 100
_MAX_PAGES = 200
_PAUSE_S = 0.5
_RETRIED_GET = frozenset({UNREACHABLE, CONNECTION_LOST, CONFLICT, SERVER_ERROR})
_RETRIED_POST = frozenset({UNREACHABLE, CONNECTION_LOST, CONFLICT})
_MAX_CONNECTIONS = 20


class PageRequest(TypedDict):
    """The parameters that every list of Stripe's takes."""

    limit: int
    starting_after: NotRequired[str]


class StripeCalls:
    """The account, as `StripePayments` and its parts ask it; close it with `aclose`.

    The SDK is imported, and the client built, off the event loop at the first call (law 10). Every
    method raises the errors of `visiona.ports.errors`, and returns within the configured deadline. A
    call is tried once more where its connection failed or its object was locked, a GET also after a
    5xx; a POST then carries the same idempotency key.
    """

    def __init__(self, config: StripeConfig) -> None:
        self._config = config
        self._client: StripeClient | None = None
        self._http: httpx.AsyncClient | None = None
        self._building = asyncio.Lock()
        self._complaints: set[str] = set()

    async def get(self, what: str, ask: "Callable[[V1Services], Awaitable[object]]", shape: type[T]) -> T:
        """`what` names the call in the log."""

        async def attempt() -> T:
            return read(await ask(await self._connected()), shape)

        return await self._bounded(what, attempt, repeatable=True)

    async def post(
        self,
        what: str,
        ask: "Callable[[V1Services, RequestOptions], Awaitable[object]]",
        shape: type[T],
        *,
        key: str | None = None,
    ) -> T:
        """`key` makes repeats by the caller harmless; without it, only those inside this call are."""
        options: RequestOptions = {"idempotency_key": key or str(uuid.uuid4())}

        async def attempt() -> T:
            return read(await ask(await self._connected(), options), shape)

        return await self._bounded(what, attempt, repeatable=False)

    async def every(
        self, what: str, ask: "Callable[[V1Services, PageRequest], Awaitable[object]]", shape: type[T]
    ) -> list[T]:
        """All entries of a list, page by page. Each page is a call of its own."""
        entries: list[T] = []
        page_request: PageRequest = {"limit": _PAGE_SIZE}
        for _ in range(_MAX_PAGES):
            wanted = page_request
            page = await self.get(what, lambda v1, wanted=wanted: ask(v1, wanted), Page)
            entries += self._entries(what, page, shape)
            if not page.has_more:
                return entries
            page_request = {"limit": _PAGE_SIZE, "starting_after": self._last_id(what, page)}
        raise self.unusable(what, "a list without end", repeatable=True)

    async def aclose(self) -> None:
        """Close the connections; calls after this open new ones."""
        self._client = None
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    def unusable(self, what: str, why: str, *, repeatable: bool = True) -> ProviderError:
        """The failure of a call that was answered with something else; `why` goes into the log."""
        _log.warning("stripe: %s was answered with %s", what, why)
        return lost(UNUSABLE_ANSWER, repeatable=repeatable)

    def _entries(self, what: str, page: Page, shape: type[T]) -> list[T]:
        try:
            return [read(entry, shape) for entry in page.data]
        except UnusableAnswerError as error:
            raise self.unusable(what, str(error), repeatable=True) from None

    def _last_id(self, what: str, page: Page) -> str:
        last = page.data[-1].get("id") if page.data else None
        if not isinstance(last, str) or not last:
            raise self.unusable(what, "a page that leads nowhere", repeatable=True)
        return last

    async def _connected(self) -> "V1Services":
        async with self._building:
            if self._client is None:
                self._client, self._http = await asyncio.to_thread(_build, self._config)
            return self._client.v1

    async def _bounded(self, what: str, attempt: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        """At most two attempts and the pause between them, within one deadline."""
        forbid_open_transaction(PROVIDER)
        if not self._config.api_key:
            raise no_key()
        await self._connected()  # importing the SDK is not Stripe's time
        try:
            async with asyncio.timeout(self._config.call_deadline_s):
                return await self._twice(what, attempt, repeatable=repeatable)
        except TimeoutError:
            raise lost(TIMEOUT, repeatable=repeatable) from None

    async def _twice(self, what: str, attempt: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        try:
            return await self._translated(what, attempt, repeatable=repeatable)
        except (ProviderUnavailable, OutcomeUnknown) as failure:
            if failure.reason not in (_RETRIED_GET if repeatable else _RETRIED_POST):
                raise
            first = failure
        await asyncio.sleep(_PAUSE_S * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret
        try:
            return await self._translated(what, attempt, repeatable=repeatable)
        except ProviderUnavailable:
            # That the second did nothing says nothing about the first.
            if isinstance(first, OutcomeUnknown):
                raise first from None
            raise

    async def _translated(self, what: str, attempt: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        """One attempt. The SDK's errors quote whole answers, so none of them is a cause of ours."""
        from stripe import StripeError  # noqa: PLC0415 - law 10; loaded by now

        try:
            return await attempt()
        except StripeError as error:
            failure = from_sdk(error, repeatable=repeatable)
            self._tell(what, failure, request_id_of(error))
        except httpx.RequestError as error:
            failure = from_transport(error, repeatable=repeatable)
        except BodyTooLargeError:
            failure = self.unusable(what, "a body that is too large", repeatable=repeatable)
        except UnusableAnswerError as error:
            failure = self.unusable(what, str(error), repeatable=repeatable)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            # The SDK does not check what it receives, and stumbles over an answer of another shape.
            failure = self.unusable(what, type(error).__name__, repeatable=repeatable)
        raise failure

    def _tell(self, what: str, failure: ProviderError, request_id: str) -> None:
        if not isinstance(failure, ProviderRejected):
            _log.info("%s: %s, request %s", what, failure, request_id)
        elif failure.status not in {401, 403}:
            _log.warning("%s: %s, request %s", what, failure, request_id)
        elif failure.reason not in self._complaints:
            # Every call would say so: once is enough for the operator.
            self._complaints.add(failure.reason)
            _log.error("%s: %s; put the key right and start again, request %s", what, failure, request_id)


async def gathered(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order; the first failure ends the others."""
    with first_failure():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    return [task.result() for task in tasks]


@contextmanager
def first_failure() -> Generator[None]:
    """Around a task group: its first failure instead of a group with that and those it caused."""
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def _build(config: StripeConfig) -> "tuple[StripeClient, httpx.AsyncClient]":
    """Runs in a thread."""
    import stripe  # noqa: PLC0415 - law 10

    from visiona.adapters.stripe.transport import CappedTransport  # noqa: PLC0415 - it imports the SDK

    # It writes an identifier below the home directory and reports how long requests took.
    stripe.enable_telemetry = False
    # It logs every URL, with e-mails in queries, and at debug level every body.
    logging.getLogger("stripe").setLevel(logging.WARNING)
    http = make_http_client(
        Destinations.of([config.base_url]), config.timeouts, max_connections=_MAX_CONNECTIONS
    )
    client = stripe.StripeClient(
        config.api_key,
        stripe_version=PINNED_VERSION,
        base_addresses={"api": config.base_url},
        max_network_retries=0,
        http_client=CappedTransport(http, config.max_answer_bytes),
    )
    _load(client)
    return client, http


def _load(client: "StripeClient") -> None:
    """Import what the SDK would load lazily on the event loop."""
    v1 = client.v1
    _ = (v1.customers, v1.prices, v1.checkout.sessions, v1.billing_portal.sessions)
    _ = (v1.subscriptions, v1.invoices.line_items, v1.charges, v1.disputes, v1.invoice_items)
