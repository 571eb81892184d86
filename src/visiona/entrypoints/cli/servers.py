"""Naming a Visiona server: one spelling per server, which its session is kept under."""

from urllib.parse import SplitResult, urlsplit

DEFAULT_SERVER = "http://127.0.0.1:8000"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
DEFAULT_PORTS = {"http": 80, "https": 443}


def server_url(text: str) -> str:
    """`HTTP://Host:80/` and `http://host` are the same server. Raises ValueError for what is none."""
    parts = urlsplit(text.strip())
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{text!r} is not the address of a server, like https://visiona.example")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a server's address has no user name, query or fragment")
    return origin_of(parts) + parts.path.rstrip("/")


def server_origin(server: str) -> str:
    """What a browser on the server's own pages would send as `Origin`."""
    return origin_of(urlsplit(server))


def travels_in_clear(server: str) -> bool:
    """Whether others on the way could read what is sent: no TLS, and not within this machine."""
    parts = urlsplit(server)
    return parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS


def origin_of(parts: SplitResult) -> str:
    host = parts.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    if parts.port is None or parts.port == DEFAULT_PORTS[parts.scheme]:
        return f"{parts.scheme}://{bracketed}"
    return f"{parts.scheme}://{bracketed}:{parts.port}"
