"""The README's blocks do what they say when they are pasted as they stand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image
from tests.journeys.conftest import Stack

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

README = Path(__file__).parents[2] / "README.md"


def block(heading: str) -> str:
    """The first shell block under a heading."""
    _, found, below = README.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert found, f"the README has no heading {heading!r}"
    _, found, script = below.partition("\n## ")[0].partition("\n```sh\n")
    assert found, f"there is no shell block under {heading!r}"
    return script.partition("\n```\n")[0]


@pytest.fixture
def checkout(tmp_path: Path, grace: list[Path]) -> Path:
    """A folder as the README's reader has it: the environment and some photos."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copytree(grace[0].parent, folder / "photos")
    return folder


def paste(script: str, folder: Path, server: str) -> str:
    """What the block prints; it must end well."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "TMPDIR"}}
    home = folder / "home"
    home.mkdir()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        check=False,
        cwd=folder,
        env={**kept, "HOME": str(home), "VISIONA_SERVER": server},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_command_line_block(own_stack: Stack, checkout: Path) -> None:
    printed = paste(block("By the command line"), checkout, own_stack.url)
    assert "Clone 1 is ready." in printed
    assert "3 of 30" in printed
    saved = sorted((checkout / "visiona-images").iterdir())
    assert len(saved) == 3
    with Image.open(saved[-1]) as image:
        assert image.size == (1216, 832)
    assert "Deleted 3." in printed
    assert own_stack.rows("select id, seed from generations order by id")[1:] == [(2, 7)]
    assert own_stack.rows("select enhancement_outcome from runs order by id") == [
        ("enhanced",),
        ("not_requested",),
    ]


def test_the_http_block(own_stack: Stack, checkout: Path) -> None:
    printed = paste(block("By plain HTTP"), checkout, own_stack.url).splitlines()
    signed, link = printed[:2]
    assert signed == "given"
    assert httpx.get(own_stack.url + link).headers["content-type"] == "image/jpeg"
    assert "Ready" in printed
    assert printed[-2] == "succeeded"
    assert printed[-1] == '{"deleted":[1],"not_found":[]}'
    (saved,) = checkout.glob("visiona-*.webp")
    with Image.open(saved) as image:
        image.load()
        assert image.format == "WEBP"
    assert own_stack.rows("select count(*) from generations") == [(0,)]
    assert own_stack.rows("select count(*) from photos") == [(12,)]
