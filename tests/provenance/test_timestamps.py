"""A timestamp authority is asked where one is set, and what it says is in the signature."""

import json
import shutil
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import c2pa
import pytest
from tests.provenance.conftest import kit

from visiona.adapters.imaging import ChildImageProcessor

CONFIGURATION = """
[tsa]
default_tsa = authority
[authority]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""
NAMES = ("-subj", "/O=Timestamps for tests/CN=Timestamps for tests")
USAGE = (
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=critical,timeStamping",
    "basicConstraints=critical,CA:FALSE",
)


@contextmanager
def authority(folder: Path, *, broken: bool = False) -> Generator[tuple[str, list[str]]]:
    """OpenSSL's, over HTTP: its address, and what it was asked as."""
    extensions = [part for usage in USAGE for part in ("-addext", usage)]
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *NAMES, *extensions),
        *("-keyout", str(folder / "tsa.key"), "-out", str(folder / "tsa.pem")),
    )
    (folder / "serial").write_text("01")
    (folder / "tsa.cnf").write_text(CONFIGURATION.format(folder=folder))
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.headers["content-type"])
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(500 if broken else 200)
            answer = b""
            if not broken:
                query, reply = str(folder / "query"), str(folder / "reply")
                _openssl(
                    "ts", "-reply", "-config", str(folder / "tsa.cnf"), "-queryfile", query, "-out", reply
                )
                answer = Path(reply).read_bytes()
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Not on the terminal of the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


async def test_the_time_is_witnessed_where_an_authority_is_set(
    portrait: dict[str, Path], tmp_path: Path
) -> None:
    with authority(tmp_path) as (url, asked):
        processor = ChildImageProcessor(lambda: replace(kit(), timestamp_url=url))
        image = await processor.process_generated(portrait["jpeg"], tmp_path)
        await processor.aclose()
    assert asked == ["application/timestamp-query"] * 2
    with image.master.open("rb") as file, c2pa.Reader("image/jpeg", file) as reader:
        store = json.loads(reader.json())
    assert store["validation_state"] == "Valid"
    assert store["manifests"][store["active_manifest"]]["signature_info"]["time"]


async def test_without_the_witness_that_was_set_nothing_is_delivered(
    portrait: dict[str, Path], tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    with authority(tmp_path, broken=True) as (url, asked):
        processor = ChildImageProcessor(lambda: replace(kit(), timestamp_url=url))
        with pytest.raises(RuntimeError, match="could not be signed"):
            await processor.process_generated(portrait["jpeg"], outputs)
        await processor.aclose()
    assert asked
    assert list(outputs.iterdir()) == []
