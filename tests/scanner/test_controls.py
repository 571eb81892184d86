"""The scan's own proof: a word in each form is found, and by the part of the scan that is for it."""

import base64
import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from psycopg.types.json import Jsonb
from tests.factories.canaries import canary
from tests.scanner.needles import Needles, forms_of
from tests.scanner.places import Places, told
from tests.scanner.scanning import Scan

WORD = canary("planted")
NEEDLES = Needles({"it": WORD})


def around(data: bytes, seed: int = 7) -> bytes:
    """In the middle of something else, at an odd place."""
    dice = random.Random(seed)
    return dice.randbytes(4099) + data + dice.randbytes(5003)


def text() -> bytes:
    return f"a letter to {WORD}, who reads it. ".encode() * 3


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def zipped(data: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("folder/letter.txt", data)
    return buffer.getvalue()


def tarred(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("letter")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def picture(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "PNG", **options)
    return buffer.getvalue()


def note() -> bytes:
    info = PngInfo()
    info.add_text("Comment", text().decode(), zip=True)
    return picture(pnginfo=info)


def pixels() -> bytes:
    """In chunks so small that none holds the word."""
    rows = b"".join(b"\0" + text()[:60].ljust(64) for _ in range(2))
    packed = zlib.compress(rows)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (64).to_bytes(4, "big") + (2).to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = b"".join(chunk(b"IDAT", packed[at : at + 11]) for at in range(0, len(packed), 11))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


# What it is packed in, and each part of the scan without which it is not found.
PACKED: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "gzip": (lambda: around(gzip.compress(text())), ("gzip",)),
    "gzip, cut off": (lambda: gzip.compress(text() + random.Random(1).randbytes(9000))[:-500], ("gzip",)),
    "zlib": (lambda: around(zlib.compress(text())), ("zlib",)),
    "zlib, large": (
        lambda: zlib.compress(random.Random(2).randbytes(9 << 20) + text() + bytes(9 << 20)),
        ("zlib",),
    ),
    "deflate": (lambda: raw_deflate(text()), ("deflate",)),
    "bz2": (lambda: around(bz2.compress(text())), ("bz2",)),
    "xz": (lambda: around(lzma.compress(text())), ("xz",)),
    "lzma": (lambda: around(lzma.compress(text(), lzma.FORMAT_ALONE)), ("lzma",)),
    "a ZIP": (lambda: around(zipped(text())), ("zip",)),
    "a ZIP by bzip2": (lambda: zipped(text(), zipfile.ZIP_BZIP2), ("bz2",)),
    "a ZIP by LZMA": (lambda: zipped(text(), zipfile.ZIP_LZMA), ("zip",)),
    "a ZIP in a ZIP": (lambda: zipped(zipped(zipped(text()))), ("zip",)),
    "a ZIP in a tar in xz": (lambda: lzma.compress(tarred(zipped(text()))), ("zip", "xz")),
    "a note in a PNG": (note, ("zlib",)),
    "a colour profile in a PNG": (lambda: picture(icc_profile=text()), ("zlib",)),
    "pixels of a PNG": (lambda: around(pixels()), ("png",)),
    "gzip in base64 in JSON": (
        lambda: json.dumps({"x": base64.b64encode(gzip.compress(text())).decode()}).encode(),
        ("base64", "gzip"),
    ),
    "lines of base64": (lambda: base64.encodebytes(zipped(text())), ("base64", "zip")),
}


@pytest.mark.parametrize("kind", PACKED)
def test_what_is_packed_is_found(kind: str) -> None:
    make, parts = PACKED[kind]
    data = make()
    found = scanned(data)
    assert {finding[0] for finding in found} == {"it"}, kind
    for part in parts:
        assert not scanned(data, without={part}), f"{kind} is found without {part}"


def scanned(data: bytes, without: set[str] = frozenset()) -> set[tuple[str, str]]:  # type: ignore[assignment] # never changed
    scan = Scan(NEEDLES, without)
    # In pieces, between which anything may be cut.
    scan.pieces("x", [data[at : at + 70_001] for at in range(0, len(data), 70_001)])
    return {(finding.name, finding.form) for finding in scan.findings}


def test_each_disguise_is_found() -> None:
    forms = forms_of(WORD)
    for written in forms.values():
        others = {other for other, same in forms.items() if same.lower() == written.lower()}
        for data in (around(written), around(written.upper()), written):
            assert {found for _, found in NEEDLES.found(data)} >= others
            assert not Needles({"it": WORD}, frozenset(others)).found(data)


def test_a_word_on_the_border_of_what_is_read_is_found(tmp_path: Path) -> None:
    for at in range((4 << 20) - len(WORD) - 1, (4 << 20) + 2):
        (tmp_path / "file").write_bytes(bytes(at) + WORD.encode() + bytes(100))
        scan = Scan(NEEDLES)
        scan.folder(tmp_path, "folder")
        assert {finding.place for finding in scan.findings} == {"folder/file"}


def test_names_of_files_are_read(tmp_path: Path) -> None:
    (tmp_path / f"{WORD}.txt").touch()
    scan = Scan(NEEDLES)
    scan.folder(tmp_path, "folder")
    assert {(one.place, one.form) for one in scan.findings} >= {(f"folder/{WORD}.txt", "raw")}


NOISE = "".join(random.Random(3).choices("bcdfghjklmnpqrstvwxyzBCDFGHJKLMNPQRSTVWXYZ0123456789", k=30_000))
FILLING = "to be or not to be, that is the question; " * 60


def halves(word: str) -> str:
    """Before the word: compressed, it is copies of these, and nothing of it is to be read as it is."""
    return f"{word[:11]} and {word[11:]}, "


def packable(word: str) -> str:
    return f"{FILLING}{halves(word)}{word}"


def cut(word: str) -> str:
    """On the border of two pieces, which have 1996 bytes each."""
    return f"{NOISE[: 3 * 1996 - 11]}{word}{NOISE[-500:]}"


def long(word: str) -> str:
    return f"{FILLING}{NOISE[:9000]}{halves(word) * 200}{word}"


# How a column keeps it, what is written, and the parts without which it is not found.
KEPT: dict[str, tuple[str, Callable[[str], str], tuple[str, ...]]] = {
    "short": ("plain", str, ()),
    "pglz": ("main compression pglz", packable, ("pglz",)),
    "pieces": ("external", cut, ("pieces",)),
    "pieces of pglz": ("extended compression pglz", long, ("pieces", "pglz")),
}


class Server:
    """Where PostgreSQL keeps things, as it has written them by now."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.root = Path(self.one("select current_setting('data_directory')"))
        self.one("select pg_switch_wal()::text")
        self.first = self.one("select pg_walfile_name(pg_current_wal_insert_lsn())")

    def one(self, query: str) -> str:
        row = self.connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def tables(self) -> list[Path]:
        """The files of `letters`."""
        self.connection.execute("checkpoint")
        toast = "(select reltoastrelid from pg_class where oid = 'letters'::regclass)"
        paths = [self.one(f"select pg_relation_filepath({table})") for table in ("'letters'", toast)]
        return [self.root / path for path in paths if path]

    def log(self) -> list[Path]:
        self.connection.execute("checkpoint")  # what was committed here is written later
        last = self.one("select pg_walfile_name(pg_current_wal_insert_lsn())")
        return [p for p in sorted((self.root / "pg_wal").glob("0*")) if self.first <= p.name <= last]


@pytest.fixture
def server(own_database_url: str) -> Iterator[Server]:
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        yield Server(connection)


def read(paths: list[Path], needles: Needles, without: set[str], *, as_log: bool = False) -> set[str]:
    """Names of what is found."""
    scan = Scan(needles, without)
    if as_log:
        scan.log(paths, "log")
    for path in paths if not as_log or "log" in scan.without else []:
        scan.file(path, path.name, server=True)
    return {finding.name for finding in scan.findings}


@pytest.mark.parametrize("kind", KEPT)
def test_what_is_in_a_table_is_found_there_and_in_the_log(server: Server, kind: str) -> None:
    how, written, parts = KEPT[kind]
    word = canary("kept")
    needles = Needles({"it": word})
    server.connection.execute("create table letters (number bigint, words text)")
    server.connection.execute(f"alter table letters alter words set storage {how.split()[0]}".encode())
    if "compression" in how:
        server.connection.execute(
            f"alter table letters alter words set compression {how.split()[-1]}".encode()
        )
    server.connection.execute("insert into letters values (1, %s)", [written(word)])
    for deleted in (False, True):
        if deleted:  # it is still in the page
            server.connection.execute("delete from letters")
        for paths, as_log in ((server.tables(), False), (server.log(), True)):
            assert read(paths, needles, set(), as_log=as_log) == {"it"}
            for part in parts:
                assert not read(paths, needles, {part}, as_log=as_log), f"found without {part}"
    server.connection.execute("vacuum (full, freeze) letters")
    assert not read(server.tables(), needles, set())


def test_values_by_lz4_are_read() -> None:
    """As a server writes them that has it, which not every one has."""
    first, second = WORD[:11].encode(), WORD[11:].encode()
    between = b" and "
    size = len(first + between + second + first + second) + 5
    token = bytes([0xF0 | len(first) - 4, len(first + between + second) - 15])
    block = token + first + between + second + len(first + between + second).to_bytes(2, "little")
    block += bytes([len(second) - 4]) + len(first + second).to_bytes(2, "little") + b"\x50 ends"
    value = ((len(block) + 8) << 2 | 2).to_bytes(4, "little") + (1 << 30 | size).to_bytes(4, "little") + block
    for seed in range(4):
        data = around(bytes(seed) + value)
        for without, found in ((set(), {"it"}), ({"lz4"}, set())):
            scan = Scan(NEEDLES, without)
            scan.data("page", data, server=True)
            assert {one.name for one in scan.findings} == found


def test_compressed_pages_in_the_log_are_read(server: Server) -> None:
    word = canary("logged")
    needles = Needles({"it": word})
    server.connection.execute("create table letters (words text storage plain)")
    server.connection.execute("insert into letters values (%s)", [packable(word)])
    server = Server(server.connection)
    assert not read(server.log(), needles, set(), as_log=True)
    server.connection.execute("set wal_compression = pglz")
    server.connection.execute("vacuum full letters")
    assert read(server.log(), needles, set(), as_log=True) == {"it"}
    assert not read(server.log(), needles, {"pglz"}, as_log=True)
    assert not read(server.log(), needles, {"log"}, as_log=True)


def test_what_is_cut_by_a_page_of_the_log_is_found(server: Server) -> None:
    words = {str(number): canary("cut") for number in range(4000)}
    server.connection.execute(
        "select count(pg_logical_emit_message(true, 'x', word)) from unnest(%s::text[]) word",
        [[*words.values()]],
    )
    needles = Needles(words)
    assert read(server.log(), needles, set(), as_log=True) == set(words)
    assert len(read(server.log(), needles, {"log"}, as_log=True)) < len(words)


def test_memory_does_not_grow_with_what_is_read(tmp_path: Path) -> None:
    """A hundred megabytes of zeros and a word behind them, packed twice."""
    inner = zlib.compressobj()
    outer = zlib.compressobj()
    packed = b"".join(outer.compress(inner.compress(bytes(1 << 20))) for _ in range(100))
    packed += outer.compress(inner.compress(text()) + inner.flush()) + outer.flush()
    (tmp_path / "file").write_bytes(packed)
    tracemalloc.start()
    try:
        scan = Scan(NEEDLES)
        scan.folder(tmp_path, "folder")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {finding.name for finding in scan.findings} == {"it"}
    assert peak < 50 << 20


def test_each_place_is_read(server: Server, own_database_url: str, tmp_path: Path) -> None:
    """One word in every place, in a disguise of its own."""
    since = time.time() - 1
    data, backups, finished = (tmp_path / name for name in ("data", "backups", "wal"))
    words = {
        name: canary("place")
        for name in ("queue", "row", "log", "object", "export", "key", "backup", "finished")
    }
    insert = "insert into procrastinate.procrastinate_jobs (queue_name, task_name, status, args) values"
    arguments = Jsonb({"of": words["queue"].encode().hex()})
    server.connection.execute(f"{insert} ('parked', 'test', 'cancelled', %s)".encode(), [arguments])
    server.connection.execute("create table letters (words text)")
    server.connection.execute("insert into letters values (%s)", [words["row"]])
    for path, written in {
        data / "worker.log": base64.b64encode(b"??" + words["log"].encode() + b"?"),
        data / "objects" / "u1" / "photos" / "1.jpg": around(words["object"].encode()),
        data / "objects" / "u1" / "exports" / "1.zip": zipped(zipped(words["export"].encode())),
        data / "keys" / "u1.json": words["key"].encode("utf-16-be"),
        backups / "sets" / "1" / "base": gzip.compress(tarred(words["backup"].encode())),
        finished / "000000010000000000000001": around(words["finished"].encode()),
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written)
    places = Places(
        own_database_url, server.root, data, backups=backups, log=finished, first=server.first, since=since
    )
    found = told(places.scan(Needles(words)).findings)
    assert found.keys() == words.keys()
    assert "public.letters.words" in found["row"]
    assert "procrastinate.procrastinate_jobs.args" in found["queue"]
    for name, place in {
        "row": "server/base/", "queue": "server/base/", "finished": "log/", "log": "data/worker.log",
        "object": "data/objects/", "export": "data/objects/u1/exports/1.zip > zip > zip", "key": "data/keys/",
        "backup": "backups/sets/1/base > gzip",
    }.items():  # fmt: skip
        assert any(one.startswith(place) for one in found[name]), name
    server.connection.execute("drop table letters")
    server.connection.execute("update procrastinate.procrastinate_jobs set args = '{}'")
    rows = {one.name for one in places.scan_rows(Needles(words)).findings}
    assert rows == set()
    assert told(places.scan(Needles(words)).findings)["row"] >= {f"log/{server.first}"}
