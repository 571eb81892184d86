"""Addresses of the hosted pages. The ids in them cannot be guessed, and are the only key."""


class Links:
    """`public_url` is the server's own base URL, without a slash at the end."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url

    def checkout(self, session_id: str) -> str:
        return f"{self._public_url}/c/pay/{session_id}"

    def portal(self, session_id: str) -> str:
        return f"{self._public_url}/p/session/{session_id}"

    def invoice(self, invoice_id: str) -> str:
        return f"{self._public_url}/i/{invoice_id}"

    def invoice_pdf(self, invoice_id: str) -> str:
        return f"{self._public_url}/i/{invoice_id}/pdf"
