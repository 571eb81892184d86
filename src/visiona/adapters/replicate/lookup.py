"""Finding a job whose answer was lost.

Replicate has no idempotency keys, so before an order is sent again its lists are searched for what
the order may have made.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

from visiona.adapters.http import UNUSABLE_ANSWER
from visiona.adapters.replicate.answers import (
    ListedJob,
    UnusableAnswerError,
    instant,
    next_page,
    read_page,
)
from visiona.adapters.replicate.client import ReplicateClient
from visiona.adapters.replicate.failures import PROVIDER
from visiona.ports.errors import ProviderUnavailable

CLOCK_SKEW = timedelta(seconds=60)
MAX_PAGES = 10


async def find_job(
    client: ReplicateClient,
    path: str,
    since: datetime,
    webhook_url: str | None,
    matches: Callable[[ListedJob], bool],
) -> str | None:
    """The id of the job in the list at `path` that fits, None if there is none.

    Of several that fit, as when a person asks for the same picture twice, the one made closest to
    `since`. Jobs whose input is no longer there cannot be told apart and are passed over, and so
    are those that name another webhook. `ProviderUnavailable` if the list is longer than what is
    searched: "none" would be a guess then, and a guess here is billed twice.
    """
    try:
        found = [
            (abs(instant(job.created_at) - since), job.id)
            async for job in _jobs(client, path, since - CLOCK_SKEW)
            if not job.data_removed and _same_webhook(job, webhook_url) and matches(job)
        ]
    except UnusableAnswerError as error:
        raise ProviderUnavailable(PROVIDER, UNUSABLE_ANSWER) from error
    return min(found)[1] if found else None


async def _jobs(client: ReplicateClient, path: str, earliest: datetime) -> AsyncIterator[ListedJob]:
    """Newest first, down to `earliest`."""
    query: dict[str, str] | None = {}
    for _ in range(MAX_PAGES):
        page = await client.get(path, read_page, query)
        for job in page.results:
            if instant(job.created_at) < earliest:
                return
            yield job
        query = next_page(page)
        if query is None:
            return
    raise ProviderUnavailable(PROVIDER, "lookup_incomplete")


def _same_webhook(job: ListedJob, webhook_url: str | None) -> bool:
    """Lists are not documented to name the webhook; where one does, it settles the matter."""
    return job.webhook is None or job.webhook == webhook_url
