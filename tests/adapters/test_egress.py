"""Where clients connect to, and where they never do: a listener on this machine counts who came."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpcore
import httpx
import httpx2
import pytest

from visiona.adapters.egress import Destinations, confine
from visiona.adapters.http import BodyTooLargeError, capped_chunks
from visiona.adapters.replicate.delivery import DeliveryHosts, DeliveryRefusedError

DELIVERY = "replicate.delivery"
API = "https://api.replicate.com/v1"
INWARD = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.7",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.170.2",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:7f00:1::",
    "fe80::1",
    "fe80::1%lo",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]
SCHEMES = ["file:///etc/passwd", "ftp://{}/", "gopher://{}/", "data:text/plain,x", "javascript:1", "//{}/"]
SPELLINGS = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.0.1.nip.io:{port}/",
    "http://replicate.delivery@127.0.0.1:{port}/",
    "http://replicate.delivery:443@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#replicate.delivery",
    "http://127.0.0.1:{port}?replicate.delivery",
    "http://127.0.0.1:{port}\\@replicate.delivery/",
    "http://replicate.delivery.127.0.0.1:{port}/",
    "https://replicate.delivery.evil.test:{port}/",
    "https://evilreplicate.delivery:{port}/",
    "https://replicate.delivery:{port}/",
    "http://replicate.delivery/",
    "https://replicate.delivery./",
    "https://replicate。delivery/",
    "https://ｒeplicate.delivery/",  # noqa: RUF001 - a wide letter, as attacked with
    "https://replicate.delivery%2eevil.test/",
    "https://xn--mnchen-3ya.test/",
    "https://replicate%00.delivery/",
]


@dataclass
class Listener:
    port: int = 0
    connections: int = 0
    answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n"
    endless: bool = False
    resolved: list[str] = field(default_factory=list)


@asynccontextmanager
async def listening() -> AsyncGenerator[Listener]:
    state = Listener()

    async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        await reader.read(4096)
        writer.write(state.answer)
        while state.endless and not writer.is_closing():
            writer.write(b"x" * 65536)
            try:
                await writer.drain()
            except ConnectionError:
                break
        writer.close()

    server = await asyncio.start_server(come, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    async with server:
        yield state


def to(*addresses: str) -> object:
    async def resolve(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return resolve


class Nowhere:
    """A network that notes what is connected to, and does not: no test reaches another machine."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def connect_tcp(self, host: str, *_options: object) -> object:
        self.asked.append(host)
        raise httpcore.ConnectError("nowhere")


def nowhere(destinations: Destinations, *addresses: str) -> tuple[httpx.AsyncClient, Nowhere]:
    made, network = httpx.AsyncClient(trust_env=False), Nowhere()
    made._transport._pool._network_backend = network  # type: ignore[attr-defined] # as `confine` does
    confine(made, destinations, to(*addresses))  # type: ignore[arg-type] # a resolver
    return made, network


def client(destinations: Destinations, *addresses: str, **options: object) -> httpx.AsyncClient:
    made = httpx.AsyncClient(trust_env=False, timeout=5, **options)  # type: ignore[arg-type] # options of the tests
    confine(made, destinations, to(*addresses) if addresses else None)  # type: ignore[arg-type] # a resolver
    return made


@pytest.mark.parametrize("address", INWARD)
async def test_a_public_name_never_leads_inward(address: str) -> None:
    http, network = nowhere(Destinations.of([API]), address)
    async with http:
        with pytest.raises(httpx.ConnectError, match="destination refused"):
            await http.get(API)
    assert network.asked == []


@pytest.mark.parametrize("address", ["93.184.215.14", "::ffff:93.184.215.14", "2606:2800:21f:cb07::1"])
async def test_a_public_name_leads_to_its_public_address(address: str) -> None:
    http, network = nowhere(Destinations.of([API]), address)
    async with http:
        with pytest.raises(httpx.ConnectError, match="nowhere"):
            await http.get(API)
    assert network.asked == [address]


async def test_one_inward_address_among_public_ones_is_one_too_many() -> None:
    http, network = nowhere(Destinations.of([API]), "93.184.215.14", "127.0.0.1")
    async with http:
        with pytest.raises(httpx.ConnectError, match="destination refused"):
            await http.get(API)
    assert network.asked == []


@pytest.mark.parametrize("template", [*SCHEMES, *SPELLINGS])
async def test_no_spelling_reaches_this_machine(template: str) -> None:
    """Through both gates that a link of a provider's passes; and through the second alone."""
    async with listening() as listener:
        url = template.format(f"127.0.0.1:{listener.port}", port=listener.port)
        with pytest.raises(DeliveryRefusedError):
            DeliveryHosts([DELIVERY]).accept(url)
        async with client(Destinations.of([API], delivery=[DELIVERY]), "127.0.0.1") as http:
            with pytest.raises((httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL)):
                await http.get(url)
        assert listener.connections == 0


async def test_a_name_is_looked_up_once_and_that_address_connected_to() -> None:
    async with listening() as listener:
        answers = iter([["127.0.0.1"], ["169.254.169.254"]])

        async def rebinding(host: str, _port: int) -> list[str]:
            listener.resolved.append(host)
            return next(answers)

        http = httpx.AsyncClient(trust_env=False)
        confine(http, Destinations.of([f"http://sandbox.test:{listener.port}"]), rebinding)
        async with http:
            answer = await http.get(f"http://sandbox.test:{listener.port}/")
        assert (answer.status_code, listener.connections, listener.resolved) == (204, 1, ["sandbox.test"])


@pytest.mark.parametrize("hops", [1, 3])
async def test_a_redirect_leads_nowhere_else(hops: int) -> None:
    async with listening() as listener, listening() as inner:
        here = f"http://127.0.0.1:{listener.port}"
        target = f"http://127.0.0.1:{inner.port}/" if hops == 1 else f"{here}/again"
        listener.answer = f"HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n".encode()
        async with client(Destinations.of([here]), follow_redirects=True, max_redirects=3) as http:
            with pytest.raises((httpx.ConnectError, httpx.TooManyRedirects)):
                await http.get(here)
        assert inner.connections == 0
        assert listener.connections >= 1


async def test_the_sdks_own_library_is_held_to_it_too() -> None:
    async with listening() as listener:
        http = httpx2.AsyncClient(trust_env=False, timeout=5)
        confine(http, Destinations.of(["https://api.openai.com/v1"]), to("127.0.0.1"))  # type: ignore[arg-type] # a resolver
        async with http:
            for url in (f"https://api.openai.com:{listener.port}/", "https://api.openai.com/"):
                with pytest.raises(httpx2.ConnectError, match="destination refused"):
                    await http.get(url)
        assert listener.connections == 0


async def test_an_endless_body_is_not_read_to_its_end() -> None:
    async with listening() as listener:
        listener.answer, listener.endless = b"HTTP/1.1 200 OK\r\n\r\n", True
        here = f"http://127.0.0.1:{listener.port}"
        async with client(Destinations.of([here])) as http, http.stream("GET", here) as answer:
            with pytest.raises(BodyTooLargeError):
                async for _ in capped_chunks(answer, 200_000):
                    pass


async def test_the_second_address_is_tried_where_the_first_does_not_answer() -> None:
    async with listening() as listener:
        here = f"http://localhost:{listener.port}"
        async with client(Destinations.of([here]), "127.0.0.2", "127.0.0.1") as http:
            assert (await http.get(here)).status_code == 204


async def test_a_socket_of_this_machine_is_no_destination() -> None:
    http = client(Destinations.of([API]))
    backend = http._transport._pool._network_backend  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="destination refused"):
        await backend.connect_unix_socket("/run/docker.sock")
    await http.aclose()


def test_only_urls_are_destinations() -> None:
    for url in ("replicate.com", "ftp://replicate.com", "https://", ""):
        with pytest.raises(ValueError, match="http or https URL"):
            Destinations.of([url])
