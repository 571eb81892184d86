"""SQL of the gallery: keyset pages over `generations`."""

from psycopg.rows import class_row

from visiona.db.pool import Connection
from visiona.gallery.model import Query
from visiona.generations.model import GeneratedImage

_COLUMNS = """id, user_id, model_id, run_id, prompt, enhanced_prompt, image_url as image_key,
              thumbnail_url as thumbnail_key, width, height, seed, parameters, created_at"""


async def page(connection: Connection, user_id: int, query: Query) -> list[GeneratedImage]:
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
    async with connection.cursor(row_factory=class_row(GeneratedImage)) as cursor:
        await cursor.execute(
            f"select {_COLUMNS} from generations where {conditions} {order} limit %(limit)s",
            {"user": user_id, "model": query.model_id, "after": query.after, "limit": query.limit},
        )
        return await cursor.fetchall()


async def find(connection: Connection, user_id: int, image_id: int) -> GeneratedImage | None:
    async with connection.cursor(row_factory=class_row(GeneratedImage)) as cursor:
        await cursor.execute(
            f"select {_COLUMNS} from generations where user_id = %s and id = %s", [user_id, image_id]
        )
        return await cursor.fetchone()
