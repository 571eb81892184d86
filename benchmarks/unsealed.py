"""`python -m benchmarks.unsealed serve`: a Visiona that keeps objects as they are.

It does everything else that Visiona does: what sealing costs is the difference.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

from visiona.entrypoints.cli import main
from visiona.vault.model import Cipher
from visiona.vault.stream import ReadRange


def _as_it_is(_: Cipher, place: str, source: Path, target: Path) -> None:  # noqa: ARG001 - as the real one
    target.unlink(missing_ok=True)
    os.link(source, target)


async def _as_it_is_read(
    _: Cipher,
    place: str,  # noqa: ARG001 - as the real one
    read: ReadRange,
    sealed_size: int,
    byte_range: tuple[int, int] | None = None,
) -> AsyncIterator[bytes]:
    async for piece in await read(*(byte_range or (0, sealed_size))):
        yield piece


if __name__ == "__main__":
    Cipher.seal_file = _as_it_is
    Cipher.open_object = _as_it_is_read
    Cipher.plain_size = staticmethod(lambda sealed_size: sealed_size)
    main()
