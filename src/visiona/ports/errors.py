"""How a provider can fail, as far as Visiona must tell the cases apart."""


class ProviderError(Exception):
    """Base; `provider` names who failed, `reason` is safe to log (no prompt, secret or URL)."""

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"{provider}: {reason}")
        self.provider = provider
        self.reason = reason


class ProviderUnavailable(ProviderError):
    """It did not take effect and may work later; `retry_after` in seconds when it said so."""

    def __init__(self, provider: str, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(provider, reason)
        self.retry_after = retry_after


class ProviderRejected(ProviderError):
    """It was refused and will be again: bad input, bad credentials, no credit.

    `message` is the provider's own sentence, fit to show to the person whose request it was.
    """

    def __init__(self, provider: str, reason: str, *, status: int, message: str) -> None:
        super().__init__(provider, reason)
        self.status = status
        self.message = message


class ProviderNotFound(ProviderError):
    """The thing that was named does not exist at the provider."""


class OutcomeUnknown(ProviderError):
    """The request was sent, but the answer was lost: it may or may not have taken effect."""
