"""Webhooks as Stripe sends them: an `invoice.paid` for a month of a plan, each with an id of its own."""

import hmac
import time
from pathlib import Path

SECRET = "whsec_aSecretForBenchmarksThatIsLongEnough"
WRONG_SECRET = "whsec_aSecretOfSomebodyElseThatIsAsLong"

_BODY = Path(__file__).with_name("invoice_paid.json").read_bytes().rstrip()
_SERIAL = b"00000000"
_BEFORE, _, _AFTER = _BODY.partition(_SERIAL)  # in the event's id

BODY_BYTES = len(_BODY)


def signed_event(serial: int, secret: str) -> tuple[bytes, bytes]:
    """The `Stripe-Signature` header and the body, signed just now."""
    body = b"%b%08d%b" % (_BEFORE, serial, _AFTER)
    timestamp = b"%d" % time.time()
    digest = hmac.digest(secret.encode(), b"%b.%b" % (timestamp, body), "sha256")
    return b"t=%b,v1=%b" % (timestamp, digest.hex().encode()), body
