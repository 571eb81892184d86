"""Taking in photos, one file at a time, and giving them up again."""

from collections.abc import Sequence
from pathlib import Path

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.core.errors import NotFound
from visiona.core.scratch import scratch_folder
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.objects.model import Kind, new_key
from visiona.objects.service import ObjectService
from visiona.photos import store
from visiona.photos.model import MAX_PHOTOS, Photo, PhotoRefused, duplicate, too_many
from visiona.ports.imaging import ImageProcessor, ImageRefused, ProcessedImage


class PhotoService:
    def __init__(self, database: Database, objects: ObjectService, imaging: ImageProcessor) -> None:
        self._database = database
        self._objects = objects
        self._imaging = imaging

    async def add(self, actor: UserActor, source: Path) -> Photo:
        """Check, re-encode and keep the file at `source`. Raises `PhotoRefused`."""
        with scratch_folder() as folder:
            try:
                image = await self._imaging.process_photo(source, folder)
            except ImageRefused as refusal:
                raise PhotoRefused(refusal.code, refusal.message) from refusal
            return await self._keep(actor, image)

    async def page(self, actor: UserActor, limit: int, before: int | None = None) -> list[Photo]:
        """Newest first, older than the photo `before`."""
        async with self._database.transaction(actor) as connection:
            return await store.page(connection, actor.user_id, limit, before)

    async def get(self, actor: UserActor, photo_id: int) -> Photo:
        async with self._database.transaction(actor) as connection:
            found = await store.find(connection, actor.user_id, [photo_id])
        if not found:
            raise photo_not_found()
        return found[0]

    async def delete(self, actor: UserActor, photo_id: int) -> None:
        """Delete the photo and, once that is committed, its objects."""
        async with self._database.transaction(actor) as connection:
            photo = await store.delete(connection, actor.user_id, photo_id)
            if photo is None:
                raise photo_not_found()
            await self._objects.remove(connection, [photo.file_key, photo.thumbnail_key])
            await audit.record(connection, actor.user_id, Action.PHOTO_DELETED, {"photo_id": photo_id})

    async def _keep(self, actor: UserActor, image: ProcessedImage) -> Photo:
        async with self._database.transaction(actor) as connection:
            if await store.count(connection, actor.user_id) >= MAX_PHOTOS:
                raise too_many()
        file_key = new_key(actor.user_id, Kind.PHOTO, image.content_type)
        thumbnail_key = new_key(actor.user_id, Kind.PHOTO, "image/webp")
        keys = [file_key, thumbnail_key]
        await self._objects.put(actor, {file_key: image.master, thumbnail_key: image.thumbnail})
        async with self._database.transaction(actor) as connection:
            full = await store.locked_count(connection, actor.user_id) >= MAX_PHOTOS
            photo = (
                None
                if full
                else await store.insert(connection, actor.user_id, file_key, thumbnail_key, image)
            )
            if photo is not None:
                await self._objects.settle(connection, keys)
                await audit.record(connection, actor.user_id, Action.PHOTO_ADDED, {"photo_id": photo.id})
        if photo is None:
            await self._objects.discard(actor, keys)
            raise too_many() if full else duplicate()
        return photo


async def select(
    connection: Connection, user_id: int, photo_ids: Sequence[int] | None, limit: int
) -> list[Photo]:
    """On the caller's transaction: the photos named, or the newest `limit` when none are."""
    if photo_ids is None:
        return await store.newest(connection, user_id, limit)
    return await store.find(connection, user_id, photo_ids)


def photo_not_found() -> NotFound:
    return NotFound("photo_not_found", "There is no such photo. It may have been deleted.")
