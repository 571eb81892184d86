"""`visiona up`: everything on one machine, in the foreground, with nothing to configure.

What the settings leave out is brought along: a PostgreSQL server, a secret key, and the sandbox for
each provider without a key. The processes are the same that production runs; they learn where
things are from the environment alone.
"""

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from rich.console import Console

from visiona.settings import LOOPBACK_HOSTS, Settings, SettingsError, read_settings

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 25.0
RESTART_DELAY_S = 1.0
MASTER_KEY = "master.key"
"""In the data folder; like the secret key it is read by its owner only."""

console = Console(highlight=False, soft_wrap=True)


@contextlib.contextmanager
def provided(settings: Settings) -> Generator[Settings]:
    """The settings with the database and the secret filled in, as far as they were left out.

    Raises `SettingsError` where the data folder cannot be used.
    """
    from visiona.db.embedded import EmbeddedServerError, embedded_server  # noqa: PLC0415 - as below
    from visiona.entrypoints.cli.running import secret_from_file  # noqa: PLC0415 - production does without

    if settings.production:
        yield settings
        return
    with _usable_folder():
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = settings.secret_key or secret_from_file(settings.data_dir / "secret.key")
        masters = settings.master_keys or kept_master_keys(settings)
    settings = replace(settings, secret_key=secret, master_keys=masters, backup_url=settings.backups_url)
    if settings.database_url or settings.app_database_url:
        yield settings
        return
    with contextlib.ExitStack() as running:
        try:
            url = running.enter_context(embedded_server(settings.data_dir / "postgres", archive=True))
        except EmbeddedServerError as error:
            raise SettingsError(str(error)) from error
        yield replace(settings, database_url=url)


def kept_master_keys(settings: Settings) -> tuple[str, ...]:
    """What is in the data folder's file, made on first use. Several are separated as in the settings."""
    from visiona.adapters.master_keys import new_master_key  # noqa: PLC0415 - after the first sign of life
    from visiona.entrypoints.cli.running import secret_from_file  # noqa: PLC0415 - production does without

    text = secret_from_file(settings.data_dir / MASTER_KEY, new_master_key)
    return tuple(part.strip() for part in text.split(",") if part.strip())


def run_everything() -> int:
    """Run until Ctrl-C or SIGTERM; answers the exit status."""
    try:
        settings = read_settings()
        with _stop_requested() as stop, _alone(settings):
            _check_usable(settings)
            with provided(settings) as complete:
                return _run(complete, stop)
    except SettingsError as error:
        console.print(f"[red]{error}[/red]")
        return 2


@contextlib.contextmanager
def _usable_folder() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"The folder for data cannot be used: {error}. Choose another: VISIONA_DATA_DIR=~/visiona make up"
        ) from error


@contextlib.contextmanager
def _alone(settings: Settings) -> Generator[None]:
    """One Visiona to a folder: two would take each other's jobs to different sandboxes.

    The lock goes with the process, however it ends.
    """
    with _usable_folder():
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with held_alone(settings):
        yield


@contextlib.contextmanager
def held_alone(settings: Settings) -> Generator[None]:
    """Raises `SettingsError` where a Visiona runs on the data folder, which must exist."""
    with _usable_folder():
        lock = (settings.data_dir / "up.lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"Visiona runs on {_shown(settings.data_dir)} already. Stop it first, or choose another "
                "folder and port: VISIONA_DATA_DIR=./other VISIONA_PORT=8001 make up"
            ) from error
        yield


class _Stop:
    """Set by the first signal; a second one interrupts whatever waits."""

    requested = False


@contextlib.contextmanager
def _stop_requested() -> Generator[_Stop]:
    stop = _Stop()

    def request(_signal: int, _frame: object) -> None:
        stop.requested = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request)
    yield stop


def _check_usable(settings: Settings) -> None:
    if settings.production:
        raise SettingsError(
            "`visiona up` is for one's own machine. In production run `visiona migrate`, "
            "`visiona serve` and `visiona worker`."
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(
                f"Port {settings.port} is taken. Choose another: VISIONA_PORT=8001 make up"
            ) from error


def _run(settings: Settings, stop: _Stop) -> int:
    from visiona.bootstrap import prepare_database  # noqa: PLC0415 - after the first sign of life

    environment, sandbox = _environment(settings)
    processes = _Processes({**os.environ, **environment})
    try:
        if sandbox:
            processes.start("sandbox", *sandbox)
        asyncio.run(prepare_database(settings))
        processes.start("serve")
        processes.start("worker")
        if not _wait_until_ready(settings, sandbox, processes, stop):
            return 0 if stop.requested else 1
        _greet(settings, environment.get("VISIONA_SANDBOX_INBOX_URL"))
        while not stop.requested:
            processes.restart_dead()
            time.sleep(0.2)
    finally:
        console.print("Stopping…")
        processes.stop()
    return 0


class _Processes:
    """Children that end with us; each is restarted when it dies."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._running: dict[str, tuple[tuple[str, ...], subprocess.Popen[bytes]]] = {}

    def start(self, command: str, *arguments: str) -> None:
        process = subprocess.Popen(  # noqa: S603 - our own module, with our own arguments
            [sys.executable, "-m", "visiona", command, *arguments, "--supervised"],
            env=self._environment,
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
        )
        self._running[command] = (arguments, process)

    def restart_dead(self) -> None:
        for command, (arguments, process) in list(self._running.items()):
            if process.poll() is not None:
                console.print(f"[yellow]{command} ended ({process.returncode}); starting it again[/yellow]")
                time.sleep(RESTART_DELAY_S)
                self.start(command, *arguments)

    def any_dead(self) -> bool:
        return any(process.poll() is not None for _, process in self._running.values())

    def stop(self) -> None:
        """First those that take work, then the sandbox that they may be talking to."""
        for commands in (("serve", "worker"), ("sandbox",)):
            self._stop([self._running[command][1] for command in commands if command in self._running])

    def _stop(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """What the children are told, and the arguments of the sandbox if one is needed."""
    values = {
        "VISIONA_SECRET_KEY": settings.secret_key,
        "VISIONA_MASTER_KEYS": ",".join(settings.master_keys),
        "VISIONA_DATABASE_URL": settings.database_url or "",
        "VISIONA_DATA_DIR": str(settings.data_dir.resolve()),
        "VISIONA_BACKUP_URL": settings.backup_url or "",
    }
    sandbox: list[str] = []
    for arguments, given in (
        _replicate_sandbox(settings),
        _llm_sandbox(settings),
        _stripe_sandbox(settings),
        _clerk_sandbox(settings),
        _mail_sandbox(settings),
    ):
        sandbox += arguments
        values |= given
    return values, sandbox


# The sandboxes: the arguments that bring each, and what the processes are told of it. Nothing where the
# real service is configured.

_Sandbox = tuple[list[str], dict[str, str]]
_NO_SANDBOX: _Sandbox = ([], {})


def _replicate_sandbox(settings: Settings) -> _Sandbox:
    if settings.replicate_api_token is not None:
        return _NO_SANDBOX
    port = _free_port()
    return ["--replicate-port", str(port)], {
        "VISIONA_REPLICATE_API_TOKEN": "r8_sandbox",
        "VISIONA_REPLICATE_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "VISIONA_REPLICATE_DELIVERY_HOSTS": f"127.0.0.1:{port}",
        "VISIONA_REPLICATE_WEBHOOK_SECRET": _sandbox_webhook_secret(settings),
    }


def _llm_sandbox(settings: Settings) -> _Sandbox:
    if settings.openai_api_key or settings.anthropic_api_key:
        return _NO_SANDBOX
    port = _free_port()
    return ["--llm-port", str(port)], {
        "VISIONA_OPENAI_API_KEY": "sk-sandbox",
        "VISIONA_OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "VISIONA_ANTHROPIC_API_KEY": "sk-ant-sandbox",
        "VISIONA_ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
    }


def _stripe_sandbox(settings: Settings) -> _Sandbox:
    if not settings.billing or settings.stripe_api_key is not None:
        return _NO_SANDBOX
    port = _kept_port(settings.data_dir / "sandbox" / "stripe.port")
    return ["--stripe-port", str(port)], {
        "VISIONA_STRIPE_API_KEY": "sk_test_sandbox",
        "VISIONA_STRIPE_BASE_URL": f"http://127.0.0.1:{port}",
        "VISIONA_STRIPE_WEBHOOK_SECRET": _sandbox_webhook_secret(settings),
    }


def _clerk_sandbox(settings: Settings) -> _Sandbox:
    """Its key is a secret: with it anybody on this machine could sign in as anybody."""
    if not settings.hosted_identity or settings.clerk_secret_key is not None:
        return _NO_SANDBOX
    if urlsplit(settings.origin).hostname not in LOOPBACK_HOSTS:
        raise SettingsError(
            f"The sandbox of Clerk signs people in on this machine only, and not at {settings.origin}. Leave "
            "VISIONA_PUBLIC_URL and VISIONA_HOST out, or set the keys from https://dashboard.clerk.com."
        )
    from visiona.sandbox.clerk import publishable_key  # noqa: PLC0415 - seldom needed

    folder = settings.data_dir / "sandbox"
    port = _kept_port(folder / "clerk.port")
    url = f"http://127.0.0.1:{port}"
    return ["--clerk-port", str(port)], {
        "VISIONA_CLERK_SECRET_KEY": f"sk_test_{_kept_key(folder / 'clerk.key')}",
        "VISIONA_CLERK_PUBLISHABLE_KEY": publishable_key(url),
        "VISIONA_CLERK_WEBHOOK_SECRET": _sandbox_webhook_secret(settings),
        "VISIONA_CLERK_BASE_URL": f"{url}/v1",
        "VISIONA_CLERK_FRONTEND_URL": url,
        "VISIONA_CLERK_ACCOUNTS_URL": url,
    }


def _mail_sandbox(settings: Settings) -> _Sandbox:
    if settings.smtp_url is not None:
        return _NO_SANDBOX
    folder = settings.data_dir / "sandbox"
    port = _kept_port(folder / "mail.port")
    key = _kept_key(folder / "mail.key")
    return ["--mail-port", str(port)], {
        "VISIONA_SMTP_URL": f"smtp://visiona:{key}@127.0.0.1:{_free_port()}",
        "VISIONA_MAIL_FROM": settings.mail_from or "Visiona <visiona@sandbox.invalid>",
        "VISIONA_SANDBOX_INBOX_URL": f"http://127.0.0.1:{port}",
    }


def _sandbox_webhook_secret(settings: Settings) -> str:
    key = hashlib.sha256(b"sandbox-webhooks:" + settings.secret()).digest()
    return f"whsec_{base64.b64encode(key).decode()}"


def _kept_key(path: Path) -> str:
    from visiona.entrypoints.cli.running import secret_from_file  # noqa: PLC0415 - production does without

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return secret_from_file(path)


def _kept_port(path: Path) -> int:
    """The port of the last time, if it is free still: invoices, open checkouts, mails and signed-in
    browsers lead there.
    """
    with contextlib.suppress(OSError, ValueError, OverflowError), socket.socket() as probe:
        port = int(path.read_text(encoding="ascii"))
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return port
    port = _free_port()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(str(port), encoding="ascii")
    return port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_ready(settings: Settings, sandbox: list[str], processes: _Processes, stop: _Stop) -> bool:
    """Until the server answers, and every sandbox listens that its pages lead to."""
    opener = build_opener(ProxyHandler({}))
    waiting = [int(port) for port in sandbox[1::2]]
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and not stop.requested:
        if processes.any_dead():
            console.print("[red]Visiona could not start; the reason stands above.[/red]")
            return False
        with contextlib.suppress(URLError, OSError):
            opener.open(f"{settings.local_url}/readyz", timeout=2).close()
            while waiting:
                socket.create_connection(("127.0.0.1", waiting[-1]), timeout=2).close()
                waiting.pop()
            return True
        time.sleep(0.05)
    return False


def _greet(settings: Settings, inbox: str | None) -> None:
    console.print(f"\n  [bold]Visiona[/bold] is ready at [bold]{settings.origin}[/bold]")
    missing = {
        "trainings and images": ("VISIONA_REPLICATE_API_TOKEN", settings.replicate_api_token),
        "rewritten prompts": (
            "VISIONA_OPENAI_API_KEY or VISIONA_ANTHROPIC_API_KEY",
            settings.openai_api_key or settings.anthropic_api_key,
        ),
        "payments": ("VISIONA_STRIPE_API_KEY", settings.stripe_api_key if settings.billing else "off"),
        "Clerk's accounts": (
            "VISIONA_CLERK_SECRET_KEY",
            settings.clerk_secret_key if settings.hosted_identity else "off",
        ),
    }
    for what, (setting, value) in missing.items():
        if value is None:
            console.print(f"  Sandbox: {what} are simulated on this machine; set {setting} for real ones.")
    if inbox is not None:
        console.print(f"  Sandbox: mails are sent to nobody; read them at {inbox}, or set VISIONA_SMTP_URL.")
    _tell_of_others(settings)
    console.print(f"  Your data: {_shown(settings.data_dir)}    Stop with Ctrl-C.\n")


def _tell_of_others(settings: Settings) -> None:
    """Who signed up while the accounts were kept otherwise cannot log in now, and should know why."""
    record = settings.data_dir / "identities"
    known = record.read_text(encoding="ascii").split() if record.exists() else []
    if settings.identity not in known:
        record.write_text(" ".join([*known, settings.identity]), encoding="ascii")
    for other in sorted({*known} - {settings.identity}):
        console.print(
            f"  [yellow]Accounts made with VISIONA_IDENTITY={other} are kept, and cannot log in while it is "
            f"{settings.identity}.[/yellow]"
        )


def _shown(path: Path) -> str:
    resolved = path.resolve()
    with contextlib.suppress(ValueError):
        return f"./{resolved.relative_to(Path.cwd())}"
    return str(resolved)
