"""Generated images say what they are: by signature, by label and in their pixels."""

# ruff: noqa: ASYNC240 - small files, and nothing else waits for the loop

import asyncio
import io
import json
import os
import socket
import threading
import zlib
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import c2pa
import numpy as np
import pytest
from PIL import Image
from tests.provenance.conftest import kit

from visiona.adapters.imaging import ChildImageProcessor
from visiona.adapters.provenance import make_certificate, signing_kit
from visiona.adapters.provenance.certificates import trust_of
from visiona.ports.imaging import ProcessedImage
from visiona.ports.provenance import Credentials, Signer

TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FORMS = ["jpeg", "png", "webp"]


def validated(path: Path, media_type: str) -> dict[str, object]:
    """By the library itself, with this signer's authority as the only trust anchor."""
    trust = {"trust": {"trust_anchors": trust_of(kit())["trust_anchors"]}}
    with (
        c2pa.Context(c2pa.Settings.from_dict(trust)) as context,
        path.open("rb") as file,
        c2pa.Reader(media_type, file, context=context) as reader,
    ):
        return json.loads(reader.json())


def assert_signed(path: Path, media_type: str) -> None:
    store = validated(path, media_type)
    assert store["validation_state"] == "Trusted", store["validation_results"]
    manifest = store["manifests"][store["active_manifest"]]
    [assertion] = [one for one in manifest["assertions"] if one["label"].startswith("c2pa.actions")]
    [action] = assertion["data"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", TRAINED)
    assert manifest["claim_generator_info"][0]["name"] == "Visiona"
    assert manifest["title"] == "Visiona image"


def packet_of(path: Path) -> str:
    with Image.open(path) as image:
        found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return found if isinstance(found, str) else found.decode()


def saved(image: Image.Image, path: Path, form: str = "JPEG", quality: int = 75) -> Path:
    image.save(path, form, quality=quality)
    return path


@pytest.mark.parametrize("form", FORMS)
async def test_master_and_thumbnail_are_signed_labelled_and_marked(
    processor: ChildImageProcessor, portrait: dict[str, Path], tmp_path: Path, form: str
) -> None:
    image = await processor.process_generated(portrait[form], tmp_path)
    assert image.size == image.master.stat().st_size
    assert image.sha256 == sha256(image.master.read_bytes()).hexdigest()
    assert {path.name for path in tmp_path.iterdir()} == {image.master.name, image.thumbnail.name}
    for path, media_type in ((image.master, image.content_type), (image.thumbnail, "image/webp")):
        assert_signed(path, media_type)
        assert f'DigitalSourceType="{TRAINED}"' in packet_of(path)
        assert 'photoshop:Credit="Made with AI by Visiona"' in packet_of(path)
        found = await processor.check_provenance(path)
        assert (found.credentials, found.signer) == (Credentials.VALID, Signer.OURS)
        assert (found.generator, found.signer_name) == ("Visiona", "Visiona tests Content Credentials")
        assert found.signed_as_ai
        assert found.labelled_as_ai
        assert found.watermarked


async def test_photos_of_people_get_nothing(
    processor: ChildImageProcessor, portrait: dict[str, Path], tmp_path: Path
) -> None:
    photo = await processor.process_photo(portrait["jpeg"], tmp_path)
    for path in (portrait["jpeg"], photo.master, photo.thumbnail):
        found = await processor.check_provenance(path)
        assert found.credentials is Credentials.NONE
        assert not found.made_with_ai


async def test_a_photo_made_of_an_image_loses_its_papers_and_not_its_mark(
    processor: ChildImageProcessor, portrait: dict[str, Path], tmp_path: Path
) -> None:
    image = await processor.process_generated(portrait["png"], tmp_path)
    photo = await processor.process_photo(image.master, tmp_path)
    found = await processor.check_provenance(photo.master)
    assert (found.credentials, found.labelled_as_ai) == (Credentials.NONE, False)
    assert found.watermarked


TREATMENTS: dict[str, Callable[[Image.Image], tuple[Image.Image, int]]] = {
    "JPEG of quality 75": lambda image: (image, 75),
    "half the size": lambda image: (image.resize((384, 512), Image.Resampling.LANCZOS), 95),
    "both": lambda image: (image.resize((384, 512), Image.Resampling.LANCZOS), 75),
    "a quarter, squashed": lambda image: (image.resize((200, 200), Image.Resampling.BICUBIC), 85),
    "mirrored": lambda image: (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 75),
    "turned": lambda image: (image.transpose(Image.Transpose.ROTATE_90), 75),
    "grey": lambda image: (image.convert("L"), 75),
}


@pytest.mark.parametrize("treatment", TREATMENTS)
async def test_the_mark_survives(
    processor: ChildImageProcessor, portrait: dict[str, Path], tmp_path: Path, treatment: str
) -> None:
    image = await processor.process_generated(portrait["webp"], tmp_path)
    with Image.open(image.master) as opened:
        treated, quality = TREATMENTS[treatment](opened.convert("RGB"))
    found = await processor.check_provenance(saved(treated, tmp_path / "treated.jpg", quality=quality))
    assert found.credentials is Credentials.NONE
    assert found.watermarked


async def test_the_mark_is_not_seen(
    processor: ChildImageProcessor, portrait: dict[str, Path], tmp_path: Path
) -> None:
    image = await processor.process_generated(portrait["png"], tmp_path)
    with Image.open(image.master) as marked, Image.open(portrait["png"]) as plain:
        change = np.asarray(marked, np.float64) - np.asarray(plain, np.float64)
    assert 10 * np.log10(255**2 / (change**2).mean()) >= 38


@pytest.mark.parametrize("form", FORMS)
async def test_a_change_is_seen(
    processor: ChildImageProcessor, portrait: dict[str, Path], tmp_path: Path, form: str
) -> None:
    image = await processor.process_generated(portrait[form], tmp_path)
    data = image.master.read_bytes()
    changed = tmp_path / "changed"
    if form == "png":  # its words are compressed: a comment is put before its end
        chunk = b"tEXtComment\0true story"
        end = len(data) - 12
        chunk = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        changed.write_bytes(data[:end] + chunk + data[end:])
    else:
        words = b'"Made with AI by Visiona"'
        assert words in data
        changed.write_bytes(data.replace(words, b'"Made by a man with a pen"'[: len(words) - 1] + b'"'))
    found = await processor.check_provenance(changed)
    assert found.credentials is Credentials.CHANGED
    assert (found.signer, found.signed_as_ai) == (None, False)


async def test_other_signers_are_told_from_us(
    portrait: dict[str, Path], tmp_path: Path, processor: ChildImageProcessor
) -> None:
    other = signing_kit(*make_certificate("Somebody else"))
    theirs, trusting = (
        ChildImageProcessor(lambda: other),
        ChildImageProcessor(lambda: replace(kit(), trusted=trust)),
    )
    trust = trust_of(other)["trust_anchors"]
    try:
        image = await theirs.process_generated(portrait["jpeg"], tmp_path)
        unknown = await processor.check_provenance(image.master)
        trusted = await trusting.check_provenance(image.master)
    finally:
        await theirs.aclose()
        await trusting.aclose()
    assert (unknown.credentials, unknown.signer) == (Credentials.VALID, Signer.UNKNOWN)
    assert (trusted.credentials, trusted.signer) == (Credentials.VALID, Signer.TRUSTED)
    assert unknown.signer_name == "Somebody else Content Credentials"


async def test_papers_of_another_image_are_no_proof(
    processor: ChildImageProcessor, portrait: dict[str, Path], tmp_path: Path
) -> None:
    """Cut out of an image of ours, and put into another."""
    signed = (await processor.process_generated(portrait["jpeg"], tmp_path)).master.read_bytes()
    papers, at = b"", 2
    while signed[at + 1] != 0xDA:  # until the picture begins
        end = at + 2 + int.from_bytes(signed[at + 2 : at + 4], "big")
        papers += signed[at:end] if signed[at + 1] == 0xEB else b""
        at = end
    assert len(papers) > 1000
    other = portrait["jpeg"].read_bytes()
    grafted = tmp_path / "grafted"
    grafted.write_bytes(other[:2] + papers + other[2:])
    found = await processor.check_provenance(grafted)
    assert found.credentials is Credentials.CHANGED
    assert (found.signer, found.signed_as_ai) == (None, False)


async def test_a_certificate_that_bears_our_name_is_not_ours(
    portrait: dict[str, Path], tmp_path: Path, processor: ChildImageProcessor
) -> None:
    forged = signing_kit(*make_certificate(kit().names[0]))
    assert forged.names == kit().names
    forger = ChildImageProcessor(lambda: forged)
    try:
        image = await forger.process_generated(portrait["jpeg"], tmp_path)
    finally:
        await forger.aclose()
    found = await processor.check_provenance(image.master)
    assert (found.credentials, found.signer) == (Credentials.VALID, Signer.UNKNOWN)


async def test_nobody_fetches_what_a_file_points_to(
    processor: ChildImageProcessor, portrait: dict[str, Path], tmp_path: Path
) -> None:
    """Credentials may be said to lie elsewhere. The positive control asks the library as it is by default."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        port = listener.getsockname()[1]
        packet = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            '<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" '
            f'dcterms:provenance="http://127.0.0.1:{port}/manifest.c2pa"/></rdf:RDF></x:xmpmeta>'
        )
        pointing = tmp_path / "pointing.jpg"
        with Image.open(portrait["jpeg"]) as image:
            image.save(pointing, xmp=packet.encode())
        heard: list[bool] = []

        def listen() -> None:
            connection, _ = listener.accept()
            heard.append(True)
            connection.close()

        found = await processor.check_provenance(pointing)
        assert not found.made_with_ai
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.settimeout(5)
        thread = threading.Thread(target=listen)
        thread.start()
        with pytest.raises(c2pa.C2paError):
            await asyncio.to_thread(c2pa.Reader, "image/jpeg", io.BytesIO(pointing.read_bytes()))
        thread.join()
        assert heard == [True]


async def test_the_key_is_in_no_list_of_processes(
    processor: ChildImageProcessor, portrait: dict[str, Path], tmp_path: Path
) -> None:
    await processor.process_generated(portrait["jpeg"], tmp_path)
    await processor.check_provenance(portrait["jpeg"])
    secret = kit().key.splitlines()[1].encode()
    for holder in (processor._signer, processor._pictures):
        assert holder._nursery
        pid = holder._nursery._process.pid
        for name in ("cmdline", "environ"):
            assert secret not in Path(f"/proc/{pid}/{name}").read_bytes()
    # What decodes strangers' pictures has no key in its memory to lose.
    assert secret not in _memory(processor._pictures._nursery._process.pid)
    assert secret in _memory(processor._signer._nursery._process.pid)


def _memory(pid: int) -> bytes:
    found = bytearray()
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for row in Path(f"/proc/{pid}/maps").read_text().splitlines():
            addresses, rights, *_ = row.split()
            if rights.startswith("rw"):
                begin, end = (int(part, 16) for part in addresses.split("-"))
                memory.seek(begin)
                with_contents = os.pread(memory.fileno(), end - begin, begin)
                found += with_contents
    return bytes(found)


@pytest.mark.drill
async def test_a_thousand_outputs_are_valid(processor: ChildImageProcessor, tmp_path: Path) -> None:
    """S16, on pictures that differ: noise, gradients and shapes of a fixed seed."""
    dice = np.random.default_rng(16)
    marked = 0
    for number in range(1000):
        form = FORMS[number % 3]
        folder = tmp_path / str(number)
        folder.mkdir()
        _painting(dice).save(folder / "out", form.upper(), quality=90)
        image: ProcessedImage = await processor.process_generated(folder / "out", folder)
        assert_signed(image.master, image.content_type)
        assert_signed(image.thumbnail, "image/webp")
        with Image.open(image.master) as opened:
            half = opened.convert("RGB").resize(
                (opened.width // 2, opened.height // 2), Image.Resampling.LANCZOS
            )
        marked += (await processor.check_provenance(saved(half, folder / "half.jpg"))).watermarked
        for path in folder.iterdir():
            path.unlink()
    print(f"{marked} of 1000 found after half the size and JPEG of quality 75")
    assert marked >= 950


def _painting(dice: np.random.Generator) -> Image.Image:
    """640 x 768: soft clouds of colour, some shapes, some grain."""
    coarse = dice.integers(0, 256, (int(dice.integers(3, 24)), int(dice.integers(3, 24)), 3), np.uint8)
    clouds = np.asarray(Image.fromarray(coarse).resize((640, 768), Image.Resampling.BICUBIC), np.float64)
    rows, columns = np.mgrid[:768, :640]
    for _ in range(int(dice.integers(0, 6))):
        y, x, radius = dice.integers(0, 768), dice.integers(0, 640), dice.integers(20, 200)
        clouds[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = dice.integers(0, 256, 3)
    clouds += dice.normal(0, dice.uniform(0, 12), clouds.shape)
    return Image.fromarray(np.clip(clouds, 0, 255).astype(np.uint8))
