"""The sandbox as one object: everything that a request or a page may need."""

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager, suppress

from litestar.di import NamedDependency

from visiona.sandbox.clerk.clock import Clock
from visiona.sandbox.clerk.config import ClerkSandboxConfig
from visiona.sandbox.clerk.events import EventLog
from visiona.sandbox.clerk.handshake import Handshakes
from visiona.sandbox.clerk.keys import Keys
from visiona.sandbox.clerk.minting import Mint
from visiona.sandbox.clerk.people import People
from visiona.sandbox.clerk.sessions import Sessions
from visiona.sandbox.clerk.sign_in import SignIns
from visiona.sandbox.clerk.store import Store
from visiona.sandbox.clerk.webhooks import WebhookSender
from visiona.sandbox.faults import Fault, FaultBook

logger = logging.getLogger(__name__)

_TIDY_SECONDS = 60.0


class Sandbox:
    """Whoever changes something does it within `acting()`: all of it happens, or nothing."""

    def __init__(self, config: ClerkSandboxConfig) -> None:
        self.config = config
        self.store = Store(config.data_dir / "clerk")
        self.clock = Clock(self.store)
        self.faults = FaultBook[Fault]()
        self.keys = Keys(self.store, self.clock, config.public_url)
        self.sender = WebhookSender(config, self.store, self.clock, self.faults)
        self.events = EventLog(self.store, self.clock, self.keys, self.sender)
        self.people = People(self.store, self.clock, self.events.emit, f"{config.public_url}/avatar.svg")
        self.sessions = Sessions(self.store, self.clock, self.keys, self.people, self.events.emit)
        self.sign_ins = SignIns(self.store, self.clock, self.keys, self.people, self.sessions)
        self.handshakes = Handshakes(config, self.store, self.clock, self.keys, self.sessions)
        self.mint = Mint(config, self.keys, self.sessions)
        self.fetches: dict[str, int] = {}
        """How often each of the key sets has been asked for since the start, by its path."""
        self._tidier: asyncio.Task[None] | None = None

    @contextmanager
    def acting(self, client_ip: str = "", user_agent: str = "") -> Generator[None]:
        """One action, whole or not at all; its events tell of the request that caused it."""
        with self.store.atomic(), self.events.caused_by(client_ip, user_agent):
            yield

    def count_fetch(self, path: str) -> None:
        self.fetches[path] = self.fetches.get(path, 0) + 1

    def forget_old(self) -> None:
        self.events.forget_old()
        self.handshakes.forget_old()

    def start(self) -> None:
        self.sender.start()
        self._tidier = asyncio.create_task(self._tidy_for_ever())

    async def stop(self) -> None:
        if self._tidier is not None:
            self._tidier.cancel()
            with suppress(asyncio.CancelledError):
                await self._tidier
        await self.sender.stop()
        self.store.close()

    def reset(self) -> None:
        """Forget everything, the signing keys too, as if just installed."""
        self.store.clear()
        self.keys.ensure()
        self.faults.clear()
        self.fetches.clear()
        self.sender.forget()

    async def _tidy_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            try:
                with self.acting():
                    self.forget_old()
            except Exception:
                logger.exception("What is old could not be removed; it is tried again in a minute.")


TheSandbox = NamedDependency[Sandbox]
"""How a route handler asks for the sandbox."""
