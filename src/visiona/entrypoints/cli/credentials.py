"""Where the sessions of the person at this machine are kept: one private file, keyed by server."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import msgspec

from visiona.entrypoints.cli.errors import local_files


class Session(msgspec.Struct, frozen=True):
    """A sign-in: the short-lived token, and the cookie that a fresh one is asked with."""

    email: str
    access_token: str
    expires_at: datetime
    cookie_name: str | None = None
    cookie_value: str | None = None


class _File(msgspec.Struct):
    servers: dict[str, Session] = {}


def default_path(environment: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/visiona/credentials.json`; the specification ignores a relative setting."""
    configured = Path(environment.get("XDG_CONFIG_HOME", ""))
    home = configured if configured.is_absolute() else Path.home() / ".config"
    return home / "visiona" / "credentials.json"


class CredentialStore:
    """Readable by the owner alone; safe for several commands at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, server: str) -> Session | None:
        return self._read().servers.get(server)

    def update(self, server: str, change: Callable[[Session | None], Session | None]) -> Session | None:
        """Replace the server's session by what `change` makes of it; None forgets it.

        No other command reads-and-writes meanwhile, so `change` may ask the server for a fresh
        token without two commands spending the same session. If it raises, nothing is written.
        """
        with local_files(), self._locked():
            file = self._read()
            session = change(file.servers.get(server))
            if session is None:
                file.servers.pop(server, None)
            else:
                file.servers[server] = session
            self._write(file)
        return session

    def _read(self) -> _File:
        """A file that cannot be understood holds no session: signing in writes it anew."""
        with local_files():
            try:
                content = self.path.read_bytes()
            except FileNotFoundError:
                return _File()
        try:
            return msgspec.json.decode(content, type=_File)
        except msgspec.DecodeError:
            return _File()

    def _write(self, file: _File) -> None:
        """Replace the file in one step. `mkstemp` makes its file 0600 from the first byte."""
        descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".credentials-")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(msgspec.json.format(msgspec.json.encode(file), indent=2))
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(self.path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise

    @contextmanager
    def _locked(self) -> Generator[None]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, mode=0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
