"""Where HTTP clients may connect: the hosts that the settings name, at addresses that are theirs to have.

A client is confined twice. Its requests, each hop of a redirect included, are compared with the hosts
that it is for. Then the connection: the name is resolved once, every address found is looked at, and
exactly one of those is connected to, so that a name that answers differently the second time (DNS
rebinding) gains nothing. Public names lead to public addresses only; what the founder has configured as
an address of this machine or network, such as the sandbox, is reached there and nowhere else.

Behind a proxy from the environment it is the proxy that connects: then the first comparison remains.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

REFUSED: Final = "destination refused"
_PORTS: Final = {"http": 80, "https": 443}
# What `ipaddress` calls global, or does so in some releases, and is not to be connected to: IPv6 that
# carries an IPv4 address to whoever translates it (NAT64, 6to4, Teredo), and the protocol assignments of
# RFC 6890, where clouds keep metadata too.
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]


class DestinationRefusedError(Exception):
    """This is not a place for this client. The text names neither host nor address."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """`hosts` are pairs of host and port; `domains` are reached with their subdomains, at port 443.

    `local` are those of the hosts that may have any address, since the settings say plain HTTP or write
    the address itself: that is this machine, or the founder's own network.
    """

    hosts: frozenset[tuple[str, int]]
    domains: tuple[str, ...] = ()
    local: frozenset[str] = frozenset()

    @classmethod
    def of(cls, urls: Iterable[str], *, delivery: Iterable[str] = ()) -> "Destinations":
        """The hosts of these URLs; of `delivery`, names with their subdomains and `host:port` exactly.

        Raises `ValueError` for what is no HTTP URL.
        """
        entries = list(delivery)
        named = [*urls, *(f"http://{entry}" for entry in entries if ":" in entry)]
        local = {_endpoint(url)[0] for url in named if url.startswith("http:")}
        hosts = {_endpoint(url) for url in named}
        return cls(
            frozenset(hosts),
            tuple(entry.lower() for entry in entries if ":" not in entry),
            frozenset(local | {host for host, _ in hosts if _address(host)}),
        )

    def check_host(self, host: str, port: int) -> None:
        """Raises `DestinationRefusedError` for a host that is not among these."""
        host = host.lower()
        within = port == _PORTS["https"] and any(
            host == domain or host.endswith(f".{domain}") for domain in self.domains
        )
        if (host, port) not in self.hosts and not within:
            raise DestinationRefusedError(REFUSED)

    def check_address(self, host: str, address: str) -> None:
        """Raises `DestinationRefusedError` for an address that this host cannot have."""
        found = _address(address)
        if found is None or (host.lower() not in self.local and not is_public(found)):
            raise DestinationRefusedError(REFUSED)


def is_public(address: Address) -> bool:
    """Whether this is an address in the internet: no loopback, no network of one's own, no link-local
    metadata service, no multicast, and no IPv4 address in another guise.
    """
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def confine(http: Any, destinations: Destinations, resolve: Resolve | None = None) -> None:
    """Hold an `httpx` (or `httpx2`) asynchronous client to its destinations, from now on.

    Refusals are connection errors of that library. `resolve` answers the addresses of a host; the
    system's resolver unless given.
    """
    # Neither library has a setting for the network beneath its pool of connections.
    pool = http._transport._pool  # noqa: SLF001 - see above
    core = import_module(type(pool).__module__.partition(".")[0])
    pool._network_backend = _ConfinedBackend(  # noqa: SLF001 - see above
        pool._network_backend,  # noqa: SLF001 - see above
        destinations,
        resolve or _resolve,
        core.ConnectError,
        core.ConnectTimeout,
    )
    library = import_module(type(http._transport).__module__.partition(".")[0])  # noqa: SLF001 - see above

    async def check(request: Any) -> None:
        port = request.url.port or _PORTS.get(request.url.scheme, 0)
        try:
            destinations.check_host(request.url.host, port)
        except DestinationRefusedError as error:
            raise library.ConnectError(REFUSED, request=request) from error

    hooks = http.event_hooks
    http.event_hooks = {**hooks, "request": [*hooks.get("request", []), check]}


class _ConfinedBackend:
    """A network backend of httpcore's that resolves, looks, and connects to what it looked at."""

    def __init__(
        self,
        inner: Any,
        destinations: Destinations,
        resolve: Resolve,
        refusal: type[Exception],
        timed_out: type[Exception],
    ) -> None:
        self._inner = inner
        self._destinations = destinations
        self._resolve = resolve
        self._refusal = refusal
        self._timed_out = timed_out

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> Any:
        try:
            async with asyncio.timeout(timeout):
                self._destinations.check_host(host, port)
                addresses = await self._resolve(host, port)
                for address in addresses:
                    self._destinations.check_address(host, address)
                return await self._connect(addresses, port, local_address, socket_options)
        except TimeoutError as error:
            raise self._timed_out from error
        except (DestinationRefusedError, OSError) as error:
            raise self._refusal(str(error)) from error

    async def _connect(
        self, addresses: list[str], port: int, local_address: str | None, socket_options: Any
    ) -> Any:
        """To the first that answers; the last one's refusal where none does."""
        if not addresses:
            raise DestinationRefusedError(REFUSED)
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, 5.0, local_address, socket_options)
            except (self._refusal, self._timed_out):
                continue
        return await self._inner.connect_tcp(addresses[-1], port, None, local_address, socket_options)

    async def connect_unix_socket(self, *_args: Any, **_options: Any) -> Any:
        raise self._refusal(REFUSED)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _endpoint(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in _PORTS:
        raise ValueError("a destination is an http or https URL with a host")
    return parts.hostname.lower(), parts.port or _PORTS[parts.scheme]


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
