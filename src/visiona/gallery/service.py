"""Listing and deleting images."""

from collections.abc import Sequence

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.db.actor import UserActor
from visiona.db.pool import Database
from visiona.gallery import store
from visiona.gallery.model import Query, image_not_found
from visiona.generations import service as generations
from visiona.generations.model import GeneratedImage
from visiona.objects.service import ObjectService
from visiona.vault.service import Vault


class GalleryService:
    def __init__(self, database: Database, vault: Vault, objects: ObjectService) -> None:
        self._database = database
        self._vault = vault
        self._objects = objects

    async def page(self, actor: UserActor, query: Query) -> list[GeneratedImage]:
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            return await store.page(connection, cipher, actor.user_id, query)

    async def get(self, actor: UserActor, image_id: int) -> GeneratedImage:
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            image = await store.find(connection, cipher, actor.user_id, image_id)
        if image is None:
            raise image_not_found()
        return image

    async def delete(self, actor: UserActor, image_ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """Delete images and, once that is committed, their objects; (deleted, not found) ids."""
        async with self._database.transaction(actor) as connection:
            rows = await generations.delete_images(connection, actor.user_id, image_ids)
            await self._objects.remove(connection, [key for row in rows for key in row[1:]])
            for row in rows:
                await audit.record(connection, actor.user_id, Action.IMAGE_DELETED, {"image_id": row[0]})
        deleted = {row[0] for row in rows}
        wanted = list(dict.fromkeys(image_ids))
        return [i for i in wanted if i in deleted], [i for i in wanted if i not in deleted]
