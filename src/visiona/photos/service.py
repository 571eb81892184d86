"""Taking in photos, one file at a time, and giving them up again."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.consents import service as consents
from visiona.consents.model import needed as consent_needed
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

    async def add(self, actor: UserActor, source: Path, consent_id: UUID | None = None) -> Photo:
        """Check, re-encode and keep the file at `source`: a photo of whoever gave this consent, or of the
        person's own face. Raises `PhotoRefused`, or `Forbidden` (`consent_needed`).
        """
        async with self._database.transaction(actor) as connection:
            consent_id = await consents.released(connection, actor.user_id, consent_id)
        with scratch_folder() as folder:
            try:
                image = await self._imaging.process_photo(source, folder)
            except ImageRefused as refusal:
                raise PhotoRefused(refusal.code, refusal.message) from refusal
            return await self._keep(actor, consent_id, image)

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

    async def forget(self, user_id: int, consent_id: UUID) -> None:
        """Delete every photo of the face of a consent that is over."""
        async with self._database.transaction(UserActor(user_id)) as connection:
            for photo in await store.delete_of(connection, user_id, consent_id):
                await self._objects.remove(connection, [photo.file_key, photo.thumbnail_key])
                await audit.record(connection, user_id, Action.PHOTO_DELETED, {"photo_id": photo.id})

    async def _keep(self, actor: UserActor, consent_id: UUID, image: ProcessedImage) -> Photo:
        async with self._database.transaction(actor) as connection:
            if await store.count(connection, actor.user_id) >= MAX_PHOTOS:
                raise too_many()
        file_key = new_key(actor.user_id, Kind.PHOTO, image.content_type)
        thumbnail_key = new_key(actor.user_id, Kind.PHOTO, "image/webp")
        keys = [file_key, thumbnail_key]
        await self._objects.put(actor, {file_key: image.master, thumbnail_key: image.thumbnail})
        async with self._database.transaction(actor) as connection:
            full = await store.locked_count(connection, actor.user_id) >= MAX_PHOTOS
            held = await consents.holds(connection, actor.user_id, consent_id)
            photo = (
                await store.insert(connection, actor.user_id, consent_id, file_key, thumbnail_key, image)
                if held and not full
                else None
            )
            if photo is not None:
                await self._objects.settle(connection, keys)
                await audit.record(connection, actor.user_id, Action.PHOTO_ADDED, {"photo_id": photo.id})
        if photo is None:
            await self._objects.discard(actor, keys)
            if not held:
                raise consent_needed()
            raise too_many() if full else duplicate()
        return photo


async def select(connection: Connection, user_id: int, photo_ids: Sequence[int]) -> list[Photo]:
    """On the caller's transaction: the photos named, as far as they are there."""
    return await store.find(connection, user_id, photo_ids)


async def newest(connection: Connection, user_id: int, consent_id: UUID, limit: int) -> list[Photo]:
    """On the caller's transaction: the newest `limit` photos of the face of this consent."""
    return await store.newest(connection, user_id, consent_id, limit)


def photo_not_found() -> NotFound:
    return NotFound("photo_not_found", "There is no such photo. It may have been deleted.")
