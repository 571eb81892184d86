"""The side of imaging that lives in Visiona's own processes and never sees a pixel."""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from visiona.adapters.imaging.process import KeptNursery
from visiona.adapters.imaging.refusals import Code, refusal
from visiona.adapters.imaging.wire import CONTENT_TYPES, DRAFT_ENDING, THUMBNAIL_ENDING, Kind, Limits
from visiona.adapters.provenance.certificates import SigningKit, trust_of
from visiona.core.ids import opaque_id
from visiona.ports.imaging import ProcessedImage
from visiona.ports.provenance import Credentials, Finding, Signer

_log = logging.getLogger(__name__)

_LEAST_MEMORY_MB = 160
_DECODING = "visiona.adapters.imaging.pictures"
_SIGNING = "visiona.adapters.provenance.signing"


class ChildImageProcessor:
    """An `ImageProcessor` and `ProvenanceChecker` whose pictures are decoded in children, `concurrency` at
    a time, each with its own memory, CPU and time limit. The nursery starts with the first picture;
    `aclose` ends it. `kit` is asked, in a thread, when the first image is signed or checked.
    """

    def __init__(
        self,
        kit: Callable[[], SigningKit],
        concurrency: int = 2,
        memory_mb: int = 512,
        cpu_seconds: int = 5,
        wall_seconds: float = 15,
        max_pixels: int = 100_000_000,
    ) -> None:
        if memory_mb < _LEAST_MEMORY_MB:
            raise ValueError(f"a child needs {_LEAST_MEMORY_MB} MB; half of that is there before it starts")
        self._limits = Limits(memory_mb, cpu_seconds, wall_seconds, max_pixels)
        self._slots = asyncio.Semaphore(concurrency)
        # Strangers who check pictures wait for each other, and leave a place to people who upload.
        self._checks = asyncio.Semaphore(max(1, concurrency - 1))
        self._pictures = KeptNursery(_DECODING, self._limits, lambda: {"trust": trust_of(kit())})
        self._signer = KeptNursery(_SIGNING, self._limits, lambda: asdict(kit()))

    async def process_photo(self, source: Path, folder: Path) -> ProcessedImage:
        return await self._process("photo", source, folder)

    async def process_generated(self, source: Path, folder: Path) -> ProcessedImage:
        image = await self._process("generated", source, folder)
        signed = False
        try:
            files = [(str(image.master), image.content_type), (str(image.thumbnail), "image/webp")]
            reply = await self._signer.ask({"files": files})
            if "result" not in reply:
                raise RuntimeError(f"an image could not be signed: {reply.get('failed', reply.get('cause'))}")
            signed = True
            master, _ = reply["result"]["files"]
            return replace(image, size=int(master["size"]), sha256=str(master["sha256"]))
        finally:
            if not signed:
                _discard(image.master.with_suffix(""))

    async def check_provenance(self, source: Path) -> Finding:
        request = {"kind": "check", "source": os.path.abspath(source), "stem": ""}  # noqa: PTH100, ASYNC240 - touches no disk
        async with self._checks, self._slots:
            reply = await self._pictures.ask(request)
        result = self._result(reply)
        return Finding(
            credentials=Credentials(result["credentials"]),
            signer=Signer(result["signer"]) if result["signer"] else None,
            signer_name=str(result["signer_name"]),
            generator=str(result["generator"]),
            signed_as_ai=bool(result["signed_as_ai"]),
            labelled_as_ai=bool(result["labelled_as_ai"]),
            watermarked=bool(result["watermarked"]),
        )

    async def aclose(self) -> None:
        """End the nurseries and whatever they are doing; pictures under way fail with `Unavailable`."""
        await self._pictures.aclose()
        await self._signer.aclose()

    async def _process(self, kind: Kind, source: Path, folder: Path) -> ProcessedImage:
        # Made absolute as text: the nursery has another working directory.
        stem = Path(os.path.abspath(folder)) / opaque_id()  # noqa: PTH100, ASYNC240 - touches no disk
        request = {"kind": kind, "source": os.path.abspath(source), "stem": str(stem)}  # noqa: PTH100, ASYNC240 - likewise
        kept = False
        try:
            async with self._slots:
                reply = await self._pictures.ask(request)
            image = self._read(reply, stem)
            kept = True
            return image
        finally:
            if not kept:
                _discard(stem)

    def _result(self, reply: dict[str, Any]) -> dict[str, Any]:
        if "refused" in reply:
            _log.info("picture refused: %s (%s)", reply["refused"], reply.get("cause"))
            raise refusal(Code(reply["refused"]), self._limits.max_pixels)
        if "failed" in reply:
            raise RuntimeError(f"an image child failed: {reply['failed']}")
        return reply["result"]

    def _read(self, reply: dict[str, Any], stem: Path) -> ProcessedImage:
        result = self._result(reply)
        return ProcessedImage(
            master=stem.with_suffix(result["suffix"]),
            thumbnail=Path(f"{stem}{THUMBNAIL_ENDING}"),
            content_type=CONTENT_TYPES[result["suffix"]],
            width=int(result["width"]),
            height=int(result["height"]),
            size=int(result["size"]),
            sha256=str(result["sha256"]),
            faces=result.get("faces"),
            warnings=tuple(result.get("warnings", ())),
        )


def _discard(stem: Path) -> None:
    for ending in (*CONTENT_TYPES, THUMBNAIL_ENDING):
        for draft in ("", DRAFT_ENDING):
            Path(f"{stem}{ending}{draft}").unlink(missing_ok=True)
