"""After photos, a training and images, no picture lies open in the object store or in temporary folders."""

import re
from pathlib import Path

import httpx
import pytest
from tests.journeys.conftest import NewPerson, Stack, wait_until

pytestmark = pytest.mark.journey

PICTURE = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff[\xdb\xe0-\xef]..(?:JFIF|Exif|ICC_PROFILE)|RIFF.{4}WEBPVP8|ftyp(?:heic|avif)",
    re.DOTALL,
)
BEGINNING = re.compile(rb"\x89PNG|\xff\xd8\xff|RIFF|PK\x03\x04")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of the processes that are started after this."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def shown(folder: Path, known: list[bytes]) -> set[str]:
    """Files in which there is a picture, or a piece of a known one."""
    found: set[str] = set()
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if BEGINNING.match(data) or PICTURE.search(data) or any(piece in data for piece in known):
            found.add(path.relative_to(folder).as_posix())
    return found


def test_no_picture_is_found_in_the_store(
    temporary: Path, own_stack: Stack, new_person: NewPerson, grace: list[Path], tmp_path: Path
) -> None:
    person = new_person(own_stack, "grace@example.com")
    uploaded = person.upload(grace)["photos"]
    clone = person.trained(person.train()["id"])
    run = person.finished(person.generate(clone["id"], num_outputs=2)["id"])
    assert (len(uploaded), clone["status"], len(run["images"])) == (12, "Ready", 2)

    links = [
        link
        for item in person.http.get("/api/photos").json()["items"] + person.gallery()
        for link in (item.get("file_url") or item["image_url"], item["thumbnail_url"])
    ]
    pictures = [httpx.get(own_stack.url + link).raise_for_status().content for link in links]
    assert len(own_stack.object_keys()) == len(pictures) == 28
    known = [picture[len(picture) // 2 :][:32] for picture in pictures]

    assert shown(own_stack.data_dir / "objects", known) == set()
    assert list(temporary.glob("visiona-scratch-*")) == []
    control = tmp_path / "control"
    control.mkdir()
    some = pictures[:2] + pictures[-2:]  # a photo and an image, and their thumbnails
    for number, picture in enumerate(some):
        (control / f"{number}-whole").write_bytes(picture)
        (control / f"{number}-inside").write_bytes(bytes(1000) + picture + bytes(1000))
        (control / f"{number}-part").write_bytes(bytes(1000) + picture[len(picture) // 3 :])
    assert len(shown(control, known)) == 3 * len(some)

    # What a worker that was killed has left unsealed is gone once another one starts.
    own_stack.kill("worker")
    left = temporary / "visiona-scratch-of-the-dead"
    left.mkdir(mode=0o700)
    (left / "photos.zip").write_bytes(pictures[0])
    own_stack.start("worker")
    wait_until(lambda: not left.exists(), 30)
