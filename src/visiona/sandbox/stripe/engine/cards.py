"""Stripe's test cards: what each number does. Any other number that passes the check digit works."""

from dataclasses import dataclass
from typing import Final

from visiona.sandbox.stripe.engine.outcomes import Card, Declined
from visiona.sandbox.stripe.errors import StripeError, declined


@dataclass(frozen=True, slots=True)
class Decline:
    """A refusal. `code` is the error's; `decline_code` is the bank's, where it was the bank that refused;
    `param` is what was wrong about the card, where one can say.
    """

    code: str
    decline_code: str | None
    message: str
    param: str | None = None

    def for_page(self) -> Declined:
        return Declined(self.decline_code or self.code, self.message)

    def for_api(self, **extra: object) -> StripeError:
        return declined(
            self.message, code=self.code, decline_code=self.decline_code, param=self.param, **extra
        )


GENERIC: Final = Decline("card_declined", "generic_decline", "Your card was declined.")
AUTHENTICATION_FAILED: Final = Decline(
    "payment_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method and try "
    "again.",
)
SETUP_AUTHENTICATION_FAILED: Final = Decline(
    "setup_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method and try "
    "again.",
)
AUTHENTICATION_REQUIRED: Final = Decline(
    "card_declined",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
_INSUFFICIENT: Final = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
_EXPIRED: Final = Decline("expired_card", None, "Your card has expired.", "exp_month")
_WRONG_CVC: Final = Decline("incorrect_cvc", None, "Your card's security code is incorrect.", "cvc")
_WRONG_NUMBER: Final = Decline("incorrect_number", None, "Your card number is incorrect.", "number")
_BAD_MONTH: Final = Decline(
    "invalid_expiry_month", None, "Your card's expiration month is invalid.", "exp_month"
)
_BAD_YEAR: Final = Decline("invalid_expiry_year", None, "Your card's expiration year is invalid.", "exp_year")
_BAD_CVC: Final = Decline("invalid_cvc", None, "Your card's security code is invalid.", "cvc")
_PROCESSING: Final = Decline(
    "processing_error",
    None,
    "An error occurred while processing your card. Try again in a little bit.",
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """`saving` refuses to be attached, `charging` to be charged. `challenge` is `first` where a card asks
    until it was set up for later use, `always` where it asks each time, and it is asked before `charging`
    refuses. `dispute` and `warning` follow a successful charge; `refund` says how its refunds go.
    """

    saving: Decline | None = None
    charging: Decline | None = None
    challenge: str | None = None
    dispute: str | None = None
    warning: str | None = None
    refund: str | None = None


def _refused(code: str, message: str = "Your card was declined.") -> Behaviour:
    decline = Decline("card_declined", code, message)
    return Behaviour(saving=decline, charging=decline)


_FINE: Final = Behaviour()
_BEHAVIOURS: Final = {
    "4000000000000002": Behaviour(saving=GENERIC, charging=GENERIC),
    "4000000000009995": Behaviour(saving=_INSUFFICIENT, charging=_INSUFFICIENT),
    "4000000000009987": _refused("lost_card"),
    "4000000000009979": _refused("stolen_card"),
    "4000000000006975": _refused("card_velocity_exceeded"),
    "4100000000000019": _refused("fraudulent"),
    "4000000000000069": Behaviour(saving=_EXPIRED, charging=_EXPIRED),
    "4000000000000127": Behaviour(saving=_WRONG_CVC, charging=_WRONG_CVC),
    "4000000000000119": Behaviour(saving=_PROCESSING, charging=_PROCESSING),
    "4000000000000341": Behaviour(charging=GENERIC),
    "4000002500003155": Behaviour(challenge="first"),
    "4000002760003184": Behaviour(challenge="always"),
    "4000000000003220": Behaviour(challenge="always"),
    "4000008260003178": Behaviour(challenge="always", charging=_INSUFFICIENT),
    "4000008400001629": Behaviour(challenge="always", charging=GENERIC),
    "4000000000000259": Behaviour(dispute="fraudulent"),
    "4000000000002685": Behaviour(dispute="product_not_received"),
    "4000000000005423": Behaviour(warning="made_with_stolen_card"),
    "4000000000007726": Behaviour(refund="pending"),
    "4000000000005126": Behaviour(refund="failing"),
}

TEST_METHODS: Final = {
    "pm_card_visa": "4242424242424242",
    "pm_card_visa_debit": "4000056655665556",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_mastercard_debit": "5200828282828210",
    "pm_card_amex": "378282246310005",
    "pm_card_discover": "6011111111111117",
    "pm_card_diners": "3056930009020004",
    "pm_card_jcb": "3566002020360505",
    "pm_card_unionpay": "6200000000000005",
    "pm_card_us": "4242424242424242",
    "pm_card_gb": "4000008260000000",
    "pm_card_de": "4000002760000016",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_authenticationRequiredOnSetup": "4000002500003155",
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": "4000008260003178",
    "pm_card_threeDSecure2Required": "4000000000003220",
    "pm_card_threeDSecureRequired": "4000000000003220",
    "pm_card_threeDSecureRequiredChargeDeclined": "4000008400001629",
    "pm_card_createDispute": "4000000000000259",
    "pm_card_createDisputeProductNotReceived": "4000000000002685",
    "pm_card_createIssuerFraudRecord": "4000000000005423",
    "pm_card_pendingRefund": "4000000000007726",
    "pm_card_refundFail": "4000000000005126",
    "pm_card_visa_chargeDeclined": "4000000000000002",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_visa_chargeDeclinedLostCard": "4000000000009987",
    "pm_card_visa_chargeDeclinedStolenCard": "4000000000009979",
    "pm_card_visa_chargeDeclinedFraudulent": "4100000000000019",
    "pm_card_chargeDeclinedFraudulent": "4100000000000019",
    "pm_card_visa_chargeDeclinedExpiredCard": "4000000000000069",
    "pm_card_chargeDeclinedExpiredCard": "4000000000000069",
    "pm_card_chargeDeclinedIncorrectCvc": "4000000000000127",
    "pm_card_chargeDeclinedProcessingError": "4000000000000119",
}
"""Payment methods that exist without having been made: their card numbers."""

_BRANDS: Final = (
    ("34", "amex"), ("37", "amex"), ("30", "diners"), ("36", "diners"), ("38", "diners"),
    ("35", "jcb"), ("62", "unionpay"), ("60", "discover"), ("64", "discover"), ("65", "discover"),
    ("2", "mastercard"), ("5", "mastercard"), ("4", "visa"),
)  # fmt: skip


def behaviour_of(number: str) -> Behaviour:
    return _BEHAVIOURS.get(number, _FINE)


def brand_of(number: str) -> str:
    return next((brand for prefix, brand in _BRANDS if number.startswith(prefix)), "unknown")


def digits_of(number: str) -> str:
    return number.replace(" ", "").replace("-", "")


def mistake_in(card: Card, year: int, month: int) -> Decline | None:
    """What is wrong with the data of a card itself, in the given month. A security code may be missing."""
    number = digits_of(card.number)
    if not (number.isascii() and number.isdigit() and 12 <= len(number) <= 19 and _check_digit_fits(number)):
        return _WRONG_NUMBER
    if not 1 <= card.exp_month <= 12:
        return _BAD_MONTH
    if (card.exp_year, card.exp_month) < (year, month) or card.exp_year > year + 50:
        return _BAD_YEAR if card.exp_year != year else _BAD_MONTH
    cvc = card.cvc.strip()
    if cvc and not (cvc.isascii() and cvc.isdigit() and len(cvc) in {3, 4}):
        return _BAD_CVC
    return None


def _check_digit_fits(number: str) -> bool:
    """Luhn's formula."""
    total = 0
    for position, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
