"""A destroyed data folder, and everything back by the commands of the README; run by `make drill`."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cli.test_up import Running, running
from tests.factories import consents
from tests.factories.photos import phone_photos

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]

GRACE = {"email": "grace@example.com", "password": "correct horse battery staple"}
SHIPPED_WITHIN_S = 60.0


def visiona(folder: Path, *arguments: str, **settings: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VISIONA_")}
    done = subprocess.run(
        [sys.executable, "-m", "visiona", *arguments],
        env=environment | {"VISIONA_DATA_DIR": str(folder)} | settings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sign_in(up: Running, *, new: bool = False) -> None:
    """A program's client: its token, and no cookie."""
    path = "/api/auth/signup" if new else "/api/auth/login"
    answer = up.http.post(path, json=GRACE)
    assert answer.status_code in {200, 201}, answer.text
    up.http.cookies.clear()
    up.http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"


def upload(up: Running, photos: list[Path]) -> None:
    files = [("photos", (path.name, path.read_bytes())) for path in photos]
    answer = up.http.post("/api/photos/upload", files=files)
    assert answer.status_code == 201, answer.text


def opened(up: Running) -> list[bytes]:
    """Every photo, as the person sees it."""
    photos = up.http.get("/api/photos").json()["items"]
    return [up.http.get(photo["file_url"]).raise_for_status().content for photo in photos]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return phone_photos("grace", 6, folder=tmp_path / "photos")


@contextmanager
def timed(what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begun:.1f} s")


def test_a_destroyed_data_folder(tmp_path: Path, photos: list[Path]) -> None:
    """What was uploaded a minute before the end is there as well: the log brought it over by then."""
    folder = tmp_path / ".visiona"
    with running(folder) as up:
        sign_in(up, new=True)
        consents.give(up.http)
        upload(up, photos[:3])
        with timed("backup while it runs"):
            assert "is complete" in visiona(folder, "backup", "create")
        upload(up, photos[3:])
        last = datetime.now(UTC)
        before = opened(up)
        deadline = time.monotonic() + SHIPPED_WITHIN_S
        while f"{last:%Y-%m-%d %H:%M:%S}" >= reaches(folder):  # seconds are all that it says
            assert time.monotonic() < deadline, "what was uploaded was not shipped within a minute"
            time.sleep(1)
        print(f"shipped after {(datetime.now(UTC) - last).total_seconds():.1f} s")
        key = visiona(folder, "vault", "recovery-key").strip()
        assert "are whole" in visiona(folder, "backup", "verify")
        assert "it can be restored" in visiona(folder, "backup", "rehearse")
    shutil.rmtree(folder)
    with timed("restore"):
        assert "Restored" in visiona(folder, "restore", "--yes", VISIONA_MASTER_KEYS=key)
    with running(folder) as up:
        sign_in(up)
        assert sorted(opened(up)) == sorted(before)
        assert len(before) == len(photos)
        upload(up, phone_photos("eileen", 1, folder=tmp_path / "more"))
        assert "is complete" in visiona(folder, "backup", "create")
        assert "are whole" in visiona(folder, "backup", "verify")
    assert visiona(folder, "audit", "verify")
    assert not list(tmp_path.glob(".visiona-*ing"))


def reaches(folder: Path) -> str:
    """Until when everything can be restored."""
    said = visiona(folder, "backup", "list")
    return said.rpartition("Everything until ")[2].partition(" UTC")[0]
