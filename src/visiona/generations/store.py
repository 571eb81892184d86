"""SQL of runs and the images they delivered. A `Cipher` is their owner's."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString, TypeVar
from uuid import UUID

from psycopg.rows import BaseRowFactory, kwargs_row

from visiona.clones.model import ReadyClone
from visiona.core.work import Failure, WorkState
from visiona.db.pool import Connection, fetch_value
from visiona.db.sealed import (
    IMAGE_ENHANCED_PROMPT,
    IMAGE_PARAMETERS,
    IMAGE_PROMPT,
    RUN_ENHANCED_PROMPT,
    RUN_ERROR,
    RUN_INPUTS,
    RUN_PROMPT,
    RUN_TRIGGER_WORD,
)
from visiona.db.sealed_rows import opening, seal_json
from visiona.generations.model import GeneratedImage, Run, RunRequest, RunStanding
from visiona.ports.imaging import ProcessedImage
from visiona.vault.model import Cipher

T = TypeVar("T")

_STANDING = """select id, user_id, num_outputs, state, provider_id, quota_period, cancel_requested_at,
                      submitted_at, created_at
               from runs"""
_RUN = """select id, user_id, model_id, version, trigger_word, prompt, enhance, enhanced_prompt,
                 enhancement_provider, enhancement_outcome, inputs, num_outputs, state, progress,
                 provider_id, error_code, error_message, quota_period, cancel_requested_at,
                 submitted_at, created_at, finished_at
          from runs"""
_RUN_TEXTS = (RUN_TRIGGER_WORD, RUN_PROMPT, RUN_ENHANCED_PROMPT, RUN_ERROR)

_IMAGE_COLUMNS = """id, user_id, model_id, run_id, prompt, enhanced_prompt, image_url as image_key,
                   thumbnail_url as thumbnail_key, width, height, seed, parameters, created_at"""


def _read_standing(*, state: str, **columns: Any) -> RunStanding:
    return RunStanding(state=WorkState(state), **columns)


def _read_run(*, state: str, **columns: Any) -> Run:
    return Run(state=WorkState(state), **columns)


def _run(cipher: Cipher) -> BaseRowFactory[Run]:
    return opening(_read_run, cipher, _RUN_TEXTS, (RUN_INPUTS,))


def _image(cipher: Cipher) -> BaseRowFactory[GeneratedImage]:
    return opening(GeneratedImage, cipher, (IMAGE_PROMPT, IMAGE_ENHANCED_PROMPT), (IMAGE_PARAMETERS,))


async def insert(
    connection: Connection,
    cipher: Cipher,
    user_id: int,
    clone: ReadyClone,
    request: RunRequest,
    quota_period: datetime,
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
            cipher.seal(RUN_TRIGGER_WORD.place, clone.trigger_word),
            cipher.seal(RUN_PROMPT.place, request.prompt),
            request.enhance,
            "pending" if request.enhance else "not_requested",
            seal_json(cipher, RUN_INPUTS, dict(request.inputs)),
            request.num_outputs,
            quota_period,
        ],
    )


async def find(connection: Connection, cipher: Cipher, user_id: int, run_id: int) -> Run | None:
    return await _find(connection, _run(cipher), _RUN, user_id, run_id)


async def lock(connection: Connection, cipher: Cipher, user_id: int, run_id: int) -> Run | None:
    """The same, held until this transaction ends."""
    return await _find(connection, _run(cipher), _RUN, user_id, run_id, lock=True)


async def find_standing(connection: Connection, user_id: int, run_id: int) -> RunStanding | None:
    return await _find(connection, kwargs_row(_read_standing), _STANDING, user_id, run_id)


async def lock_standing(connection: Connection, user_id: int, run_id: int) -> RunStanding | None:
    """The same, held until this transaction ends."""
    return await _find(connection, kwargs_row(_read_standing), _STANDING, user_id, run_id, lock=True)


async def _find(
    connection: Connection,
    rows: BaseRowFactory[T],
    columns: LiteralString,
    user_id: int,
    run_id: int,
    *,
    lock: bool = False,
) -> T | None:
    query = f"{columns} where user_id = %s and id = %s"
    if lock:
        query = f"{query} for update"
    async with connection.cursor(row_factory=rows) as cursor:
        await cursor.execute(query, [user_id, run_id])
        return await cursor.fetchone()


async def page(
    connection: Connection, cipher: Cipher, user_id: int, limit: int, before: int | None
) -> list[Run]:
    """Newest first, older than the run `before`."""
    async with connection.cursor(row_factory=_run(cipher)) as cursor:
        await cursor.execute(
            f"{_RUN} where user_id = %s and (%s::bigint is null or id < %s) order by id desc limit %s",
            [user_id, before, before, limit],
        )
        return await cursor.fetchall()


async def images_of(
    connection: Connection, cipher: Cipher, user_id: int, run_ids: Sequence[int]
) -> dict[int, list[GeneratedImage]]:
    """Images by run, in the order in which they were delivered."""
    async with connection.cursor(row_factory=_image(cipher)) as cursor:
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
    connection: Connection,
    cipher: Cipher,
    run_id: int,
    outcome: str,
    provider: str | None,
    text: str | None,
) -> bool:
    """False when it was set before."""
    cursor = await connection.execute(
        """update runs set enhancement_outcome = %s, enhancement_provider = %s, enhanced_prompt = %s
           where id = %s and enhancement_outcome = 'pending'""",
        [outcome, provider, cipher.seal_optional(RUN_ENHANCED_PROMPT.place, text), run_id],
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


async def predictions_of_others(connection: Connection, run: RunStanding) -> frozenset[str]:
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


async def finish(
    connection: Connection, cipher: Cipher, run_id: int, state: WorkState, failure: Failure | None
) -> None:
    said = failure and cipher.seal(RUN_ERROR.place, failure.message)
    await connection.execute(
        """update runs set state = %s, finished_at = now(), error_code = %s, error_message = %s,
                  enhancement_outcome = case enhancement_outcome when 'pending' then 'unavailable'
                                        else enhancement_outcome end
           where id = %s""",
        [state, failure and failure.code, said, run_id],
    )


async def insert_image(
    connection: Connection,
    cipher: Cipher,
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
            cipher.seal(IMAGE_PROMPT.place, run.prompt),
            cipher.seal_optional(IMAGE_ENHANCED_PROMPT.place, run.enhanced_prompt),
            image_key,
            thumbnail_key,
            image.content_type,
            image.width,
            image.height,
            image.size,
            image.sha256,
            run.inputs.get("seed"),
            seal_json(cipher, IMAGE_PARAMETERS, run.inputs),
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


async def consent_of(connection: Connection, user_id: int, run_id: int) -> UUID | None:
    """Of whose face the run is, whether its clone is there or not."""
    return await fetch_value(
        connection, "select consent_id from runs where user_id = %s and id = %s", [user_id, run_id]
    )


# Runs from before consents were asked for are of the person's own face.
_OF_FACE = """r.user_id = %(user)s and (r.consent_id = %(consent)s or (r.consent_id is null and exists (
  select from consents c where c.user_id = %(user)s and c.id = %(consent)s and c.subject = 'self')))"""


async def open_runs_of(connection: Connection, user_id: int, consent_id: UUID) -> list[int]:
    """Runs of this face that have not ended."""
    cursor = await connection.execute(
        f"select r.id from runs r where {_OF_FACE} and r.finished_at is null",
        {"user": user_id, "consent": consent_id},
    )
    return [row[0] for row in await cursor.fetchall()]


async def delete_images_of(
    connection: Connection, user_id: int, consent_id: UUID
) -> list[tuple[int, str, str]]:
    """(id, image key, thumbnail key) of all that were made of this face."""
    cursor = await connection.execute(
        f"""delete from generations g using runs r
            where g.user_id = r.user_id and g.run_id = r.id and {_OF_FACE}
            returning g.id, g.image_url, g.thumbnail_url""",
        {"user": user_id, "consent": consent_id},
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


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
