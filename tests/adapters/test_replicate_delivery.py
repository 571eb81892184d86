"""Outputs: where they may come from, and how they reach the disk."""

import asyncio
import base64
import hashlib
import tracemalloc
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from visiona.adapters.replicate import (
    ReplicateClient,
    ReplicateConfig,
    ReplicateGenerator,
    ReplicateTrainer,
)
from visiona.adapters.replicate.delivery import DeliveryHosts, DeliveryRefusedError
from visiona.ports.errors import ProviderRejected, ProviderUnavailable

MIB = 1024 * 1024
LIMIT = 100_000

REFUSED = [
    # Not http(s), or not quite
    "",
    "replicate.delivery/a.webp",
    "//replicate.delivery/a.webp",
    "/etc/passwd",
    "file:///etc/passwd",
    "file://replicate.delivery/etc/passwd",
    "ftp://replicate.delivery/a",
    "gopher://replicate.delivery/a",
    "javascript:alert(1)",
    "https:replicate.delivery/a",
    "https:/replicate.delivery/a",
    "https:///replicate.delivery/a",
    "https:////replicate.delivery/a",
    "https\t://replicate.delivery/a",
    " https://replicate.delivery/a",
    "https://replicate.delivery/a b",
    "https://replicate.delivery/a\r\nHost: evil.test",
    "https://replicate.delivery/ä",
    "https://replicate.delivery/" + "a" * 9000,
    # Allowed hosts, but not as allowed
    "http://replicate.delivery/a",
    "http://x.replicate.delivery/a",
    "https://replicate.delivery:443/a",
    "https://replicate.delivery:80/a",
    "https://replicate.delivery:{port}/a",
    "https://replicate.delivery:/a",
    "https://replicate.delivery./a",
    "https://.replicate.delivery/a",
    "https://x..replicate.delivery/a",
    "https://-.replicate.delivery/a",
    "https://user@replicate.delivery/a",
    "https://user:password@replicate.delivery/a",
    # Look-alikes
    "https://evilreplicate.delivery/a",
    "https://replicate-delivery.evil.test/a",
    "https://replicate.delivery.evil.test/a",
    "https://replicate.delivery@127.0.0.1:{port}/a",
    "http://127.0.0.1:8100@127.0.0.1:{port}/a",
    "http://127.0.0.1:{port}@127.0.0.1:8100/a",
    "https://127.0.0.1:{port}#@replicate.delivery/a",
    "https://127.0.0.1:{port}?@replicate.delivery/a",
    "https://127.0.0.1:{port}\\@replicate.delivery/a",
    "https://replicate.delivery\\.evil.test/a",
    "https://replicate.delivery%2eevil.test/a",
    "https://replicate%2edelivery/a",
    "https://replicate.delivery%00.evil.test/a",
    "https://replicate.delivery\x00.evil.test/a",
    "https://replicate\u3002delivery/a",
    "https://repl\u0456cate.delivery/a",
    "https://\uff52eplicate.delivery/a",
    "https://xn--replcate-9bf.delivery/a",
    # This machine and its neighbours, in every spelling
    "http://127.0.0.1:{port}/a",
    "https://127.0.0.1:{port}/a",
    "http://localhost:{port}/a",
    "http://LOCALHOST:{port}/a",
    "http://localhost.:{port}/a",
    "http://0.0.0.0:{port}/a",
    "http://0:{port}/a",
    "http://127.1:{port}/a",
    "http://127.0.0.1.:{port}/a",
    "http://127.000.000.001:{port}/a",
    "http://0177.0.0.1:{port}/a",
    "http://0x7f.0.0.1:{port}/a",
    "http://0x7f000001:{port}/a",
    "http://2130706433:{port}/a",
    "http://[::1]:{port}/a",
    "http://[::ffff:127.0.0.1]:{port}/a",
    "http://[::]:{port}/a",
    "http://[::1%25lo]:{port}/a",
    "https://[replicate.delivery]/a",
    "http://\u2460\u2461\u2466.0.0.1:{port}/a",
    "http://169.254.169.254/latest/meta-data/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "https://10.0.0.1/a",
    # The sandbox's entry is exact
    "http://127.0.0.1:8100.evil.test/a",
    "http://127.0.0.1:81000/a",
    "http://127.0.0.1:08100/a",
    "http://127.0.0.1:+8100/a",
    "http://x.127.0.0.1:8100/a",
    "http://127.0.0.1/a",
    "http://replicate.delivery:8100/a",
]


@pytest.fixture
async def client(scripted_server: Any) -> AsyncGenerator[ReplicateClient]:
    config = ReplicateConfig(
        token="r8_sekrit",
        base_url=f"{scripted_server.url}/v1",
        owner="visiona",
        delivery_hosts=(f"127.0.0.1:{scripted_server.port}",),
        max_output_bytes=LIMIT,
        retry_budget_s=0.1,
    )
    client = ReplicateClient(config)
    yield client
    await client.aclose()


async def test_a_strange_url_opens_no_connection(scripted_server: Any, tmp_path: Path) -> None:
    """The scripted server is where the URLs that hide an address lead to; it is not on the list."""
    sent: list[httpx.Request] = []

    async def record(request: httpx.Request) -> None:
        sent.append(request)

    config = ReplicateConfig(
        token="r8_sekrit", owner="visiona", delivery_hosts=("replicate.delivery", "127.0.0.1:8100")
    )
    client = ReplicateClient(config)
    client._http.event_hooks["request"].append(record)
    generator = ReplicateGenerator(client)

    for url in REFUSED:
        target = url.replace("{port}", str(scripted_server.port))
        with pytest.raises(ProviderRejected) as caught:
            await generator.download(target, tmp_path / "out")
        assert caught.value.reason in {"url_not_allowed", "host_not_allowed"}, target
        assert caught.value.status == 0

    assert len(REFUSED) >= 40
    assert sent == []
    assert scripted_server.connections == 0
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - one look at an empty folder
    await client.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "https://replicate.delivery/xezq/abc/out-0.webp",
        "https://REPLICATE.delivery/a",
        "HTTPS://replicate.delivery",
        "https://a.b.replicate.delivery/out-0.webp?x=1&y=%20#f",
        "https://pbxt.replicate.delivery?x=http://127.0.0.1/",
        "http://127.0.0.1:8100/out-0.webp",
        "https://127.0.0.1:8100/out-0.webp",
        "http://sandbox:80/a",
    ],
)
def test_listed_hosts_are_accepted(url: str) -> None:
    accepted = DeliveryHosts(("replicate.delivery", "127.0.0.1:8100", "sandbox:80")).accept(url)

    assert accepted.host in {"127.0.0.1", "sandbox"} or accepted.host.endswith("replicate.delivery")


def test_nothing_listed_accepts_nothing() -> None:
    with pytest.raises(DeliveryRefusedError):
        DeliveryHosts(()).accept("https://replicate.delivery/a")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_and_not_followed(
    code: int, scripted_server: Any, client: ReplicateClient, tmp_path: Path
) -> None:
    """Even to a host that is listed: what is behind it may redirect again."""
    location = f"{scripted_server.url}/elsewhere"
    scripted_server.answers = [scripted_server.reply(code, b"", location=location)]

    with pytest.raises(ProviderRejected, match="redirect_refused") as caught:
        await ReplicateGenerator(client).download(f"{scripted_server.url}/a", tmp_path / "out")

    assert caught.value.status == code
    assert len(scripted_server.exchanges) == 1


async def test_an_output_is_written_whole(
    scripted_server: Any, client: ReplicateClient, tmp_path: Path
) -> None:
    scripted_server.answers = [scripted_server.reply(200, b"x" * LIMIT)]
    (tmp_path / "out").write_bytes(b"from before")

    await ReplicateGenerator(client).download(f"{scripted_server.url}/out-0.webp?a=1", tmp_path / "out")

    assert (tmp_path / "out").read_bytes() == b"x" * LIMIT
    assert _names(tmp_path) == ["out"]
    assert scripted_server.exchanges[0].target == "/out-0.webp?a=1"


@pytest.mark.parametrize("announced", [True, False])
async def test_an_output_over_the_limit_leaves_the_target_alone(
    announced: bool, scripted_server: Any, client: ReplicateClient, tmp_path: Path
) -> None:
    body = b"x" * (LIMIT + 1)
    unannounced = scripted_server.raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body)
    scripted_server.answers = [scripted_server.reply(200, body) if announced else unannounced]
    (tmp_path / "out").write_bytes(b"from before")

    with pytest.raises(ProviderRejected, match="output_too_large"):
        await ReplicateGenerator(client).download(f"{scripted_server.url}/a", tmp_path / "out")

    assert (tmp_path / "out").read_bytes() == b"from before"
    assert _names(tmp_path) == ["out"]


async def test_an_output_that_breaks_off_is_fetched_again_from_the_start(
    scripted_server: Any, client: ReplicateClient, tmp_path: Path
) -> None:
    scripted_server.answers = [
        scripted_server.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal"),
        scripted_server.reply(503),
        scripted_server.reply(200, b"all of it"),
    ]

    await ReplicateGenerator(client).download(f"{scripted_server.url}/a", tmp_path / "out")

    assert (tmp_path / "out").read_bytes() == b"all of it"
    assert _names(tmp_path) == ["out"]


async def test_a_cancelled_download_leaves_nothing_behind(
    scripted_server: Any, client: ReplicateClient, tmp_path: Path
) -> None:
    begun = asyncio.Event()

    async def stall(_exchange: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal")
        await writer.drain()
        begun.set()
        await asyncio.sleep(60)

    scripted_server.answers = [stall]
    download = asyncio.create_task(
        ReplicateGenerator(client).download(f"{scripted_server.url}/a", tmp_path / "out")
    )
    await begun.wait()
    await asyncio.sleep(0.05)
    download.cancel()

    with pytest.raises(asyncio.CancelledError):
        await download
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("data:image/webp;base64," + base64.b64encode(b"picture").decode(), b"picture"),
        ("DATA:image/webp;charset=x;BASE64,cGljdHVyZQ==", b"picture"),
        ("data:image/webp;base64,cGljdHVyZQ%3D%3D", b"picture"),
        ("data:,a%20b", b"a b"),
        ("data:text/plain,", b""),
        ("data:image/png;base64," + base64.b64encode(b"x" * LIMIT).decode(), b"x" * LIMIT),
    ],
)
async def test_a_data_url_is_unpacked_without_a_connection(
    url: str, content: bytes, scripted_server: Any, client: ReplicateClient, tmp_path: Path
) -> None:
    await ReplicateGenerator(client).download(url, tmp_path / "out")

    assert (tmp_path / "out").read_bytes() == content
    assert scripted_server.connections == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:image/webp;base64", "malformed_output"),
        ("data:" + "a" * 500 + ";base64,AAAA", "malformed_output"),
        ("data:image/webp;base64,!!!!", "malformed_output"),
        ("data:image/webp;base64,AAAAA", "malformed_output"),
        ("data:image/webp;base64," + base64.b64encode(b"x" * (LIMIT + 1)).decode(), "output_too_large"),
        ("data:," + "x" * (LIMIT + 1), "output_too_large"),
        ("data:," + "x" * (LIMIT * 3 + 1), "output_too_large"),
    ],
)
async def test_a_bad_data_url_is_refused(
    url: str, reason: str, client: ReplicateClient, tmp_path: Path
) -> None:
    with pytest.raises(ProviderRejected, match=reason):
        await ReplicateGenerator(client).download(url, tmp_path / "out")

    assert _names(tmp_path) == []


class BigServer:
    """Takes and gives big bodies without holding them."""

    def __init__(self) -> None:
        self.received = hashlib.sha256()
        self.upload_head = b""
        self.given = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            await self._take(head, reader, writer)
        else:
            await self._give(writer)
        writer.close()

    async def _take(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        part_head = await reader.readuntil(b"\r\n\r\n")
        self.upload_head = head + part_head
        left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - len(part_head)
        closing = 4 + len(part_head.split(b"\r\n")[0]) + 2
        while left > closing:
            chunk = await reader.read(min(65536, left - closing))
            self.received.update(chunk)
            left -= len(chunk)
        await reader.readexactly(left)
        body = b'{"id": "file1", "urls": {"get": "https://api.test/v1/files/file1"}}'
        writer.write(b"HTTP/1.1 201 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async def _give(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            for _ in range(1600):
                writer.write(b"x" * 65536)
                await writer.drain()
                self.given += 65536
        except ConnectionError:
            pass  # the client has had enough


async def test_big_files_are_never_whole_in_memory(tmp_path: Path) -> None:
    big = BigServer()
    server = await asyncio.start_server(big.serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = ReplicateClient(
        ReplicateConfig(
            token="r8_sekrit",
            base_url=f"http://{address}/v1",
            delivery_hosts=(address,),
            max_output_bytes=24 * MIB,
            max_answer_bytes=MIB,
        )
    )
    archive = tmp_path / "Jane Doe.zip"
    archive.write_bytes(bytes(range(256)) * (24 * MIB // 256))

    tracemalloc.start()
    try:
        uploaded = await ReplicateTrainer(client).upload_archive(archive)
        with pytest.raises(ProviderRejected, match="output_too_large"):
            await ReplicateGenerator(client).download(f"http://{address}/a", tmp_path / "out")
        with pytest.raises(ProviderUnavailable, match="unusable_answer"):
            await ReplicateTrainer(client).get_training("job1")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        await client.aclose()
        server.close()
        await server.wait_closed()

    assert peak < 8 * MIB
    assert big.given < 40 * MIB
    assert b'name="content"; filename="training.zip"' in big.upload_head
    assert b"Content-Type: application/zip" in big.upload_head
    assert (uploaded.id, uploaded.url) == ("file1", "https://api.test/v1/files/file1")
    assert big.received.hexdigest() == hashlib.sha256(archive.read_bytes()).hexdigest()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
