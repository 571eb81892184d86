"""The long-running processes: web server, worker, sandbox."""

import asyncio
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import unquote, urlsplit

import uvicorn

from visiona.db.events import EventHub
from visiona.entrypoints.logs import QuietFormatter
from visiona.sandbox.guard import SandboxInProductionError
from visiona.settings import (
    CLERK_WEBHOOK_PATH,
    LOOPBACK_HOSTS,
    STRIPE_WEBHOOK_PATH,
    Settings,
    SettingsError,
    read_settings,
)


def serve_forever(*, supervised: bool) -> None:
    from visiona.bootstrap import build, watch_failures  # noqa: PLC0415 - the sandbox does without
    from visiona.entrypoints.asgi import create_asgi  # noqa: PLC0415 - the sandbox does without

    settings = _start(supervised=supervised)
    watch_failures(settings)
    app = build(settings, "app")
    config = uvicorn.Config(
        create_asgi(app),
        host=settings.host,
        port=settings.port,
        lifespan="on",
        access_log=False,  # its lines hold signed links
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=20,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
    )
    _Server(config, app.events).run()


class _Server(uvicorn.Server):
    """Ends the event streams when asked to stop: they would hold the shutdown up otherwise."""

    def __init__(self, config: uvicorn.Config, events: EventHub) -> None:
        super().__init__(config)
        self._events = events

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._events.announce_end()
        super().handle_exit(sig, frame)


def work_forever(*, supervised: bool) -> None:
    from visiona.bootstrap import build, watch_failures  # noqa: PLC0415 - the sandbox does without
    from visiona.entrypoints.worker import run  # noqa: PLC0415 - the sandbox does without

    settings = _start(supervised=supervised)
    watch_failures(settings)
    asyncio.run(run(build(settings, "worker")))


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPorts:
    """Where each sandbox listens; None for those that are not wanted."""

    replicate: int | None = None
    llm: int | None = None
    stripe: int | None = None
    clerk: int | None = None
    mail: int | None = None


def serve_sandbox(ports: SandboxPorts, *, supervised: bool) -> None:
    """Until stopped. Raises `SettingsError` where a sandbox cannot be run with these settings."""
    settings = _start(supervised=supervised)
    try:
        servers = [
            (make(settings, port), port)
            for make, port in (
                (_replicate_sandbox, ports.replicate),
                (_llm_sandbox, ports.llm),
                (_stripe_sandbox, ports.stripe),
                (_clerk_sandbox, ports.clerk),
                (_mail_sandbox, ports.mail),
            )
            if port is not None
        ]
    except (ValueError, SandboxInProductionError) as error:
        raise SettingsError(f"The sandbox cannot be run: {str(error).rstrip('.')}.") from error
    asyncio.run(_serve_together(servers))


def _replicate_sandbox(settings: Settings, port: int) -> object:
    from visiona.sandbox.replicate import (  # noqa: PLC0415 - only this process
        ReplicateSandboxConfig,
        create_app,
    )

    config = ReplicateSandboxConfig(
        data_dir=settings.data_dir / "sandbox",
        public_url=f"http://127.0.0.1:{port}",
        token=settings.replicate_api_token or "",
        webhook_secret=next(iter(settings.replicate_webhook_secret), ""),
        training_seconds=settings.sandbox_training_seconds,
        generation_seconds=settings.sandbox_generation_seconds,
        environment=settings.environment,
    )
    return create_app(config)


def _llm_sandbox(settings: Settings, _: int) -> object:
    from visiona.sandbox.llm import LlmSandboxConfig, create_app  # noqa: PLC0415 - only this process

    config = LlmSandboxConfig(
        openai_key=settings.openai_api_key or secrets.token_hex(),
        anthropic_key=settings.anthropic_api_key or secrets.token_hex(),
        environment=settings.environment,
    )
    return create_app(config)


def _stripe_sandbox(settings: Settings, port: int) -> object:
    from visiona.sandbox.stripe import (  # noqa: PLC0415 - only this process
        StripeSandboxConfig,
        create_app,
    )

    config = StripeSandboxConfig(
        data_dir=settings.data_dir / "sandbox",
        public_url=f"http://127.0.0.1:{port}",
        secret_key=settings.stripe_api_key or "",
        webhook_url=settings.local_url + STRIPE_WEBHOOK_PATH,
        webhook_secret=next(iter(settings.stripe_webhook_secret), ""),
        environment=settings.environment,
    )
    return create_app(config)


def _clerk_sandbox(settings: Settings, port: int) -> object:
    from visiona.sandbox.clerk import (  # noqa: PLC0415 - only this process
        ClerkSandboxConfig,
        create_app,
    )

    config = ClerkSandboxConfig(
        data_dir=settings.data_dir / "sandbox",
        public_url=f"http://127.0.0.1:{port}",
        secret_key=settings.clerk_secret_key or "",
        webhook_url=settings.local_url + CLERK_WEBHOOK_PATH,
        webhook_secret=next(iter(settings.clerk_webhook_secret), ""),
        environment=settings.environment,
    )
    return create_app(config)


def _mail_sandbox(settings: Settings, port: int) -> object:
    """Takes mail where the settings say that it is sent to, with the password that stands there."""
    from visiona.sandbox.mail import MailSandboxConfig, create_app  # noqa: PLC0415 - only this process

    smtp = urlsplit(settings.smtp_url or "")
    if smtp.hostname not in LOOPBACK_HOSTS or not smtp.port or not smtp.password:
        raise SettingsError(
            "VISIONA_SMTP_URL must lead to the mail sandbox, like smtp://visiona:key@127.0.0.1:2525."
        )
    config = MailSandboxConfig(
        data_dir=settings.data_dir / "sandbox",
        public_url=f"http://127.0.0.1:{port}",
        smtp_port=smtp.port,
        key=unquote(smtp.password),
        environment=settings.environment,
    )
    return create_app(config)


async def _serve_together(apps: Sequence[tuple[object, int]]) -> None:
    """Several small servers in one process; the first to end ends all."""
    servers = [
        uvicorn.Server(
            uvicorn.Config(
                app,  # pyright: ignore[reportArgumentType] - any ASGI application
                host="127.0.0.1",
                port=port,
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=3,
            )
        )
        for app, port in apps
    ]
    tasks = [asyncio.create_task(server.serve()) for server in servers]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*tasks)


def _start(*, supervised: bool) -> Settings:
    settings = read_settings()
    os.umask(0o077)  # whatever is written is about somebody, and nobody else's business
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(QuietFormatter())
    logging.basicConfig(level=settings.log_level, handlers=[lines])
    # They log every job, request and step of their start at INFO; ours say what matters.
    for name in ("procrastinate", "httpx", "httpx2", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if supervised:
        threading.Thread(target=_end_with_standard_input, daemon=True).start()
    return settings


def _end_with_standard_input() -> None:
    """The supervisor holds the other end: when it dies, however it dies, this process ends too."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def secret_from_file(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(48)) -> str:
    """The secret kept at `path`, made on first use, readable by its owner only."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(make())
    return path.read_text(encoding="ascii").strip()
