"""Where passkeys can be used: a browser makes them for a name it reached safely, never for a number."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from visiona.bootstrap import App
from visiona.entrypoints.web.responses import AnyRequest
from visiona.settings import LOOPBACK_HOSTS


@dataclass(frozen=True, slots=True)
class PasskeyPlace:
    """`elsewhere` is the same page where passkeys would work, None where there is no such place."""

    usable: bool
    elsewhere: str | None = None


def passkey_place(app: App, request: AnyRequest, path: str) -> PasskeyPlace:
    """Whether they work on the page `path`, as this browser reached it."""
    origin = urlsplit(app.settings.origin)
    if origin.scheme == "https":
        return PasskeyPlace(usable=True)
    if origin.hostname not in LOOPBACK_HOSTS:
        return PasskeyPlace(usable=False)
    netloc = f"localhost:{origin.port}" if origin.port else "localhost"
    if request.headers.get("host", "").lower() == netloc:
        return PasskeyPlace(usable=True)
    return PasskeyPlace(usable=False, elsewhere=f"http://{netloc}{path}")
