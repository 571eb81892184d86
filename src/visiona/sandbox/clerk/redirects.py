"""Where browsers may be sent, and what is added to the address."""

from urllib.parse import parse_qsl, urlencode, urlsplit

from visiona.sandbox.clerk.config import ClerkSandboxConfig
from visiona.sandbox.network import is_loopback_url

DEV_BROWSER = "__clerk_db_jwt"
_OURS = frozenset({DEV_BROWSER, "__clerk_handshake", "__clerk_handshake_nonce", "__clerk_ticket"})


def is_allowed(config: ClerkSandboxConfig, url: str) -> bool:
    """Whether a browser may be sent to `url`."""
    if not is_loopback_url(url) or urlsplit(url).username is not None or "\\" in url:
        return False
    return not config.redirect_origins or origin_of(url) in config.redirect_origins


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def with_parameters(url: str, **parameters: str) -> str:
    """`url` with these parameters, and without those of earlier redirects."""
    parts = urlsplit(url)
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in _OURS]
    return parts._replace(query=urlencode([*kept, *parameters.items()])).geturl()
