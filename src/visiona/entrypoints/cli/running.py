"""The long-running processes: web server, worker, sandbox."""

import asyncio
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from visiona.db.events import EventHub
from visiona.settings import STRIPE_WEBHOOK_PATH, Settings, read_settings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def serve_forever(*, supervised: bool) -> None:
    from visiona.bootstrap import build  # noqa: PLC0415 - the sandbox does without
    from visiona.entrypoints.asgi import create_asgi  # noqa: PLC0415 - the sandbox does without

    settings = _start(supervised=supervised)
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
    from visiona.bootstrap import build  # noqa: PLC0415 - the sandbox does without
    from visiona.entrypoints.worker import run  # noqa: PLC0415 - the sandbox does without

    settings = _start(supervised=supervised)
    asyncio.run(run(build(settings, "worker")))


def serve_sandbox(
    replicate_port: int | None, llm_port: int | None, stripe_port: int | None, *, supervised: bool
) -> None:
    settings = _start(supervised=supervised)
    servers: list[tuple[object, int]] = []
    if replicate_port is not None:
        servers.append((_replicate_sandbox(settings, replicate_port), replicate_port))
    if llm_port is not None:
        servers.append((_llm_sandbox(settings), llm_port))
    if stripe_port is not None:
        servers.append((_stripe_sandbox(settings, stripe_port), stripe_port))
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
        webhook_secret=settings.replicate_webhook_secret or "",
        training_seconds=settings.sandbox_training_seconds,
        generation_seconds=settings.sandbox_generation_seconds,
        environment=settings.environment,
    )
    return create_app(config)


def _llm_sandbox(settings: Settings) -> object:
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
    logging.basicConfig(level=settings.log_level, format=LOG_FORMAT, stream=sys.stderr)
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


def secret_from_file(path: Path) -> str:
    """The secret kept at `path`, made on first use, readable by its owner only."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text(encoding="ascii").strip()
