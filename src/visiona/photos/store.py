"""SQL of photos."""

from collections.abc import Sequence
from uuid import UUID

from psycopg.rows import class_row

from visiona.db.pool import Connection, fetch_value
from visiona.photos.model import Photo
from visiona.ports.imaging import ProcessedImage

_COLUMNS = """id, user_id, file_url as file_key, thumbnail_url as thumbnail_key, width, height, size,
              sha256, warnings, uploaded_at, consent_id"""


async def insert(
    connection: Connection,
    user_id: int,
    consent_id: UUID,
    file_key: str,
    thumbnail_key: str,
    image: ProcessedImage,
) -> Photo | None:
    """None when this person has the very same photo already."""
    async with connection.cursor(row_factory=class_row(Photo)) as cursor:
        await cursor.execute(
            f"""insert into photos (user_id, consent_id, file_url, thumbnail_url, width, height, size, sha256,
                  warnings)
                values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
                on conflict (user_id, sha256) do nothing
                returning {_COLUMNS}""",
            [
                user_id,
                consent_id,
                file_key,
                thumbnail_key,
                image.width,
                image.height,
                image.size,
                image.sha256,
                list(image.warnings),
            ],
        )
        return await cursor.fetchone()


async def count(connection: Connection, user_id: int) -> int:
    return await fetch_value(connection, "select count(*) from photos where user_id = %s", [user_id])


async def locked_count(connection: Connection, user_id: int) -> int:
    """The same, with this person's other additions waiting until this transaction ends."""
    await connection.execute("select pg_advisory_xact_lock(hashtextextended('photos', %s))", [user_id])
    return await count(connection, user_id)


async def page(connection: Connection, user_id: int, limit: int, before: int | None) -> list[Photo]:
    """Newest first, older than the photo `before`."""
    async with connection.cursor(row_factory=class_row(Photo)) as cursor:
        await cursor.execute(
            f"""select {_COLUMNS} from photos
                where user_id = %s and (%s::bigint is null or id < %s) order by id desc limit %s""",
            [user_id, before, before, limit],
        )
        return await cursor.fetchall()


async def find(connection: Connection, user_id: int, photo_ids: Sequence[int]) -> list[Photo]:
    async with connection.cursor(row_factory=class_row(Photo)) as cursor:
        await cursor.execute(
            f"select {_COLUMNS} from photos where user_id = %s and id = any(%s) order by id",
            [user_id, list(photo_ids)],
        )
        return await cursor.fetchall()


async def newest(connection: Connection, user_id: int, consent_id: UUID, limit: int) -> list[Photo]:
    """Of the face of this consent."""
    async with connection.cursor(row_factory=class_row(Photo)) as cursor:
        await cursor.execute(
            f"""select {_COLUMNS} from photos where user_id = %s and consent_id = %s
                order by id desc limit %s""",
            [user_id, consent_id, limit],
        )
        return await cursor.fetchall()


async def delete_of(connection: Connection, user_id: int, consent_id: UUID) -> list[Photo]:
    """All of the face of this consent."""
    async with connection.cursor(row_factory=class_row(Photo)) as cursor:
        await cursor.execute(
            f"delete from photos where user_id = %s and consent_id = %s returning {_COLUMNS}",
            [user_id, consent_id],
        )
        return await cursor.fetchall()


async def delete(connection: Connection, user_id: int, photo_id: int) -> Photo | None:
    async with connection.cursor(row_factory=class_row(Photo)) as cursor:
        await cursor.execute(
            f"delete from photos where user_id = %s and id = %s returning {_COLUMNS}", [user_id, photo_id]
        )
        return await cursor.fetchone()
