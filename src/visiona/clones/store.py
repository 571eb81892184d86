"""SQL of clones and their trainings. A `Cipher` is their owner's."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import BaseRowFactory, kwargs_row
from psycopg.types.json import Jsonb

from visiona.clones.model import ClaimedTraining, Clone, ReadyClone, Training
from visiona.core.work import Failure, WorkState
from visiona.db.pool import Connection, fetch_value
from visiona.db.sealed import MODEL_ERROR, MODEL_PARAMETERS, MODEL_TRIGGER_WORD, TRAINING_ARCHIVE_URL
from visiona.db.sealed_rows import opening, seal_json
from visiona.vault.model import Cipher

_CLONE = """select m.id, m.user_id, m.trigger_word, m.status,
                   case when m.status = 'Ready' then 1 else coalesce(t.progress, 0) end as progress,
                   m.parameters, m.photo_count, m.version, m.error_code, m.error_message,
                   m.created_at, m.ready_at
            from models m left join trainings t on t.user_id = m.user_id and t.model_id = m.id"""

_TRAINING_COLUMNS = """t.id, t.user_id, t.model_id, t.state, t.archive_id, t.provider_id, t.quota_period,
                       t.cancel_requested_at, t.submitted_at, t.created_at"""
_TRAINING = f"select {_TRAINING_COLUMNS} from trainings t where t.user_id = %s and t.model_id = %s"


async def insert(
    connection: Connection,
    cipher: Cipher,
    user_id: int,
    consent_id: UUID,
    trigger_word: str,
    parameters: dict[str, Any],
    photo_ids: Sequence[int],
    quota_period: datetime,
) -> int:
    model_id: int = await fetch_value(
        connection,
        """insert into models (user_id, consent_id, trigger_word, parameters, photo_count)
           values (%s, %s, %s, %s, %s) returning id""",
        [
            user_id,
            consent_id,
            cipher.seal(MODEL_TRIGGER_WORD.place, trigger_word),
            seal_json(cipher, MODEL_PARAMETERS, parameters),
            len(photo_ids),
        ],
    )
    await connection.execute(
        """insert into model_photos (user_id, model_id, photo_id)
           select %s, %s, unnest(%s::bigint[])""",
        [user_id, model_id, list(photo_ids)],
    )
    await connection.execute(
        "insert into trainings (user_id, model_id, quota_period) values (%s, %s, %s)",
        [user_id, model_id, quota_period],
    )
    return model_id


async def find(connection: Connection, cipher: Cipher, user_id: int, model_id: int) -> Clone | None:
    async with connection.cursor(row_factory=_clone(cipher)) as cursor:
        await cursor.execute(f"{_CLONE} where m.user_id = %s and m.id = %s", [user_id, model_id])
        return await cursor.fetchone()


async def page(
    connection: Connection, cipher: Cipher, user_id: int, limit: int, before: int | None
) -> list[Clone]:
    """Newest first, older than the clone `before`."""
    async with connection.cursor(row_factory=_clone(cipher)) as cursor:
        await cursor.execute(
            f"""{_CLONE} where m.user_id = %s and (%s::bigint is null or m.id < %s)
                order by m.id desc limit %s""",
            [user_id, before, before, limit],
        )
        return await cursor.fetchall()


async def find_ready(
    connection: Connection, cipher: Cipher, user_id: int, model_id: int
) -> ReadyClone | None:
    opened = opening(ReadyClone, cipher, (MODEL_TRIGGER_WORD,))
    async with connection.cursor(row_factory=opened) as cursor:
        await cursor.execute(
            """select id, trigger_word, version, input_schema, consent_id from models
               where user_id = %s and id = %s and status = 'Ready'""",
            [user_id, model_id],
        )
        return await cursor.fetchone()


def _clone(cipher: Cipher) -> BaseRowFactory[Clone]:
    return opening(Clone, cipher, (MODEL_TRIGGER_WORD, MODEL_ERROR), (MODEL_PARAMETERS,))


async def delete(connection: Connection, user_id: int, model_id: int) -> None:
    await connection.execute("delete from models where user_id = %s and id = %s", [user_id, model_id])


async def ids_of(connection: Connection, user_id: int, consent_id: UUID) -> list[int]:
    """The clones of the face of this consent."""
    cursor = await connection.execute(
        "select id from models where user_id = %s and consent_id = %s order by id", [user_id, consent_id]
    )
    return [row[0] for row in await cursor.fetchall()]


async def consent_of(connection: Connection, user_id: int, model_id: int) -> UUID | None:
    return await fetch_value(
        connection, "select consent_id from models where user_id = %s and id = %s", [user_id, model_id]
    )


async def request_cancel(connection: Connection, user_id: int, model_id: int) -> bool:
    """False when the training has ended already."""
    cursor = await connection.execute(
        """update trainings set cancel_requested_at = coalesce(cancel_requested_at, now())
           where user_id = %s and model_id = %s and finished_at is null""",
        [user_id, model_id],
    )
    return cursor.rowcount == 1


async def photo_ids(connection: Connection, user_id: int, model_id: int) -> list[int]:
    rows = await (
        await connection.execute(
            "select photo_id from model_photos where user_id = %s and model_id = %s order by photo_id",
            [user_id, model_id],
        )
    ).fetchall()
    return [row[0] for row in rows]


async def training(connection: Connection, user_id: int, model_id: int) -> Training | None:
    return await _training(connection, user_id, model_id, lock=False)


async def lock_training(connection: Connection, user_id: int, model_id: int) -> Training | None:
    """The same, held until this transaction ends."""
    return await _training(connection, user_id, model_id, lock=True)


async def _training(connection: Connection, user_id: int, model_id: int, *, lock: bool) -> Training | None:
    query = f"{_TRAINING} for update" if lock else _TRAINING
    async with connection.cursor(row_factory=kwargs_row(_read_training)) as cursor:
        await cursor.execute(query, [user_id, model_id])
        return await cursor.fetchone()


def _read_training(*, state: str, **columns: Any) -> Training:
    return Training(state=WorkState(state), **columns)


def _read_claimed(*, state: str, **columns: Any) -> ClaimedTraining:
    return ClaimedTraining(state=WorkState(state), **columns)


async def claim(
    connection: Connection, cipher: Cipher, training_id: int, submitted_at: datetime
) -> ClaimedTraining | None:
    """On the locked training: take the lease."""
    texts = (TRAINING_ARCHIVE_URL, MODEL_TRIGGER_WORD)
    opened = opening(_read_claimed, cipher, texts, (MODEL_PARAMETERS,))
    async with connection.cursor(row_factory=opened) as cursor:
        await cursor.execute(
            f"""update trainings t set state = %s, submitted_at = %s from models m
                where t.id = %s and m.user_id = t.user_id and m.id = t.model_id
                returning {_TRAINING_COLUMNS}, t.archive_url, m.trigger_word, m.parameters""",
            [WorkState.SUBMITTING, submitted_at, training_id],
        )
        return await cursor.fetchone()


async def set_archive(
    connection: Connection, cipher: Cipher, training_id: int, archive_id: str, url: str
) -> bool:
    """False when the training has one already, or has ended."""
    cursor = await connection.execute(
        """update trainings set archive_id = %s, archive_url = %s
           where id = %s and archive_id is null and finished_at is null""",
        [archive_id, cipher.seal(TRAINING_ARCHIVE_URL.place, url), training_id],
    )
    return cursor.rowcount == 1


async def set_state(
    connection: Connection, training_id: int, state: WorkState, submitted_at: datetime | None
) -> None:
    await connection.execute(
        "update trainings set state = %s, submitted_at = %s where id = %s", [state, submitted_at, training_id]
    )


async def set_running(connection: Connection, training_id: int, provider_id: str) -> None:
    await connection.execute(
        "update trainings set state = 'running', provider_id = %s where id = %s", [provider_id, training_id]
    )


async def set_progress(connection: Connection, training_id: int, progress: float) -> bool:
    """Progress only grows. False when nothing changed."""
    cursor = await connection.execute(
        "update trainings set progress = %s where id = %s and finished_at is null and progress < %s",
        [progress, training_id, progress],
    )
    return cursor.rowcount == 1


async def finish(connection: Connection, training_id: int, state: WorkState) -> None:
    await connection.execute(
        "update trainings set state = %s, finished_at = now() where id = %s", [state, training_id]
    )


async def set_ready(
    connection: Connection, model_id: int, version: str, input_schema: dict[str, Any]
) -> None:
    await connection.execute(
        """update models set status = 'Ready', version = %s, input_schema = %s, ready_at = now()
           where id = %s""",
        [version, Jsonb(input_schema), model_id],
    )


async def set_failed(connection: Connection, cipher: Cipher, model_id: int, failure: Failure) -> None:
    await connection.execute(
        "update models set status = 'Failed', error_code = %s, error_message = %s where id = %s",
        [failure.code, cipher.seal(MODEL_ERROR.place, failure.message), model_id],
    )


async def take_due(connection: Connection, limit: int) -> list[tuple[int, int]]:
    """(user, model) of open trainings that deserve a look, marked as looked at.

    A look every 2 s at first, then every tenth of the age, at the most every 30 s.
    """
    rows = await (
        await connection.execute(
            """update trainings set checked_at = now() where id in (
                 select id from trainings where finished_at is null
                   and coalesce(checked_at, created_at)
                     < now() - least('30 s', greatest('2 s', (now() - created_at) / 10))
                 order by checked_at nulls first limit %s for update skip locked)
               returning user_id, model_id""",
            [limit],
        )
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


async def any_open(connection: Connection, shard: int, shards: int) -> bool:
    """By the worker's system: whether a training of somebody in this shard is not over."""
    return await fetch_value(
        connection,
        "select exists (select from trainings where finished_at is null and user_id %% %s = %s)",
        [shards, shard],
    )
