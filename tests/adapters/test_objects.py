"""Object stores: keys that try to escape, private files, flat memory, and stores that do not work."""

# ruff: noqa: ASYNC240 - small files, and nothing else waits for the loop

import asyncio
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from visiona.adapters.objects import ObstoreObjectStore, open_store
from visiona.ports.storage import StoredObject

HOSTILE_KEYS = [
    "",
    "/",
    ".",
    "..",
    "../u1/secret",
    "../../etc/passwd",
    "u7/../u1/secret",
    "u7/..",
    "u7/./a",
    "u7/.../a",
    "u7/a..b",
    "/etc/passwd",
    "//etc/passwd",
    "u7//a",
    "u7/",
    "u7/a/",
    "./a",
    ".probe/a",
    "-a",
    "_a",
    "u7\\..\\u1",
    "u7\\a",
    "%2e%2e/u1",
    "u7/%2e%2e/u1/a",
    "u7/%00",
    "u7/a\0.jpg",
    "u7/a\n",
    "u7/a\r\nX-Header: 1",
    "u7/a b",
    "u7/a?versionId=1",
    "u7/a#1",
    "u7/a*",
    "U7/a",
    "u7/\u202egpj.exe",
    "u7/\uff0e\uff0e/a",
    "u7/\u2024\u2024/a",
    "u7/e\u0301",
    "file:///etc/passwd",
    "http://169.254.169.254/",
    "c:/windows",
    "~/a",
    "$HOME/a",
    "a" * 513,
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store" / "objects"


@pytest.fixture
def store(folder: Path) -> ObstoreObjectStore:
    return open_store(folder.as_uri())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"private")
    return path


@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_hostile_keys_go_nowhere(
    store: ObstoreObjectStore, folder: Path, source: Path, tmp_path: Path, key: str
) -> None:
    await store.put_file("u7/mine", source, "image/jpeg")
    before = sorted(tmp_path.rglob("*"))
    for attempt in (
        store.put_file(key, source, "image/jpeg"),
        store.open(key),
        store.fetch_file(key, tmp_path / "copy"),
        store.delete(["u7/mine", key]),
    ):
        with pytest.raises(ValueError, match="not an object key"):
            await attempt
    assert sorted(tmp_path.rglob("*")) == before
    assert (folder / "u7" / "mine").read_bytes() == b"private"


@pytest.mark.parametrize(
    "key", ["a", "u7/photos/0f.jpg", "u7/a-b_c.1", f"{'a' * 200}/{'a' * 200}", "7/.hidden"]
)
async def test_ordinary_keys_are_keys(store: ObstoreObjectStore, source: Path, key: str) -> None:
    await store.put_file(key, source, "image/jpeg")
    assert await store.list_keys("") == [key]


async def test_files_are_their_owners_alone(store: ObstoreObjectStore, folder: Path, source: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    await store.put_file("u7/photos/a.jpg", source, "image/jpeg")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert set(modes.values()) == {0o700, 0o600}
    assert all((mode == 0o700) == path.is_dir() for path, mode in modes.items())


async def test_nothing_happens_before_first_use(folder: Path) -> None:
    open_store(folder.as_uri())
    assert not folder.exists()


def test_importing_costs_no_sdk() -> None:
    code = (
        "import sys, visiona.adapters.objects as o; o.open_store('s3://b/p'); print('obstore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "objects",
        "file://objects",
        "file:///",
        "file:objects",
        "memory:///",
        "http://host/a",
        "ftp://h/a",
        "s3://",
    ],
)
def test_unusable_places_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"file:///"):
        open_store(url)


async def test_check_tells_a_store_that_cannot_be_written(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    with pytest.raises(OSError, match="File exists"):
        await open_store(folder.as_uri()).check()


async def test_check_tells_a_store_that_lies(
    store: ObstoreObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lie() -> AsyncIterator[bytes]:
        yield b"something else"

    async def get(key: str) -> StoredObject:
        return StoredObject(1, key, lie())

    monkeypatch.setattr(store, "_get", get)
    with pytest.raises(RuntimeError, match="something else"):
        await store.check()
    assert not [path for path in folder.rglob("*") if path.is_file()]


async def test_check_tells_a_store_that_is_not_there() -> None:
    nobody = {"endpoint": "http://127.0.0.1:9", "allow_http": "true", "access_key_id": "k"}
    keys = {"secret_access_key": "s", "region": "eu-north-1", "connect_timeout": "1 second"}
    with pytest.raises(Exception, match="rror"):
        await open_store("s3://bucket", options=nobody | keys).check()


async def test_a_broken_download_leaves_nothing(
    store: ObstoreObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks_off() -> AsyncIterator[bytes]:
        yield b"first half"
        raise ConnectionResetError

    async def get(key: str, byte_range: tuple[int, int] | None) -> StoredObject:
        assert byte_range is None
        return StoredObject(20, key, breaks_off())

    monkeypatch.setattr(store, "_get", get)
    with pytest.raises(ConnectionResetError):
        await store.fetch_file("u7/a", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


async def test_readers_never_see_half_an_object(store: ObstoreObjectStore, tmp_path: Path) -> None:
    versions = [bytes([value]) * 3_000_000 for value in (1, 2)]
    for value, data in enumerate(versions):
        (tmp_path / str(value)).write_bytes(data)
    await store.put_file("u7/a", tmp_path / "0", "image/jpeg")

    async def write() -> None:
        for turn in range(12):
            await store.put_file("u7/a", tmp_path / str(turn % 2), "image/jpeg")

    writing = asyncio.create_task(write())
    while not writing.done():
        found = await store.open("u7/a")
        assert b"".join([piece async for piece in found.body]) in versions
    await writing


async def test_memory_stays_flat(store: ObstoreObjectStore, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(200_000_000)
    await store.check()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await store.put_file("u7/large", large, "application/zip")
    await store.fetch_file("u7/large", tmp_path / "copy")
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    arrived = (tmp_path / "copy").stat().st_size
    shutil.rmtree(tmp_path)  # pytest would keep it for three runs
    assert arrived == 200_000_000
    assert grown_kb < 80_000
