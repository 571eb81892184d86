"""Accept a provider's message in one transaction with its job; process it once, later."""

from collections.abc import Mapping

from visiona.db.actor import SystemActor
from visiona.db.jobs import enqueue
from visiona.db.pool import Database
from visiona.inbox import store
from visiona.inbox.model import Handler, Receipt

PROCESS_TASK = "inbox.process"


class InboxService:
    """`handlers` maps (provider, topic) to what is done about it; others are kept and ignored."""

    def __init__(self, database: Database, handlers: Mapping[tuple[str, str], Handler]) -> None:
        self._database = database
        self._handlers = handlers

    async def accept(self, receipt: Receipt) -> None:
        """Store a verified message. Once this returns it is safe to answer 2xx; a repeat is a no-op."""
        async with self._database.transaction(SystemActor(f"hook:{receipt.provider}")) as connection:
            receipt_id = await store.insert(connection, receipt)
            if receipt_id is not None:
                await enqueue(connection, PROCESS_TASK, receipt_id=receipt_id)

    async def process(self, receipt_id: int) -> None:
        actor = SystemActor("inbox")
        async with self._database.transaction(actor) as connection:
            receipt = await store.unprocessed(connection, receipt_id)
        if receipt is None:
            return
        handler = self._handlers.get((receipt.provider, receipt.topic))
        if handler is not None:
            await handler(receipt.reference)
        async with self._database.transaction(actor) as connection:
            await store.mark_processed(connection, receipt_id)

    async def purge(self) -> None:
        async with self._database.transaction(SystemActor("purge")) as connection:
            await store.purge(connection)
