"""Errors as Stripe words them."""

from typing import Any, Final, Literal

ErrorType = Literal["api_error", "card_error", "idempotency_error", "invalid_request_error"]

_SPOKEN: Final = {
    "billing_portal.configuration": "configuration",
    "billing_portal.session": "billing portal session",
    "payment_method": "PaymentMethod",
    "setup_intent": "setupintent",
    "subscription_item": "subscription_item",
    "test_helpers.test_clock": "test clock",
    "webhook_endpoint": "webhook endpoint",
}


class StripeError(Exception):
    """An answer that is not a success.

    What a request changed before it raised one is taken back, except after a status of 402: a declined
    charge is a fact. `extra` joins the error object on the wire (`charge`, `payment_intent`, ...).
    """

    def __init__(
        self,
        status: int,
        type: ErrorType,  # noqa: A002 - the name on the wire
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        decline_code: str | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type: ErrorType = type
        self.message = message
        self.code = code
        self.param = param
        self.decline_code = decline_code
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """The JSON document."""
        error: dict[str, Any] = dict(self.extra)
        if self.code is not None:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.decline_code is not None:
            error["decline_code"] = self.decline_code
        error["message"] = self.message
        if self.param is not None:
            error["param"] = self.param
        error["type"] = self.type
        return {"error": error}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> StripeError:
    """400: the request cannot be carried out as it is."""
    return StripeError(400, "invalid_request_error", message, param=param, code=code)


def missing(kind: str, id: str, *, param: str = "id") -> StripeError:  # noqa: A002 - as on the wire
    """404 for the object that the path names; 400 for one that another parameter names."""
    return StripeError(
        404 if param == "id" else 400,
        "invalid_request_error",
        f"No such {_SPOKEN.get(kind, kind)}: '{id}'",
        code="resource_missing",
        param=param,
    )


def declined(
    message: str, *, code: str, decline_code: str | None = None, param: str | None = None, **extra: Any
) -> StripeError:
    """402: the card's bank, or the check of its data, said no."""
    return StripeError(402, "card_error", message, code=code, decline_code=decline_code, param=param, **extra)
