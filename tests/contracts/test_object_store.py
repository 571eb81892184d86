"""One suite for the port `ObjectStore`, on a folder and over HTTP on a store that speaks S3."""

# ruff: noqa: ASYNC240 - small files, and nothing else waits for the loop

import asyncio
import re
import threading
from collections.abc import Generator
from hashlib import md5, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from visiona.adapters.objects import ObstoreObjectStore, open_store
from visiona.core.guard import TransactionOpenError, transaction_marker
from visiona.ports.storage import ObjectMissing

pytestmark = pytest.mark.contract

PREFIX = "visiona/objects"


class Bucket(ThreadingHTTPServer):
    """As much of S3 as obstore speaks: single and multipart PUT, ranges, listing, bulk delete."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), S3Handler)
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self.parts_seen = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class S3Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            if "uploadId" in self.query:
                self.server.uploads[self.query["uploadId"]][1][int(self.query["partNumber"])] = body
                self.server.parts_seen += 1
            elif self.headers.get("If-None-Match") == "*" and self.key in self.server.objects:
                self.answer(412)
                return
            else:
                self.server.objects[self.key] = (body, self.headers.get("Content-Type", ""))
        self.answer(200, etag=md5(body, usedforsecurity=False).hexdigest())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        with self.server.lock:
            if "delete" in self.query:
                keys = re.findall("<Key>(.*?)</Key>", body)
                for key in keys:
                    self.server.objects.pop(key, None)
                self.xml("DeleteResult", "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys))
            elif "uploads" in self.query:
                upload = str(len(self.server.uploads))
                self.server.uploads[upload] = (self.headers.get("Content-Type", ""), {})
                self.xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
            else:
                content_type, parts = self.server.uploads.pop(self.query["uploadId"])
                whole = b"".join(data for _, data in sorted(parts.items()))
                self.server.objects[self.key] = (whole, content_type)
                self.xml("CompleteMultipartUploadResult", "<ETag>&quot;whole&quot;</ETag>")

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.key, None)
        self.answer(204)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if "list-type" in self.query:
            found = sorted(key for key in self.server.objects if key.startswith(self.query.get("prefix", "")))
            stamp = "<LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size>"
            self.xml(
                "ListBucketResult", "".join(f"<Contents><Key>{k}</Key>{stamp}</Contents>" for k in found)
            )
            return
        if self.key not in self.server.objects:
            self.answer(404)
            return
        body, content_type = self.server.objects[self.key]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted and int(wanted[1]) >= len(body):
            self.answer(416)
        elif wanted:
            start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(body))
            span = f"bytes {start}-{end - 1}/{len(body)}"
            self.answer(206, body[start:end], content_type=content_type, content_range=span, etag="e")
        else:
            self.answer(200, body, content_type=content_type, etag="e")

    @property
    def key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/bucket/")

    @property
    def query(self) -> dict[str, str]:
        parsed = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        return {name: values[0] for name, values in parsed.items()}

    def xml(self, name: str, inner: str) -> None:
        self.answer(200, f"<{name}>{inner}</{name}>".encode())

    def answer(
        self,
        status: int,
        body: bytes = b"",
        *,
        content_type: str = "",
        content_range: str = "",
        etag: str = "",
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if content_type:
            self.send_header("Content-Type", content_type)
        if content_range:
            self.send_header("Content-Range", content_range)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class named it
        """Tests are quiet."""


@pytest.fixture
def bucket() -> Generator[Bucket]:
    with Bucket() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket) -> ObstoreObjectStore:
    if request.param == "folder":
        return open_store((tmp_path / "objects of ours").as_uri())
    keys = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "example", "region": "eu-north-1"}
    return open_store(f"s3://bucket/{PREFIX}", options={**keys, "endpoint": bucket.url, "allow_http": "true"})


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo"
    path.write_bytes(bytes(range(256)) * 40)
    return path


async def read(store: ObstoreObjectStore, key: str, byte_range: tuple[int, int] | None = None) -> bytes:
    found = await store.open(key, byte_range)
    return b"".join([piece async for piece in found.body])


async def test_what_is_put_is_read_back(store: ObstoreObjectStore, photo: Path, tmp_path: Path) -> None:
    await store.put_file("u7/photos/a.jpg", photo, "image/jpeg")
    found = await store.open("u7/photos/a.jpg")
    assert found.size == 10_240
    assert found.etag
    assert b"".join([piece async for piece in found.body]) == photo.read_bytes()
    await store.fetch_file("u7/photos/a.jpg", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == photo.read_bytes()


async def test_putting_again_replaces(store: ObstoreObjectStore, photo: Path) -> None:
    await store.put_file("u7/a", photo, "image/jpeg")
    photo.write_bytes(b"new")
    await store.put_file("u7/a", photo, "image/jpeg")
    assert await read(store, "u7/a") == b"new"


async def test_what_is_created_is_never_replaced(store: ObstoreObjectStore, bucket: Bucket) -> None:
    firsts = await asyncio.gather(
        *(store.put_bytes("u7.json", b"%d" % n, "application/json", create=True) for n in range(8))
    )
    assert sum(firsts) == 1
    assert await read(store, "u7.json") == b"%d" % firsts.index(True)
    assert await store.put_bytes("u7.json", b"another", "application/json")
    assert await read(store, "u7.json") == b"another"
    if bucket.objects:
        assert bucket.objects[f"{PREFIX}/u7.json"][1] == "application/json"


async def test_large_objects_pass_in_parts_and_in_order(
    store: ObstoreObjectStore, bucket: Bucket, tmp_path: Path
) -> None:
    source, copy = tmp_path / "large", tmp_path / "copy"
    source.write_bytes(b"".join(i.to_bytes(4, "big") for i in range(4_000_000)))
    await store.put_file("u7/large.zip", source, "application/zip")
    await store.fetch_file("u7/large.zip", copy)
    assert sha256(copy.read_bytes()).digest() == sha256(source.read_bytes()).digest()
    if bucket.objects:
        assert bucket.parts_seen == 4


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((0, 1), slice(0, 1)),
        ((10, 300), slice(10, 300)),
        ((10_000, 99_999), slice(10_000, None)),
        ((10_239, 2**62), slice(10_239, None)),
        ((10_240, 10_250), slice(0, 0)),
        ((99_999, 2**62), slice(0, 0)),
    ],
)
async def test_ranges(
    store: ObstoreObjectStore, photo: Path, wanted: tuple[int, int], expected: slice
) -> None:
    await store.put_file("u7/a", photo, "image/jpeg")
    found = await store.open("u7/a", wanted)
    assert found.size == 10_240  # the whole object's, whatever was asked for
    assert b"".join([piece async for piece in found.body]) == photo.read_bytes()[expected]


@pytest.mark.parametrize("wanted", [(-1, 5), (5, 5), (6, 5)])
async def test_no_range_at_all(store: ObstoreObjectStore, wanted: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="half-open"):
        await store.open("u7/a", wanted)


async def test_missing_objects_are_told_apart(store: ObstoreObjectStore, tmp_path: Path) -> None:
    for attempt in (store.open("u7/none"), store.open("u7/none", (0, 5))):
        with pytest.raises(ObjectMissing):
            await attempt
    with pytest.raises(ObjectMissing):
        await store.fetch_file("u7/none", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


async def test_delete_minds_nothing_that_is_gone(store: ObstoreObjectStore, photo: Path) -> None:
    kept, gone = "u7/kept", [f"u7/{index}" for index in range(25)]
    for key in (kept, *gone):
        await store.put_file(key, photo, "image/jpeg")
    await store.delete([])
    await store.delete(iter(["u7/never", *gone, "u8/never", gone[0]]))
    assert await store.list_keys("") == [kept]
    await store.delete(gone)
    assert await read(store, kept) == photo.read_bytes()


async def test_lists_whole_segments(store: ObstoreObjectStore, photo: Path) -> None:
    for key in ("u1/b", "u1/a", "u10/a", "u1/photos/a"):
        await store.put_file(key, photo, "image/jpeg")
    assert await store.list_keys("u1") == ["u1/a", "u1/b", "u1/photos/a"]
    assert await store.list_keys("u1/") == ["u1/a", "u1/b", "u1/photos/a"]
    assert await store.list_keys("") == ["u1/a", "u1/b", "u1/photos/a", "u10/a"]
    assert await store.list_keys("u2") == []


async def test_check_leaves_nothing_behind(store: ObstoreObjectStore, bucket: Bucket, tmp_path: Path) -> None:
    await store.check()
    assert not bucket.objects
    assert not [path for path in (tmp_path / "objects of ours").rglob("*") if path.is_file()]
    assert await store.list_keys("") == []


async def test_many_at_once(store: ObstoreObjectStore, photo: Path) -> None:
    keys = [f"u{index}/photos/{index}.jpg" for index in range(40)]
    await asyncio.gather(*(store.put_file(key, photo, "image/jpeg") for key in keys))
    bodies = await asyncio.gather(*(read(store, key) for key in keys))
    assert set(bodies) == {photo.read_bytes()}
    assert await store.list_keys("") == sorted(keys)


async def test_is_not_called_inside_a_transaction(store: ObstoreObjectStore, photo: Path) -> None:
    with transaction_marker():
        for attempt in (
            store.put_file("u7/a", photo, "image/jpeg"),
            store.open("u7/a"),
            store.delete(["u7/a"]),
            store.list_keys("u7"),
            store.check(),
        ):
            with pytest.raises(TransactionOpenError):
                await attempt
