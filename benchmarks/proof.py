"""What the bare sides cannot do without either: proving to the database who a transaction is for.

Without it row-level security shows them nothing. It is the least that works: one message begins the
transaction and brings the challenge, one answers it. What Visiona does beside that is not here.
"""

import json
from typing import Any

import psycopg
from psycopg import AsyncConnection

from visiona.db.actor import Actor
from visiona.db.identity import IdentityKey

_BEGIN = "begin; select visiona.challenge()"
_ANSWER = "select set_config('request.jwt.claims', %s, true), set_config('visiona.proof', %s, true)"


class Prover:
    """For one actor, whose claims are written once."""

    def __init__(self, actor: Actor, key: IdentityKey) -> None:
        self._claims = json.dumps(actor.claims())
        self._key = key

    async def begin(self, connection: AsyncConnection[Any]) -> None:
        cursor = await connection.execute(_BEGIN, prepare=False)
        cursor.nextset()
        await connection.execute(_ANSWER, self._answer(await cursor.fetchone()))

    def begin_sync(self, connection: psycopg.Connection[Any]) -> None:
        cursor = connection.execute(_BEGIN, prepare=False)
        cursor.nextset()
        connection.execute(_ANSWER, self._answer(cursor.fetchone()))

    def _answer(self, row: tuple[Any, ...] | None) -> list[str]:
        (challenge,) = row or ("",)
        return [self._claims, self._key.prove(challenge, self._claims)]
