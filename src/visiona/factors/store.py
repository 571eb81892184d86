"""SQL of factors. One person's passkey is found before they are known by a function of its own."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from visiona.audit.model import Action
from visiona.db.pool import Connection, fetch_value
from visiona.db.sealed import PASSKEY_NAME
from visiona.factors.model import KnownCredential, NewPasskey, Passkey, SignCounter, StoredPasskey, Totp
from visiona.vault.model import Cipher

_PASSKEY = "id, name, synced, created_at, last_used_at"

# Codes


async def totp(connection: Connection, user_id: int, *, lock: bool = False) -> Totp | None:
    """The secret, confirmed or not; with `lock` nobody else changes it until this transaction ends."""
    query = "select secret, confirmed_at from totp_secrets where user_id = %s"
    row = await (await connection.execute(f"{query} for update" if lock else query, [user_id])).fetchone()
    return None if row is None else Totp(*row)


async def is_on(connection: Connection, user_id: int) -> bool:
    """Whether codes are asked for."""
    query = "select exists (select from totp_secrets where user_id = %s and confirmed_at is not null)"
    return await fetch_value(connection, query, [user_id])


async def begin_totp(connection: Connection, user_id: int, sealed: bytes) -> bool:
    """False where there is a confirmed one already. One that is being set up is replaced."""
    cursor = await connection.execute(
        """insert into totp_secrets as t (user_id, secret) values (%s, %s)
           on conflict (user_id) do update set secret = excluded.secret
           where t.confirmed_at is null""",
        [user_id, sealed],
    )
    return cursor.rowcount == 1


async def confirm_totp(connection: Connection, user_id: int, step: int) -> None:
    await connection.execute(
        "update totp_secrets set confirmed_at = now(), last_step = %s where user_id = %s", [step, user_id]
    )


async def spend_step(connection: Connection, user_id: int, sealed: bytes, step: int) -> bool:
    """False where a code of this step or a later one was used before, by this secret."""
    cursor = await connection.execute(
        """update totp_secrets set last_step = %s
           where user_id = %s and secret = %s and confirmed_at is not null and last_step < %s""",
        [step, user_id, sealed, step],
    )
    return cursor.rowcount == 1


async def delete_totp(connection: Connection, user_id: int) -> bool:
    """Its recovery codes go with it. True where it was confirmed, and so asked for."""
    return bool(
        await fetch_value(
            connection,
            "delete from totp_secrets where user_id = %s returning confirmed_at is not null",
            [user_id],
        )
    )


async def replace_recovery_codes(connection: Connection, user_id: int, hashes: Iterable[bytes]) -> None:
    await connection.execute("delete from recovery_codes where user_id = %s", [user_id])
    await connection.execute(
        "insert into recovery_codes (user_id, code_hash) select %s, unnest(%s::bytea[])",
        [user_id, list(hashes)],
    )


async def recovery_codes_left(connection: Connection, user_id: int) -> int:
    return await fetch_value(
        connection, "select count(*) from recovery_codes where user_id = %s and used_at is null", [user_id]
    )


async def spend_recovery_code(connection: Connection, user_id: int, hashes: list[bytes]) -> bool:
    """The one code that has one of these."""
    cursor = await connection.execute(
        """update recovery_codes set used_at = now()
           where user_id = %s and code_hash = any(%s) and used_at is null""",
        [user_id, hashes],
    )
    return cursor.rowcount == 1


async def wait_for_codes(connection: Connection, user_id: int, allowed: int) -> int:
    """The seconds until there are fewer than `allowed` wrong codes on record within a day; 0 at once."""
    return await fetch_value(
        connection,
        """select coalesce(ceil(extract(epoch from oldest - now() + interval '1 day'))::integer, 0)
           from (select (array_agg(created_at order by id desc))[%s] as oldest
                 from (select id, created_at from audit_logs
                       where user_id = %s and action = %s and created_at > now() - interval '1 day'
                       order by id desc limit %s) as wrong) as found""",
        [allowed, user_id, Action.CODE_REFUSED.value, allowed],
    )


# Passkeys


async def passkeys(connection: Connection, cipher: Cipher) -> list[Passkey]:
    """Oldest first."""
    cursor = await connection.execute(
        f"select {_PASSKEY} from passkeys where user_id = %s order by created_at, id", [cipher.user_id]
    )
    return [_passkey(cipher, row) for row in await cursor.fetchall()]


async def known_credentials(connection: Connection, user_id: int) -> list[KnownCredential]:
    async with connection.cursor(row_factory=class_row(KnownCredential)) as cursor:
        await cursor.execute(
            "select credential_id, transports from passkeys where user_id = %s order by created_at, id",
            [user_id],
        )
        return await cursor.fetchall()


async def locked_count(connection: Connection, user_id: int) -> int:
    """How many passkeys there are, with this person's other additions waiting for this transaction."""
    await connection.execute("select pg_advisory_xact_lock(hashtextextended('passkeys', %s))", [user_id])
    return await fetch_value(connection, "select count(*) from passkeys where user_id = %s", [user_id])


async def add_passkey(connection: Connection, cipher: Cipher, name: str, new: NewPasskey) -> Passkey | None:
    """None where the passkey is known already, whoever has it."""
    cursor = await connection.execute(
        f"""insert into passkeys (user_id, name, credential_id, public_key, sign_count, transports,
              synced, backed_up, aaguid)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            on conflict do nothing
            returning {_PASSKEY}""",
        [
            cipher.user_id,
            cipher.seal(PASSKEY_NAME.place, name),
            new.credential_id,
            new.public_key,
            new.sign_count,
            new.transports,
            new.synced,
            new.backed_up,
            new.aaguid,
        ],
    )
    row = await cursor.fetchone()
    return None if row is None else _passkey(cipher, row)


async def find_passkey(connection: Connection, credential_id: bytes) -> StoredPasskey | None:
    """Needs nobody's identity."""
    cursor = await connection.execute(
        "select user_id, subject, public_key, status <> 'active' from visiona.find_passkey(%s)",
        [credential_id],
    )
    row = await cursor.fetchone()
    return None if row is None else StoredPasskey(*row)


async def locked_counter(connection: Connection, user_id: int, credential_id: bytes) -> SignCounter | None:
    """None where the passkey is no longer there."""
    cursor = await connection.execute(
        """select id, sign_count, synced from passkeys
           where user_id = %s and credential_id = %s for update""",
        [user_id, credential_id],
    )
    row = await cursor.fetchone()
    return None if row is None else SignCounter(*row)


async def note_use(connection: Connection, passkey_id: int, sign_count: int, *, backed_up: bool) -> None:
    await connection.execute(
        "update passkeys set sign_count = %s, backed_up = %s, last_used_at = now() where id = %s",
        [sign_count, backed_up, passkey_id],
    )


async def rename_passkey(
    connection: Connection, cipher: Cipher, passkey_id: int, name: str
) -> Passkey | None:
    cursor = await connection.execute(
        f"update passkeys set name = %s where user_id = %s and id = %s returning {_PASSKEY}",
        [cipher.seal(PASSKEY_NAME.place, name), cipher.user_id, passkey_id],
    )
    row = await cursor.fetchone()
    return None if row is None else _passkey(cipher, row)


async def delete_passkey(connection: Connection, user_id: int, passkey_id: int) -> bool:
    cursor = await connection.execute(
        "delete from passkeys where user_id = %s and id = %s", [user_id, passkey_id]
    )
    return cursor.rowcount == 1


async def delete_passkeys(connection: Connection, user_id: int) -> list[int]:
    """All of them; answers their ids."""
    cursor = await connection.execute("delete from passkeys where user_id = %s returning id", [user_id])
    return [row[0] for row in await cursor.fetchall()]


async def spend_challenge(
    connection: Connection, user_id: int, challenge_hash: bytes, expires_at: datetime
) -> bool:
    """False where the challenge was answered before."""
    cursor = await connection.execute(
        """insert into passkey_challenges (challenge_hash, user_id, expires_at) values (%s, %s, %s)
           on conflict do nothing""",
        [challenge_hash, user_id, expires_at],
    )
    return cursor.rowcount == 1


async def purge_challenges(connection: Connection) -> None:
    """An hour late: the clocks of those who judge challenges are not this one."""
    await connection.execute("delete from passkey_challenges where expires_at < now() - interval '1 hour'")


def _passkey(cipher: Cipher, row: Sequence[Any]) -> Passkey:
    passkey_id, sealed_name, *others = row
    return Passkey(passkey_id, cipher.open(PASSKEY_NAME.place, sealed_name), *others)
