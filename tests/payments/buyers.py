"""People who buy in a shop, and what is on record of them."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
from tests.factories import consents
from tests.factories.audit import UNGUARDED
from tests.factories.served import served
from tests.payments.conftest import GOOD_CARD, ORIGIN, Shop

from visiona.db.actor import SystemActor, UserActor
from visiona.db.pool import fetch_value
from visiona.db.sealed import MODEL_PARAMETERS, MODEL_TRIGGER_WORD

PASSWORD = "a quiet blue harbour"
SCHEMA = {"Input": {"properties": {"prompt": {"type": "string"}, "num_outputs": {"type": "integer"}}}}

# Everything that follows from a customer's account at Stripe, as text: the same text is the same state.
# Numbers that the database gives in turn, and the time of writing, are left out.
_ON_RECORD = {
    "subscriptions": "select to_jsonb(t) from subscriptions t where user_id = %(user)s order by id",
    "invoices": "select to_jsonb(t) from invoices t where user_id = %(user)s order by id",
    "payments": """select to_jsonb(t) - 'id' from payments t where user_id = %(user)s
        order by stripe_charge_id""",
    "quota_usage": """select to_jsonb(t) - 'entry' - 'reference' from quota_usage t
        where user_id = %(user)s order by resource, period_start""",
    "quota_ledger": """select jsonb_build_array(resource, period_start, sum(amount), sum(entitled),
          sum(used), sum(reserved))
        from quota_ledger where user_id = %(user)s
        group by resource, period_start order by resource, period_start""",
    "checkouts": "select to_jsonb(t) from checkouts t where user_id = %(user)s order by created_at",
}
# How it came to be so; this may differ where the account was read half-way.
_HISTORY = {
    "audit_logs": "select action, details from audit_logs where user_id = %(user)s order by id",
    "entries": """select to_jsonb(t) - 'id' - 'created_at' from quota_ledger t where user_id = %(user)s
        order by resource, period_start, id""",
}
_FORGET = (
    "delete from subscriptions where user_id = %(user)s",
    "delete from invoices where user_id = %(user)s",
    "delete from payments where user_id = %(user)s",
    "delete from quota_usage where user_id = %(user)s",
    "delete from quota_ledger where user_id = %(user)s",
    f"""{UNGUARDED} delete from audit_logs using off
        where user_id = %(user)s and action in ('subscription.changed', 'payment.recorded')""",
    "update checkouts set state = 'open' where user_id = %(user)s and state = 'complete'",
    """update payment_customers set version = 0, synced_at = null, due_at = null
       where user_id = %(user)s""",
    "delete from webhook_receipts",
    "delete from procrastinate.procrastinate_jobs",
)


@dataclass(frozen=True)
class Buyer:
    shop: Shop
    actor: UserActor

    @property
    def id(self) -> int:
        return self.actor.user_id

    @property
    def email(self) -> str:
        return f"{self.actor.subject}@example.com"

    async def subscribe(self, plan: str = "premium", interval: Any = "month") -> str:
        return await self.shop.app.payments.subscribe(self.actor, self.email, plan, interval)

    async def pay(self, plan: str = "premium", interval: Any = "month", card: str = GOOD_CARD) -> None:
        """On the checkout's page; nobody here has heard of it yet."""
        assert self.shop.pay(await self.subscribe(plan, interval), card)["outcome"] == "Paid"

    async def buy(self, plan: str = "premium", interval: Any = "month") -> None:
        await self.pay(plan, interval)
        await self.sync()

    async def sync(self) -> None:
        await self.shop.worker.payments.sync(self.id)

    async def standing(self) -> tuple[str, int]:
        """The plan and how many images it allows."""
        quota = await self.shop.app.billing.quota(self.actor)
        return quota.plan.name, quota.images.limit

    async def customer(self) -> str:
        [(customer_id,)] = await self.rows(
            "select customer_id from payment_customers where user_id = %(user)s"
        )
        assert customer_id is not None
        return customer_id

    async def charge(self) -> str:
        """The newest charge at Stripe."""
        customer = await self.customer()
        return self.shop.server.client.v1.charges.list({"customer": customer, "limit": 1}).data[0].id

    async def events(self) -> list[dict[str, Any]]:
        """What Stripe has said of this person since the last time, oldest first."""
        customer = await self.customer()
        charges = self.shop.server.client.v1.charges.list({"customer": customer, "limit": 100}).data
        return self.shop.new_events(customer, {charge.id for charge in charges})

    async def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return await rows(self.shop, query, user=self.id, **parameters)

    async def on_record(self, *, history: bool = False) -> dict[str, str]:
        """By table, what there is of this person; with `history`, also how it came to be."""
        queries = _ON_RECORD | _HISTORY if history else _ON_RECORD
        found: dict[str, str] = {}
        async with self.shop.worker.database.transaction(SystemActor("test")) as connection:
            for table, query in queries.items():
                text = f"select coalesce(jsonb_agg(r), '[]')::text from ({query}) as q(r)"
                found[table] = await fetch_value(connection, text, {"user": self.id})  # type: ignore[arg-type] # test SQL
        return found

    async def forget(self) -> None:
        """As if no event had come, and the account had never been read."""
        url = self.shop.app.settings.database_url
        assert url is not None
        async with await psycopg.AsyncConnection.connect(url) as connection:
            for query in _FORGET:
                await connection.execute(query, {"user": self.id})


@dataclass(frozen=True)
class Person(Buyer):
    """Somebody with a browser, a password and a clone."""

    http: httpx.AsyncClient
    address: str
    model_id: int

    @property
    def email(self) -> str:
        return self.address

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Origin": ORIGIN, **request.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **request)


async def move_in(shop: Shop) -> Person:
    address = f"{uuid.uuid4().hex}@example.com"
    client = httpx.AsyncClient(transport=httpx.ASGITransport(served(shop.app)), base_url=ORIGIN)
    answer = await client.post("/api/auth/signup", json={"email": address, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    user_id = (await client.get("/api/auth/me")).json()["id"]
    consented = await client.post("/api/consents", json=consents.signed(), headers={"origin": ORIGIN})
    assert consented.status_code == 201, consented.text
    cipher = await shop.app.vault.cipher(user_id)
    async with await psycopg.AsyncConnection.connect(shop.app.settings.database_url or "") as owner:
        cursor = await owner.execute(
            f"""insert into models
                 (user_id, consent_id, trigger_word, parameters, photo_count, status, version, input_schema)
               values (%s, {consents.GIVEN}, %s, %s, 10, 'Ready', 'me/clone:' || repeat('0', 64), %s::jsonb)
               returning id, (select clerk_id from users where users.id = user_id)""",
            [
                user_id,
                user_id,
                cipher.seal(MODEL_TRIGGER_WORD.place, "TOK"),
                cipher.seal(MODEL_PARAMETERS.place, "{}"),
                json.dumps(SCHEMA),
            ],
        )
        row = await cursor.fetchone()
    assert row is not None
    return Person(shop, UserActor(user_id, row[1]), client, address, row[0])


async def rows(shop: Shop, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    async with shop.worker.database.transaction(SystemActor("test")) as connection:
        return await (await connection.execute(query, parameters)).fetchall()  # type: ignore[arg-type] # test SQL
