"""The sandbox as one object: everything that a request or a page may need."""

import asyncio
import itertools
import logging
from contextlib import suppress

from litestar.di import NamedDependency

from visiona.sandbox.network import is_loopback_url
from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.config import StripeSandboxConfig
from visiona.sandbox.stripe.engine import Engine
from visiona.sandbox.stripe.events import EventLog
from visiona.sandbox.stripe.faults import FaultBook
from visiona.sandbox.stripe.idempotency import IdempotencyKeys
from visiona.sandbox.stripe.routes import Context
from visiona.sandbox.stripe.store import Store
from visiona.sandbox.stripe.webhooks import WebhookSender

logger = logging.getLogger(__name__)


class Sandbox:
    """Whoever changes something does it within `store.atomic()`: all of it happens, or nothing."""

    def __init__(self, config: StripeSandboxConfig) -> None:
        if config.webhook_url is not None and not is_loopback_url(config.webhook_url):
            raise ValueError("the sandbox delivers webhooks to this machine only")
        self.config = config
        self.store = Store(config.data_dir / "stripe")
        self.clock = Clock(self.store)
        self.faults = FaultBook()
        self.sender = WebhookSender(config, self.store, self.clock, self.faults)
        self.events = EventLog(self.store, self.clock, self.sender)
        self.keys = IdempotencyKeys(self.store, self.clock)
        self.engine = Engine(self.store, self.clock, self.events.emit, config.public_url)
        self.events.time_of = self.engine.books.now
        self._ticker: asyncio.Task[None] | None = None

    def context(self, ids: dict[str, str]) -> Context:
        return Context(self.config, self.store, self.clock, self.events.emit, self.engine, ids)

    def start(self) -> None:
        self.sender.start()
        self._ticker = asyncio.create_task(self._tick_for_ever())

    async def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
        await self.sender.stop()

    def run_due(self) -> None:
        """Do whatever is due for objects without a test clock."""
        with self.store.atomic():
            self.engine.clocks.run_due(self.clock.now())

    def forget_old(self) -> None:
        self.events.forget_old()
        self.keys.forget_old()

    def reset(self) -> None:
        """Forget everything, as if just installed."""
        self.store.clear()
        self.engine.books.reload()
        self.faults.clear()
        self.sender.forget()

    async def _tick_for_ever(self) -> None:
        for second in itertools.count():
            await asyncio.sleep(1.0)
            try:
                self.run_due()
                if second % 60 == 0:
                    self.forget_old()
            except Exception:
                logger.exception("What was due could not be done; it is tried again in a second.")


TheSandbox = NamedDependency[Sandbox]
"""How a route handler asks for the sandbox."""
