"""SQL of runs and the images they delivered."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, kwargs_row
from psycopg.types.json import Jsonb

from visiona.clones.model import ReadyClone
from visiona.core.work import Failure, WorkState
from visiona.db.pool import Connection, fetch_value
from visiona.generations.model import GeneratedImage, Run, RunRequest
from visiona.ports.imaging import ProcessedImage

_RUN = """select id, user_id, model_id, version, trigger_word, prompt, enhance, enhanced_prompt,
                 enhancement_provider, enhancement_outcome, inputs, num_outputs, state, progress,
                 provider_id, error_code, error_message, quota_period, cancel_requested_at,
                 submitted_at, created_at, finished_at
          from runs"""

_IMAGE_COLUMNS = """id, user_id, model_id, run_id, prompt, enhanced_prompt, image_url as image_key,
                   thumbnail_url as thumbnail_key, width, height, seed, parameters, created_at"""


def _read_run(*, state: str, **columns: Any) -> Run:
    return Run(state=WorkState(state), **columns)


async def insert(
    connection: Connection, user_id: int, clone: ReadyClone, request: RunRequest, quota_period: datetime
) -> int:
    return await fetch_value(
        connection,
        """insert into runs (user_id, model_id, version, trigger_word, prompt, enhance,
                             enhancement_outcome, inputs, num_outputs, quota_period)
           values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning id""",
        [
            user_id,
            clone.id,
            clone.version,
            clone.trigger_word,
            request.prompt,
            request.enhance,
            "pending" if request.enhance else "not_requested",
            Jsonb(dict(request.inputs)),
            request.num_outputs,
            quota_period,
        ],
    )


async def find(connection: Connection, user_id: int, run_id: int) -> Run | None:
    return await _find(connection, user_id, run_id, lock=False)


async def lock(connection: Connection, user_id: int, run_id: int) -> Run | None:
    """The same, held until this transaction ends."""
    return await _find(connection, user_id, run_id, lock=True)


async def _find(connection: Connection, user_id: int, run_id: int, *, lock: bool) -> Run | None:
    query = f"{_RUN} where user_id = %s and id = %s"
    if lock:
        query = f"{query} for update"
    async with connection.cursor(row_factory=kwargs_row(_read_run)) as cursor:
        await cursor.execute(query, [user_id, run_id])
        return await cursor.fetchone()


async def page(connection: Connection, user_id: int, limit: int, before: int | None) -> list[Run]:
    """Newest first, older than the run `before`."""
    async with connection.cursor(row_factory=kwargs_row(_read_run)) as cursor:
        await cursor.execute(
            f"{_RUN} where user_id = %s and (%s::bigint is null or id < %s) order by id desc limit %s",
            [user_id, before, before, limit],
        )
        return await cursor.fetchall()


async def images_of(
    connection: Connection, user_id: int, run_ids: Sequence[int]
) -> dict[int, list[GeneratedImage]]:
    """Images by run, in the order in which they were delivered."""
    async with connection.cursor(row_factory=class_row(GeneratedImage)) as cursor:
        await cursor.execute(
            f"""select {_IMAGE_COLUMNS} from generations where user_id = %s and run_id = any(%s)
                order by run_id, position""",
            [user_id, list(run_ids)],
        )
        images: dict[int, list[GeneratedImage]] = {}
        async for image in cursor:
            images.setdefault(image.run_id, []).append(image)
    return images


async def request_cancel(connection: Connection, user_id: int, run_id: int) -> bool:
    """False when the run has ended already."""
    cursor = await connection.execute(
        """update runs set cancel_requested_at = coalesce(cancel_requested_at, now())
           where user_id = %s and id = %s and finished_at is null""",
        [user_id, run_id],
    )
    return cursor.rowcount == 1


async def set_enhancement(
    connection: Connection, run_id: int, outcome: str, provider: str | None, text: str | None
) -> bool:
    """False when it was set before."""
    cursor = await connection.execute(
        """update runs set enhancement_outcome = %s, enhancement_provider = %s, enhanced_prompt = %s
           where id = %s and enhancement_outcome = 'pending'""",
        [outcome, provider, text, run_id],
    )
    return cursor.rowcount == 1


async def set_state(
    connection: Connection, run_id: int, state: WorkState, submitted_at: datetime | None
) -> None:
    await connection.execute(
        "update runs set state = %s, submitted_at = %s where id = %s", [state, submitted_at, run_id]
    )


async def set_running(connection: Connection, run_id: int, provider_id: str) -> None:
    await connection.execute(
        "update runs set state = 'running', provider_id = %s where id = %s", [provider_id, run_id]
    )


async def predictions_of_others(connection: Connection, run: Run) -> frozenset[str]:
    """What the provider makes, or made, for this person's other runs of that time."""
    rows = await (
        await connection.execute(
            """select provider_id from runs where user_id = %s and id <> %s and provider_id is not null
                 and created_at > %s - interval '1 hour'""",
            [run.user_id, run.id, run.created_at],
        )
    ).fetchall()
    return frozenset(row[0] for row in rows)


async def set_progress(connection: Connection, run_id: int, progress: float) -> bool:
    """Progress only grows. False when nothing changed."""
    cursor = await connection.execute(
        "update runs set progress = %s where id = %s and finished_at is null and progress < %s",
        [progress, run_id, progress],
    )
    return cursor.rowcount == 1


async def finish(connection: Connection, run_id: int, state: WorkState, failure: Failure | None) -> None:
    await connection.execute(
        """update runs set state = %s, finished_at = now(), error_code = %s, error_message = %s,
                  enhancement_outcome = case enhancement_outcome when 'pending' then 'unavailable'
                                        else enhancement_outcome end
           where id = %s""",
        [state, failure and failure.code, failure and failure.message, run_id],
    )


async def insert_image(
    connection: Connection,
    run: Run,
    position: int,
    image_key: str,
    thumbnail_key: str,
    image: ProcessedImage,
) -> None:
    await connection.execute(
        """insert into generations (user_id, model_id, run_id, position, prompt, enhanced_prompt,
                                    image_url, thumbnail_url, content_type, width, height, size, sha256,
                                    seed, parameters)
           values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        [
            run.user_id,
            run.model_id,
            run.id,
            position,
            run.prompt,
            run.enhanced_prompt,
            image_key,
            thumbnail_key,
            image.content_type,
            image.width,
            image.height,
            image.size,
            image.sha256,
            run.inputs.get("seed"),
            Jsonb(run.inputs),
        ],
    )


async def delete_images(
    connection: Connection, user_id: int, image_ids: Sequence[int]
) -> list[tuple[int, str, str]]:
    """(id, image key, thumbnail key) of those that were there."""
    rows = await (
        await connection.execute(
            """delete from generations where user_id = %s and id = any(%s)
               returning id, image_url, thumbnail_url""",
            [user_id, list(image_ids)],
        )
    ).fetchall()
    return [(row[0], row[1], row[2]) for row in rows]


async def take_due(connection: Connection, limit: int) -> list[tuple[int, int]]:
    """(user, run) of open runs that deserve a look, marked as looked at.

    A look every 2 s at first, then every tenth of the age, at the most every 30 s.
    """
    rows = await (
        await connection.execute(
            """update runs set checked_at = now() where id in (
                 select id from runs where finished_at is null
                   and coalesce(checked_at, created_at)
                     < now() - least('30 s', greatest('2 s', (now() - created_at) / 10))
                 order by checked_at nulls first limit %s for update skip locked)
               returning user_id, id""",
            [limit],
        )
    ).fetchall()
    return [(row[0], row[1]) for row in rows]
