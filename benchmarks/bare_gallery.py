"""The least that can answer the gallery's request, and steps from there to Visiona.

`python -m benchmarks.bare_gallery PORT USER_ID SUBJECT SESSION_ID` serves one path per step, each
doing what the step before does and one thing more (`STEPS`). It runs under the same web server as
Visiona, with the settings of a running one in its environment.
"""

import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvicorn
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from benchmarks.proof import Prover
from visiona.accounts.model import Session, TokenKeys, derived_signing_key
from visiona.bootstrap import App, app_database_url, build, identity_key
from visiona.core.clock import rfc3339
from visiona.db.actor import UserActor
from visiona.db.sealed import IMAGE_ENHANCED_PROMPT, IMAGE_PARAMETERS, IMAGE_PROMPT
from visiona.entrypoints.api.views import ImagePage, ImageView, image_page
from visiona.gallery.model import Query
from visiona.settings import read_settings
from visiona.vault.model import Cipher

LIMIT = 20
STEPS = {
    "/constant": "uvicorn alone (constant bytes)",
    "/bare": "bare: pool, SQL as the user, words opened, JSON",
    "/token": "  + access token verified",
    "/session": "  + session looked up",
    "/services": "  Visiona's services, no framework",
}

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Connection = AsyncConnection[TupleRow]

_PAGE = """select id, user_id, model_id, run_id, prompt, enhanced_prompt, image_url as image_key,
                  thumbnail_url as thumbnail_key, width, height, seed, parameters, created_at
           from generations where user_id = %(user)s order by id desc limit %(limit)s"""
_FIND_SESSION = (
    "select user_id, subject, session_id, status = 'suspended' from visiona.find_session(%s, null)"
)


class Bare:
    """An ASGI application that routes by a dictionary."""

    def __init__(self, app: App, session: Session) -> None:
        self._app = app
        self._actor = actor = UserActor(session.user_id, session.subject)
        self._prover = Prover(actor, identity_key(app.settings))
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            app_database_url(app.settings),
            min_size=1,
            max_size=app.settings.database_pool_size,
            open=False,
            kwargs={"autocommit": True},
        )
        self._constant = b""
        self._link = ""
        self._tokens = TokenKeys([derived_signing_key(bytes(32))], "bench")
        self._token = self._tokens.issue(session, app.clock.now(), 3600)
        self._steps: dict[str, Callable[[str], Awaitable[bytes]]] = {
            "/constant": self._answer_constant,
            "/bare": self._answer_bare,
            "/token": self._answer_after_token,
            "/session": self._answer_after_session,
            "/services": self._answer_by_services,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = await self._steps[scope["path"]](_bearer(scope))
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._app.open()
        await self._pool.open()
        # As long as a link that Visiona signs, so that the JSON has the same size.
        self._link = await self._app.objects.link(f"u{self._actor.user_id}/images/{uuid.uuid4().hex}.webp")
        self._constant = await self._page()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await self._app.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer_constant(self, _: str) -> bytes:
        return self._constant

    async def _answer_bare(self, _: str) -> bytes:
        return await self._page()

    async def _answer_after_token(self, _: str) -> bytes:
        self._tokens.verify(self._token, self._app.clock.now())
        return await self._page()

    async def _answer_after_session(self, _: str) -> bytes:
        claims = self._tokens.verify(self._token, self._app.clock.now())
        async with self._pool.connection() as connection:
            await (await connection.execute(_FIND_SESSION, [claims.session_id])).fetchone()
        return await self._page()

    async def _answer_by_services(self, token: str) -> bytes:
        session = await self._app.accounts.authenticate_bearer(token)
        actor = UserActor(session.user_id, session.subject)
        images = await self._app.gallery.page(actor, Query(limit=LIMIT))
        return msgspec.json.encode(await image_page(self._app, images, LIMIT))

    async def _page(self) -> bytes:
        cipher = await self._app.vault.cipher(self._actor.user_id)
        async with self._pool.connection() as connection:
            await self._prover.begin(connection)
            cursor = await connection.execute(_PAGE, {"user": self._actor.user_id, "limit": LIMIT})
            rows = await cursor.fetchall()
            await connection.commit()
        return msgspec.json.encode(ImagePage([self._item(row, cipher) for row in rows], str(rows[-1][0])))

    def _item(self, row: TupleRow, cipher: Cipher) -> ImageView:
        image_id, _, model_id, _, prompt, enhanced, _, _, width, height, seed, parameters, created_at = row
        return ImageView(
            image_id,
            model_id,
            cipher.open(IMAGE_PROMPT.place, prompt),
            cipher.open_optional(IMAGE_ENHANCED_PROMPT.place, enhanced),
            self._link,
            self._link,
            width,
            height,
            seed,
            msgspec.json.decode(cipher.open_bytes(IMAGE_PARAMETERS.place, parameters)),
            rfc3339(created_at),
        )


def _bearer(scope: Scope) -> str:
    return dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")


def main() -> None:
    port, user_id, subject, session_id = sys.argv[1:]
    session = Session(
        user_id=int(user_id),
        subject=subject,
        session_id=uuid.UUID(session_id),
        confirmed_at=None,
        provider_session_id=None,
        role="member",
        email_verified=False,
    )
    app = Bare(build(read_settings(), "app"), session)
    uvicorn.run(app, host="127.0.0.1", port=int(port), access_log=False, log_config=None, server_header=False)


if __name__ == "__main__":
    main()
