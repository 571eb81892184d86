"""The life of work that a provider does for us, common to trainings and runs.

queued → submitting → running → succeeded | failed | canceled. `submitting` is a lease: whoever holds
it is calling the provider; once it is older than LEASE, whoever held it is presumed dead, and the
next one asks the provider what became of the call before making another.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LEASE = timedelta(seconds=60)


REFUND_NOTE = "Nothing was charged to your plan."


@dataclass(frozen=True, slots=True)
class Failure:
    """Why work came to nothing, in a stable code and words for the person whose work it was."""

    code: str
    message: str


class WorkState(StrEnum):
    QUEUED = "queued"
    SUBMITTING = "submitting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        return self in {WorkState.SUCCEEDED, WorkState.FAILED, WorkState.CANCELED}


def may_claim(state: WorkState, claimed_at: datetime | None, now: datetime) -> bool:
    """Whether work may be submitted now: it waits, or its last submitter is presumed dead.

    Both times are the database's: by clocks of their own, two workers could hold one lease.
    """
    if state is WorkState.QUEUED:
        return True
    return state is WorkState.SUBMITTING and (claimed_at is None or claimed_at + LEASE < now)
