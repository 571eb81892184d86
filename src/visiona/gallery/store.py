"""SQL of the gallery: keyset pages over `generations`. A `Cipher` is their owner's."""

from psycopg.rows import BaseRowFactory

from visiona.db.pool import Connection
from visiona.db.sealed import IMAGE_ENHANCED_PROMPT, IMAGE_PARAMETERS, IMAGE_PROMPT
from visiona.db.sealed_rows import opening
from visiona.gallery.model import Query
from visiona.generations.model import GeneratedImage
from visiona.vault.model import Cipher

_COLUMNS = """id, user_id, model_id, run_id, prompt, enhanced_prompt, image_url as image_key,
              thumbnail_url as thumbnail_key, width, height, seed, parameters, created_at"""


def _image(cipher: Cipher) -> BaseRowFactory[GeneratedImage]:
    return opening(GeneratedImage, cipher, (IMAGE_PROMPT, IMAGE_ENHANCED_PROMPT), (IMAGE_PARAMETERS,))


async def page(connection: Connection, cipher: Cipher, user_id: int, query: Query) -> list[GeneratedImage]:
    """Ids grow with time, so that a page is one range of an index, however deep it lies."""
    conditions = "user_id = %(user)s"
    if query.model_id is not None:
        conditions += " and model_id = %(model)s"
    if query.order == "newest":
        conditions += " and id < %(after)s" if query.after is not None else ""
        order = "order by id desc"
    else:
        conditions += " and id > %(after)s" if query.after is not None else ""
        order = "order by id"
    async with connection.cursor(row_factory=_image(cipher)) as cursor:
        await cursor.execute(
            f"select {_COLUMNS} from generations where {conditions} {order} limit %(limit)s",
            {"user": user_id, "model": query.model_id, "after": query.after, "limit": query.limit},
        )
        return await cursor.fetchall()


async def find(connection: Connection, cipher: Cipher, user_id: int, image_id: int) -> GeneratedImage | None:
    async with connection.cursor(row_factory=_image(cipher)) as cursor:
        await cursor.execute(
            f"select {_COLUMNS} from generations where user_id = %s and id = %s", [user_id, image_id]
        )
        return await cursor.fetchone()
