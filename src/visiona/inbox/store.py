"""SQL of receipts."""

from psycopg.types.json import Jsonb

from visiona.db.pool import Connection, fetch_value
from visiona.inbox.model import Receipt

KEPT_FOR = "35 days"


async def insert(connection: Connection, receipt: Receipt) -> int | None:
    """The new row's id, or None when this message was stored before."""
    return await fetch_value(
        connection,
        """insert into webhook_receipts (provider, external_id, topic, reference) values (%s, %s, %s, %s)
           on conflict (provider, external_id) do nothing returning id""",
        [receipt.provider, receipt.external_id, receipt.topic, Jsonb(dict(receipt.reference))],
    )


async def unprocessed(connection: Connection, receipt_id: int) -> Receipt | None:
    row = await (
        await connection.execute(
            """select provider, external_id, topic, reference from webhook_receipts
               where id = %s and processed_at is null""",
            [receipt_id],
        )
    ).fetchone()
    return None if row is None else Receipt(*row)


async def mark_processed(connection: Connection, receipt_id: int) -> None:
    """What it was about is forgotten: only that it came has to be known, for when it comes again."""
    await connection.execute(
        "update webhook_receipts set processed_at = now(), reference = '{}' where id = %s", [receipt_id]
    )


async def purge(connection: Connection) -> None:
    """Forget receipts older than the longest time in which a provider may send again."""
    await connection.execute(
        "delete from webhook_receipts where received_at < now() - %s::interval", [KEPT_FOR]
    )
