"""What the Stripe adapter is told by the operator."""

import re
from dataclasses import dataclass, field

from visiona.adapters.http import Timeouts

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeConfig:
    """Without an `api_key` every call is refused, and nothing is sent.

    `call_deadline_s` bounds one call to the API with its one retry, however slowly it is answered.
    `max_answer_bytes` is for one page of a list at most.
    """

    api_key: str = field(repr=False)
    base_url: str = "https://api.stripe.com"
    timeouts: Timeouts = field(default_factory=lambda: Timeouts(connect_s=5.0, read_s=15.0, write_s=15.0))
    call_deadline_s: float = 30.0
    max_answer_bytes: int = 8 * _MIB

    def __post_init__(self) -> None:
        # A key with a line break would surface in the HTTP library's complaint about the header.
        if not re.fullmatch(r"[!-~]*", self.api_key):
            raise ValueError("the Stripe API key must be printable ASCII without spaces")
        if not re.fullmatch(r"https?://[^\s?#/]+", self.base_url):
            raise ValueError("the Stripe base URL must be http(s)://host without a path")


def is_live(api_key: str) -> bool:
    """Whether this key moves real money. Of an unknown kind: yes, to be careful."""
    return not re.match(r"(sk|rk)_(org_)?test_", api_key)
