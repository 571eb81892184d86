"""Folders for unsealed files: private, gone with their block, and after a kill with the next look."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from visiona.core.scratch import clear_abandoned, scratch_folder

KILLED = """
import os, signal
from visiona.core.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "face.jpg").write_bytes(b"a face")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "another.jpg").write_bytes(b"a face")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of this test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_a_folder_is_private_and_gone_with_its_block(everybodys: Path) -> None:
    with scratch_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "face.jpg").write_bytes(b"a face")
    assert list(everybodys.iterdir()) == []


def test_a_failure_leaves_nothing(everybodys: Path) -> None:
    def fail() -> None:
        with scratch_folder() as folder:
            (folder / "face.jpg").write_bytes(b"a face")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert list(everybodys.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(everybodys: Path) -> None:
    with scratch_folder() as own:
        with subprocess.Popen(
            [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            left = Path(process.stdout.readline().strip())
            assert clear_abandoned() == 0
            assert (left / "face.jpg").exists()
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert (left / "deeper" / "another.jpg").exists()
        assert clear_abandoned() == 1
        assert list(everybodys.iterdir()) == [own]


def test_what_others_put_there_is_left_alone(
    everybodys: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    precious = tmp_path_factory.mktemp("precious")
    (precious / "file").write_text("precious")
    (everybodys / "visiona-scratch-link").symlink_to(precious)
    (everybodys / "visiona-scratch-file").write_text("no folder")
    (everybodys / "visiona-scratch-open").mkdir()
    (everybodys / "visiona-scratch-open").chmod(0o755)  # made by somebody else, or opened on purpose
    (everybodys / "another").mkdir(mode=0o700)
    assert clear_abandoned() == 0
    assert len(list(everybodys.iterdir())) == 4
    assert (precious / "file").read_text() == "precious"


def test_folders_are_never_taken_from_under_those_who_make_them() -> None:
    done = threading.Event()

    def sweep() -> None:
        while not done.is_set():
            clear_abandoned()

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(300):
            with scratch_folder() as folder:
                (folder / "face.jpg").write_bytes(b"a face")
                assert os.listdir(folder) == ["face.jpg"]  # noqa: PTH208 - the name alone
    finally:
        done.set()
        sweeper.join()
