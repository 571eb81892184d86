"""Signed images, and the processor that makes them."""

from collections.abc import AsyncGenerator
from functools import cache
from pathlib import Path

import pytest
from PIL import Image
from tests.factories import photos

from visiona.adapters.imaging import ChildImageProcessor
from visiona.adapters.provenance import SigningKit, make_certificate, signing_kit


@cache
def kit() -> SigningKit:
    return signing_kit(*make_certificate("Visiona tests"))


@pytest.fixture(scope="module")
async def processor() -> AsyncGenerator[ChildImageProcessor]:
    processor = ChildImageProcessor(kit)
    yield processor
    await processor.aclose()


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What a provider delivers, 768 x 1024, in each format."""
    folder = tmp_path_factory.mktemp("portrait")
    picture = photos.snapshot("grace", 0).resize((768, 1024), Image.Resampling.LANCZOS).convert("RGB")
    paths: dict[str, Path] = {}
    for form in ("jpeg", "png", "webp"):
        paths[form] = folder / f"out.{form}"
        picture.save(paths[form], form.upper(), quality=92)
    return paths
