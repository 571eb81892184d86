"""Where the sandbox may connect to: this machine, and nowhere else.

The real provider fetches any public URL and calls any HTTPS webhook. A server on a developer's
machine that did so could be used to reach into networks, so names are not even resolved here.
"""

import ipaddress
from urllib.parse import urlsplit


def is_loopback_url(url: str) -> bool:
    """Whether `url` is http(s) to this machine by a loopback address or `localhost`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
