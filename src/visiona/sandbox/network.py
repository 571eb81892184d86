"""Where a sandbox may connect to, or send a browser: this machine, and nowhere else.

The real providers fetch any public URL and call any address. A server on a developer's machine that did
so could be used to reach into networks, so names other than `localhost` are not even resolved.
"""

import ipaddress
from urllib.parse import urlsplit


def is_loopback_url(url: str) -> bool:
    """Whether `url` is http(s) to this machine by a loopback address or `localhost`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in {"http", "https"} or not host or port == 0:
            return False
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
