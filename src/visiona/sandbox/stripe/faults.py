"""What the sandbox of Stripe can be told to do wrong beside what `visiona.sandbox.faults` says.

`server_error` may have `stored`: the error is kept under the request's idempotency key. Webhooks of one
action are reordered among themselves.
"""

from visiona.sandbox import faults


class Fault(faults.Fault, kw_only=True, forbid_unknown_fields=True):
    """One thing to go wrong."""

    stored: bool = False


FaultBook = faults.FaultBook[Fault]
