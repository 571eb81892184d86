"""What the sandbox's training leaves behind: a tar like the real one, with photos for weights.

`output/flux_train_replicate/lora.safetensors` is a real safetensors file. Its tensors are the bytes of
cut-out portraits (JPEG) and their outlines (PNG); its metadata say so.
"""

import functools
import io
import json
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from visiona.sandbox.replicate.painter.portrait import Face, Portrait
from visiona.sandbox.replicate.painter.raster import Pixels, encode, load

_FOLDER = "output/flux_train_replicate"
_TENSORS = f"{_FOLDER}/lora.safetensors"


def save_weights(
    path: Path, portraits: Sequence[Portrait], captions: Mapping[str, str], trigger_word: str
) -> None:
    """Write the tar in one step: it is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with tarfile.open(temporary, "w") as tar:
        _add(tar, _TENSORS, _safetensors(portraits, trigger_word))
        for name, caption in captions.items():
            _add(tar, f"{_FOLDER}/captions/{name}", caption.encode())
    temporary.replace(path)


def load_weights(path: Path) -> tuple[Portrait, ...]:
    return _load(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=3)
def _load(path: Path, _: int) -> tuple[Portrait, ...]:
    with tarfile.open(path) as tar:
        member = tar.extractfile(_TENSORS)
        if member is None:
            raise ValueError("the weights hold no tensors")
        data = member.read()
    (length,) = struct.unpack("<Q", data[:8])
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    about: list[dict[str, Any]] = json.loads(header["__metadata__"]["portraits"])
    return tuple(_portrait(data[8 + length :], header, index, one) for index, one in enumerate(about))


def _portrait(data: bytes, header: Mapping[str, Any], index: int, about: Mapping[str, Any]) -> Portrait:
    def tensor(name: str) -> bytes:
        first, last = header[f"portrait.{index}.{name}"]["data_offsets"]
        return data[first:last]

    pixels = load(tensor("jpeg"))
    outline = cv2.imdecode(np.frombuffer(tensor("outline"), np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None or outline is None:
        raise ValueError("the weights are damaged")
    face = Face(*about["face"]) if about["face"] else None
    return Portrait(pixels, np.asarray(outline, np.uint8), face, about["quality"])


def _safetensors(portraits: Sequence[Portrait], trigger_word: str) -> bytes:
    about = [{"face": list(p.face) if p.face else None, "quality": p.quality} for p in portraits]
    metadata = {"sandbox": "true", "trigger_word": trigger_word, "portraits": json.dumps(about)}
    header: dict[str, Any] = {"__metadata__": metadata}
    body = bytearray()
    for index, portrait in enumerate(portraits):
        parts = {"jpeg": encode(portrait.pixels, "jpg", 95), "outline": _png(portrait.alpha)}
        for name, content in parts.items():
            offsets = [len(body), len(body) + len(content)]
            header[f"portrait.{index}.{name}"] = {
                "dtype": "U8",
                "shape": [len(content)],
                "data_offsets": offsets,
            }
            body += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(body)


def _png(field: Pixels) -> bytes:
    done, data = cv2.imencode(".png", field)
    if not done:
        raise ValueError("cannot encode an outline")
    return data.tobytes()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
