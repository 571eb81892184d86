"""The process that signs: `python -m visiona.adapters.provenance.signing LIMITS`.

The private key comes in by its input, so that neither the process list nor the environment shows it.
It forks a child for every image like the image nursery does, but never decodes one: what it is given
was written by our own encoder.
"""

import hashlib
from pathlib import Path
from typing import Any

from visiona.adapters.imaging.labels import VERSION
from visiona.adapters.imaging.nursery import serve
from visiona.adapters.imaging.wire import DRAFT_ENDING, Limits
from visiona.adapters.provenance import credentials
from visiona.adapters.provenance.certificates import SigningKit


def _work(limits: Limits, opening: dict[str, Any]) -> "_Signing":
    del limits
    organization, name = opening.pop("names")
    return _Signing(SigningKit(names=(organization, name), **opening))


class _Signing:
    def __init__(self, kit: SigningKit) -> None:
        self._kit = kit

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sign files in place; answers size in bytes and hash of each as it is then."""
        return {"result": {"files": [self._sign(Path(path), kind) for path, kind in request["files"]]}}

    def _sign(self, path: Path, media_type: str) -> dict[str, Any]:
        signed = path.with_name(path.name + DRAFT_ENDING)
        credentials.sign(path, signed, media_type, self._kit, VERSION)
        signed.replace(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"size": path.stat().st_size, "sha256": digest}


if __name__ == "__main__":
    serve(_work)
