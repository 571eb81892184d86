"""A whole Visiona on a database of its own, wired as in production, and spoken to as browsers and Clerk do.

Jobs are run when a test says so; mails go through a real SMTP server; Clerk is its sandbox on a loopback
port, for those who want it.
"""

import json
import re
import secrets
import socket
import threading
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import uvicorn
from svix.webhooks import Webhook
from tests.conftest import ROLE_SECRETS, SECRET_KEY
from tests.factories.keys import key_settings
from tests.factories.mail import MailServer, wait_until
from tests.factories.safety import EVERYBODY_SIGNS_UP
from tests.payments.conftest import ShiftedClock
from tests.sandbox.clerk.conftest import KEY, WEBHOOK_SECRET, Server

from visiona.bootstrap import App, build
from visiona.db.jobs import RetryLater
from visiona.db.roles import APP_ROLE, WORKER_ROLE, url_for_role
from visiona.entrypoints.asgi import create_asgi
from visiona.passwords.service import address_index
from visiona.sandbox.clerk import ClerkSandboxConfig, create_app
from visiona.settings import CLERK_WEBHOOK_PATH, Settings

ORIGIN = "http://127.0.0.1:8000"
PASSWORD = "a quiet blue harbour"


@dataclass
class House:
    """`app` as a web server has it, `worker` as a worker does, `web` a stranger's client without cookies."""

    app: App
    worker: App
    asgi: Any
    clock: ShiftedClock
    web: httpx.AsyncClient
    clerk: Server | None = None
    mail: MailServer | None = None
    browsers: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def there(self) -> Server:
        assert self.clerk is not None
        return self.clerk

    def browser(self, **headers: str) -> httpx.AsyncClient:
        """Somebody's browser, in a network of its own; it says where its requests come from."""
        address = f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.7"
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.asgi, raise_app_exceptions=False, client=(address, 5000)),
            base_url=ORIGIN,
            headers={"origin": ORIGIN, **headers},
        )
        self.browsers.append(client)
        return client

    async def rows(self, query: str, *params: Any) -> list[Any]:
        """Behind row-level security."""
        url = self.app.settings.database_url or ""
        # The queue's triggers name their tables without a schema.
        path = "-c search_path=public,procrastinate"
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, options=path) as owner:
            cursor = await owner.execute(query.encode(), params)
            return await cursor.fetchall() if cursor.description else []

    async def run_jobs(self) -> list[str]:
        """Every waiting job once, and those that they make; one that could not be done waits on. Answers
        the names of those that were done.
        """
        jobs = {job.name: job for job in self.worker.jobs()}
        done: list[str] = []
        last = 0
        while found := await self.rows(
            """select id, task_name, args from procrastinate.procrastinate_jobs
               where status = 'todo' and id > %s order by id limit 1""",
            last,
        ):
            last, name, arguments = found[0]
            try:
                await jobs[name].run(**arguments)
            except RetryLater:
                continue
            await self.rows("delete from procrastinate.procrastinate_jobs where id = %s", last)
            done.append(name)
        return done

    async def waiting_jobs(self) -> list[str]:
        return [name for (name,) in await self.rows("select task_name from procrastinate.procrastinate_jobs")]

    async def actions(self, user_id: int) -> list[str]:
        """What the log has of somebody."""
        found = await self.rows("select action from audit_logs where user_id = %s order by id", user_id)
        return [action for (action,) in found]

    def index(self, email: str) -> bytes:
        """What `users.email_index` is of whoever has this address."""
        return address_index(self.app.vault, email)

    async def move(self, email: str, to: str) -> None:
        """Give whoever has this address another, past every service."""
        [(user_id,)] = await self.rows("select id from users where email_index = %s", self.index(email))
        sealed = (await self.app.vault.cipher(user_id)).seal("users.email", to)
        await self.rows(
            "update users set email = %s, email_index = %s where id = %s", sealed, self.index(to), user_id
        )

    # Built-in accounts

    async def sign_up(self, email: str, password: str = PASSWORD) -> httpx.AsyncClient:
        """A browser that has just signed up."""
        browser = self.browser()
        answer = await browser.post("/api/auth/signup", json={"email": email, "password": password})
        assert answer.status_code == 201, answer.text
        return browser

    async def log_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return await self.browser().post("/api/auth/login", json={"email": email, "password": password})

    async def mails(self, to: str) -> list[dict[str, Any]]:
        """What has arrived, newest first."""
        await self.run_jobs()
        assert self.mail is not None
        return self.mail.messages(to)

    async def link(self, to: str) -> str:
        """The token of the newest mail with a link."""
        for mail in await self.mails(to):
            if found := re.search(r"token=([A-Za-z0-9_-]{48})", mail["text"]):
                return found[1]
        raise AssertionError(f"nobody sent a link to {to}")

    # Clerk

    def person(self, **params: Any) -> dict[str, Any]:
        """A new person at Clerk."""
        return self.there.user(f"p{uuid.uuid4().hex}", **params)

    def token(self, session_id: str, **wish: Any) -> dict[str, str]:
        """Headers with a session token that is meant for us."""
        jwt = self.there.mint(session_id, azp=ORIGIN, **wish)["jwt"]
        return {"authorization": f"Bearer {jwt}"}

    async def hear(self, event_type: str, data: dict[str, Any], **signing: Any) -> httpx.Response:
        """One webhook of Clerk's."""
        body = json.dumps(
            {"object": "event", "type": event_type, "data": data, "timestamp": 1, "instance_id": "ins_1"}
        )
        headers = self.signed(body, **signing)
        return await self.web.post(CLERK_WEBHOOK_PATH, content=body, headers=headers)

    def signed(
        self, body: str, *, secret: str = WEBHOOK_SECRET, message_id: str = "", age_s: int = 0
    ) -> dict[str, str]:
        """The headers that the official library signs this body with."""
        message_id = message_id or f"msg_{uuid.uuid4().hex}"
        at = self.clock.now() - timedelta(seconds=age_s)
        return {
            "content-type": "application/json",
            "svix-id": message_id,
            "svix-timestamp": str(int(at.timestamp())),
            "svix-signature": Webhook(secret).sign(message_id, at, body),
        }

    async def user_of(self, subject: str) -> tuple[Any, ...] | None:
        """Id, address if they have one, whether it is verified, status, and whether the service bars them."""
        found = await self.rows(
            """select id, email, email_verified_at is not null, status, barred from users
               where clerk_id = %s""",
            subject,
        )
        if not found:
            return None
        user_id, sealed, *others = found[0]
        email = (await self.app.vault.cipher(user_id)).open_optional("users.email", sealed)
        return user_id, email, *others

    def shake_hands(self, answer: httpx.Response) -> str:
        """Where Clerk sends a browser back to that was sent there by this answer."""
        return httpx.get(answer.headers["location"]).headers["location"]

    async def sign_in_hosted(
        self, user: dict[str, Any], password: str, browser: httpx.AsyncClient | None = None
    ) -> httpx.AsyncClient:
        """A browser that has signed in on Clerk's page and come back."""
        browser = browser or self.browser()
        started = await browser.get("/api/auth/login", params={"next": "/account"})
        assert started.status_code == 303
        with self.there.browser() as hosted:
            hosted.page = hosted.client.get(started.headers["location"])
            hosted.send(
                "/sign-in", email_address=user["email_addresses"][0]["email_address"], password=password
            )
            back = hosted.left_for
        to_handshake = await browser.get(back)
        assert to_handshake.status_code == 303, to_handshake.text
        arrived = await browser.get(self.shake_hands(to_handshake))
        assert (arrived.status_code, arrived.headers["location"]) == (303, "/account"), arrived.text
        return browser


@asynccontextmanager
async def open_house(
    database_url: str, folder: Path, *, clerk: Server | None = None, mail: MailServer | None = None
) -> AsyncGenerator[House]:
    clock = ShiftedClock()
    settings = house_settings(database_url, folder, clerk, mail)
    app, worker = build(settings, "app", clock), build(settings, "worker", clock)
    asgi = create_asgi(app)
    transport = httpx.ASGITransport(asgi, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as web:
        await app.open()
        await worker.open()
        house = House(app, worker, asgi, clock, web, clerk, mail)
        try:
            yield house
        finally:
            for browser in house.browsers:
                await browser.aclose()
            await worker.close()
            await app.close()


def house_settings(
    owner_url: str, folder: Path, clerk: Server | None, mail: MailServer | None, **more: Any
) -> Settings:
    identity: dict[str, Any] = {}
    if clerk is not None:
        identity = {
            "identity": "clerk",
            "clerk_publishable_key": clerk.config.publishable_key,
            "clerk_secret_key": KEY,
            "clerk_webhook_secret": (WEBHOOK_SECRET,),
            "clerk_base_url": f"{clerk.base}/v1",
            "clerk_frontend_url": clerk.base,
            "clerk_accounts_url": clerk.base,
        }
    if mail is not None:
        identity |= {"smtp_url": mail.smtp_url, "mail_from": "Visiona <hello@visiona.example>"}
    return Settings(
        **{
            "data_dir": folder,
            "secret_key": SECRET_KEY,
            **key_settings(owner_url),
            "limits": EVERYBODY_SIGNS_UP,
            "database_url": owner_url,
            "app_database_url": url_for_role(owner_url, APP_ROLE, ROLE_SECRETS.app),
            "worker_database_url": url_for_role(owner_url, WORKER_ROLE, ROLE_SECRETS.worker),
            "replicate_api_token": "unused",
            "stripe_api_key": "sk_test_unused",
            "stripe_base_url": "http://127.0.0.1:9",
            "stripe_webhook_secret": ("whsec_unused",),
            **identity,
            **more,
        }
    )


@contextmanager
def run_clerk(folder: Path) -> Iterator[Server]:
    """Clerk's sandbox, which tells nobody of anything: tests do, in the order that they want."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = ClerkSandboxConfig(folder, base, KEY, None, WEBHOOK_SECRET)
        runner = uvicorn.Server(
            uvicorn.Config(create_app(config), log_level="critical", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
        thread.start()
        server = Server(base, config, None)
        try:
            wait_until(lambda: runner.started or not thread.is_alive())
            yield server
        finally:
            server.close()
            runner.should_exit = True
            thread.join()
