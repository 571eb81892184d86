"""Private folders for files that are not sealed: photos on their way in, archives on their way out.

Each is gone with its block, and what a process that was killed left behind is removed by the next one
that looks: a folder is locked for as long as it is used, and the kernel gives the lock up with the process.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "visiona-scratch-"


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A fresh folder that only this user may enter. Blocking, but a matter of microseconds."""
    descriptor, folder = _claimed()
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder)
        finally:
            os.close(descriptor)


def clear_abandoned() -> int:
    """Remove the folders of processes that are no more; how many there were. Blocking."""
    return sum(_removed(path) for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"))


def _claimed() -> tuple[int, Path]:
    """A folder under this process's lock; the descriptor that holds it is not inherited by children."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # for its owner alone
        with contextlib.suppress(FileNotFoundError):  # taken for abandoned before it was locked
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                return descriptor, folder
            os.close(descriptor)


def _removed(folder: Path) -> bool:
    try:
        # Not through a link: the folder for temporary files is everybody's.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        # A server that runs as another user in there has to be let through, and may list nothing.
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o066:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return False  # in use
    finally:
        os.close(descriptor)
    return True
