"""The web application of an app, made once for all who visit it: making it takes a fifth of a second."""

from collections import deque
from typing import Any

from visiona.bootstrap import App
from visiona.entrypoints.asgi import create_asgi

_latest: deque[tuple[App, Any]] = deque(maxlen=2)


def served(app: App) -> Any:
    """For tests that share an app, and what its web application remembers."""
    for known, application in _latest:
        if known is app:
            return application
    _latest.append((app, create_asgi(app)))
    return _latest[-1][1]
