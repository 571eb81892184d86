"""SQL of consents. Whoever answers by a link is nobody here: functions do one thing for one id each."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from visiona.consents.model import Asked, Consent, State, Subject, Text
from visiona.db.pool import Connection, fetch_value
from visiona.vault.model import Cipher

LABEL = "consents.label"
NAME = "consents.name"
CLIENT = "consents.client"

_COLUMNS = """id, user_id, subject, state, version, label, name, asked_at, expires_at, answered_at,
              withdrawn_at"""


async def give_own(
    connection: Connection, cipher: Cipher, consent_id: uuid.UUID, text: Text, name: str, client: str
) -> None:
    """The person's own, to this text; what hung on an earlier one that still stands hangs on this one now.

    What hung on one that was withdrawn is being deleted, and stays so.
    """
    user_id = cipher.user_id
    await connection.execute(
        """insert into consents (id, user_id, subject, state, version, text_sha256, name, client, answered_at)
           values (%s, %s, 'self', 'given', %s, %s, %s, %s, now())""",
        [
            consent_id,
            user_id,
            text.version,
            text.sha256,
            cipher.seal(NAME, name),
            cipher.seal(CLIENT, client),
        ],
    )
    for table in ("photos", "models"):
        await connection.execute(
            f"""update {table} set consent_id = %(new)s where user_id = %(user)s and (consent_id is null
                or consent_id in (select id from consents
                  where user_id = %(user)s and subject = 'self' and state = 'given'))""",
            {"new": consent_id, "user": user_id},
        )


async def ask(
    connection: Connection, cipher: Cipher, consent_id: uuid.UUID, label: str, expires_at: datetime
) -> None:
    await connection.execute(
        """insert into consents (id, user_id, subject, state, label, expires_at)
           values (%s, %s, 'other', 'asked', %s, %s)""",
        [consent_id, cipher.user_id, cipher.seal(LABEL, label), expires_at],
    )


async def open_requests(connection: Connection, user_id: int) -> int:
    """How many wait for an answer; this person's other requests wait until this transaction ends."""
    await connection.execute("select pg_advisory_xact_lock(hashtextextended('consents', %s))", [user_id])
    return await fetch_value(
        connection,
        "select count(*) from consents where user_id = %s and state = 'asked' and expires_at > now()",
        [user_id],
    )


async def page(connection: Connection, cipher: Cipher) -> list[Consent]:
    """All of a person's, newest first."""
    cursor = await connection.execute(
        f"select {_COLUMNS} from consents where user_id = %s order by asked_at desc, id", [cipher.user_id]
    )
    return [_consent(cipher, row) for row in await cursor.fetchall()]


async def find(connection: Connection, cipher: Cipher, consent_id: uuid.UUID) -> Consent | None:
    cursor = await connection.execute(
        f"select {_COLUMNS} from consents where user_id = %s and id = %s", [cipher.user_id, consent_id]
    )
    row = await cursor.fetchone()
    return None if row is None else _consent(cipher, row)


async def own_release(connection: Connection, user_id: int) -> uuid.UUID | None:
    """The person's own consent to the current text."""
    return await fetch_value(
        connection,
        """select id from consents where user_id = %s and subject = 'self' and visiona.is_released(id)
           order by answered_at desc limit 1""",
        [user_id],
    )


async def is_released(connection: Connection, user_id: int, consent_id: uuid.UUID | None) -> bool:
    """Whether this consent of theirs holds now."""
    if consent_id is None:
        return False
    return bool(
        await fetch_value(
            connection,
            "select visiona.is_released(id) from consents where user_id = %s and id = %s",
            [user_id, consent_id],
        )
    )


async def withdraw(connection: Connection, user_id: int, consent_id: uuid.UUID) -> bool:
    """False where it was over before."""
    cursor = await connection.execute(
        """update consents set state = 'withdrawn', withdrawn_at = now()
           where user_id = %s and id = %s and state in ('asked', 'given')""",
        [user_id, consent_id],
    )
    return cursor.rowcount == 1


async def withdraw_own(connection: Connection, user_id: int) -> list[uuid.UUID]:
    """Every consent of the person's own that still stands, whatever its text."""
    cursor = await connection.execute(
        """update consents set state = 'withdrawn', withdrawn_at = now()
           where user_id = %s and subject = 'self' and state = 'given' returning id""",
        [user_id],
    )
    return [row[0] for row in await cursor.fetchall()]


async def withdrawn(connection: Connection, limit: int) -> Sequence[tuple[int, uuid.UUID]]:
    """For the worker's system: consents that are over and on which something still hangs."""
    cursor = await connection.execute(
        """select c.user_id, c.id from consents c where c.state = 'withdrawn' and (
             exists (select from photos p where p.user_id = c.user_id and p.consent_id = c.id)
             or exists (select from runs r join generations g on g.user_id = r.user_id and g.run_id = r.id
               where r.user_id = c.user_id and r.consent_id = c.id)
             or exists (select from models m where m.user_id = c.user_id and m.consent_id = c.id))
           order by c.withdrawn_at limit %s""",
        [limit],
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


# By the link, for whoever has it


async def asked(connection: Connection, consent_id: uuid.UUID) -> tuple[Any, ...] | None:
    """user_id, state, expires_at and the sealed label of somebody else's consent."""
    cursor = await connection.execute(
        "select user_id, state, expires_at, label from visiona.find_consent(%s)", [consent_id]
    )
    return await cursor.fetchone()


async def answer(
    connection: Connection, cipher: Cipher, consent_id: uuid.UUID, text: Text, name: str, client: str
) -> bool:
    """Given, by the person themself. False where it is over, or answered before."""
    return await fetch_value(
        connection,
        "select visiona.give_consent(%s, %s, %s, %s, %s)",
        [consent_id, text.version, text.sha256, cipher.seal(NAME, name), cipher.seal(CLIENT, client)],
    )


async def end(connection: Connection, consent_id: uuid.UUID) -> str | None:
    """Refuse what was asked, withdraw what was given. What it is now; None where it was over before."""
    return await fetch_value(connection, "select visiona.end_consent(%s)", [consent_id])


def as_asked(consent_id: uuid.UUID, row: tuple[Any, ...], cipher: Cipher) -> Asked:
    user_id, state, expires_at, label = row
    return Asked(consent_id, user_id, State(state), expires_at, cipher.open(LABEL, label))


def _consent(cipher: Cipher, row: tuple[Any, ...]) -> Consent:
    consent_id, user_id, subject, state, version, label, name, *times = row
    return Consent(
        consent_id,
        user_id,
        Subject(subject),
        State(state),
        version,
        cipher.open_optional(LABEL, label),
        cipher.open_optional(NAME, name),
        *times,
    )
