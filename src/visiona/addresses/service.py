"""One-time links by mail: they show that an address is read by its person, change it, or let them choose
a new password. For built-in accounts; an identity service has pages of its own for this.

A link is used by the first who sends it back, once, and only what its row says is done.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from visiona.addresses import store
from visiona.addresses.model import (
    KEPT_AFTER_END,
    LIFETIMES,
    AddressSettings,
    Link,
    Purpose,
    link_limits,
    mail_limits,
)
from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.core.client import AttemptLimit, ClientInfo
from visiona.core.clock import Clock
from visiona.core.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, Unauthenticated
from visiona.db.actor import Anonymous, SystemActor, UserActor
from visiona.db.pool import Connection, Database
from visiona.db.sealed import MAIL_ADDRESS
from visiona.db.throttle import count_attempt
from visiona.mail import service as mail
from visiona.mail.model import Kind, LinkTokens
from visiona.passwords.model import new_password, normalized_email
from visiona.passwords.service import PasswordService, address_index
from visiona.vault.model import Cipher, KeyDestroyed
from visiona.vault.service import Vault

_KINDS = {
    Purpose.VERIFY: Kind.VERIFY_ADDRESS,
    Purpose.RESET: Kind.RESET_PASSWORD,
    Purpose.CHANGE: Kind.CHANGE_ADDRESS,
}


EndWaysIn = Callable[[Connection, int], Awaitable[None]]
"""On a person's transaction: end what opens their account beside the password."""


class AddressService:
    """`ways_in` end what whoever made an account has left open, once somebody else shows its address."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        clock: Clock,
        passwords: PasswordService,
        settings: AddressSettings,
        ways_in: Sequence[EndWaysIn],
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._passwords = passwords
        self._settings = settings
        self._links = LinkTokens(*settings.link_secrets)
        self._ways_in = ways_in

    async def ask_again(self, actor: UserActor, client: ClientInfo) -> None:
        """Send the mail with which people show that they read their address once more.

        Raises `Conflict` (`already_verified`) or `TooMany`.
        """
        await self._count(client, f"verify:{actor.user_id}")
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            address, verified = await store.current_address(connection, cipher)
            if verified:
                raise Conflict("already_verified", "Your address is confirmed already.")
            await ask_to_verify(connection, cipher, address, self._clock.now())

    async def ask_for_reset(self, email: str, client: ClientInfo) -> None:
        """Send a link to a new password to whoever has an account with this address.

        Whether anybody has is not said, nor to be told from the time that it takes. Raises `Invalid` or
        `TooMany`.
        """
        address = _address(email)
        await self._count(client, f"reset:{address}")
        loop = asyncio.get_running_loop()
        earliest = loop.time() + self._settings.reset_floor_s
        actor = await self._passwords.find(address)
        if actor is not None:
            await self._send_reset(actor, address)
        await asyncio.sleep(max(0.0, earliest - loop.time()))

    async def _send_reset(self, actor: UserActor, address: str) -> None:
        cipher = await self._vault.cipher(actor.user_id)
        audit.visited(cipher)
        async with self._database.transaction(actor) as connection:
            await store.retire(connection, actor.user_id, Purpose.RESET)
            await _send(connection, cipher, Purpose.RESET, address, self._clock.now())
            await audit.record(connection, actor.user_id, Action.PASSWORD_RESET_ASKED)

    async def ask_to_change(self, actor: UserActor, email: str, client: ClientInfo) -> None:
        """Send a link to the new address: the account has it once that is followed.

        Nothing tells whether somebody else has the address until it is shown to be this person's. Raises
        `Invalid` or `TooMany`.
        """
        address = _address(email)
        await self._count(client, f"change:{actor.user_id}")
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            current, verified = await store.current_address(connection, cipher)
            if address == current and verified:
                same = FieldError("email", "unchanged", "This is your address already.")
                raise Invalid("invalid_input", "Check the fields that are marked.", errors=[same])
            await store.retire(connection, actor.user_id, Purpose.CHANGE)
            await _send(connection, cipher, Purpose.CHANGE, address, self._clock.now())

    async def confirm(self, token: str, client: ClientInfo) -> None:
        """Follow a link that shows an address to be one's own, the present or a new one.

        Raises `NotFound` (`link_not_found`), `Conflict` (`email_taken`), `Forbidden` or `TooMany`.
        """
        link_id, link, cipher = await self._find(token, client, {Purpose.VERIFY, Purpose.CHANGE})
        index = address_index(self._vault, link.address)
        actor = UserActor(link.user_id, link.subject, looks_up=index.hex())
        async with self._database.transaction(actor) as connection:
            if not await store.use(connection, link_id):
                raise _link_not_found()
            if link.purpose is Purpose.CHANGE:
                # What was sent to the address before must not reach the account any more.
                await store.retire(connection, link.user_id, Purpose.VERIFY, Purpose.RESET)
            if not await store.set_address(connection, cipher, link.address, index):
                raise Conflict("email_taken", "There is another account with this address.")
            await audit.record(connection, link.user_id, Action.ADDRESS_CONFIRMED)
            if link.address != link.current_address:
                before = cipher.seal(MAIL_ADDRESS.place, link.current_address)
                await mail.post(connection, link.user_id, Kind.ADDRESS_CHANGED, address=before)

    async def check_reset(self, token: str, client: ClientInfo) -> None:
        """Whether `reset` would take this token. Raises as it does."""
        await self._find(token, client, {Purpose.RESET})

    async def reset(self, token: str, password: str, client: ClientInfo) -> None:
        """Choose a new password by a link; all sessions and other links end, and logging in is next.

        Where nobody had shown the address to be theirs, anybody may have made the account with it, and waits
        for its owner to use it: then nothing but the new password and the second step count from now on.

        Raises `NotFound` (`link_not_found`), `Invalid`, `Forbidden` or `TooMany`.
        """
        link_id, link, cipher = await self._find(token, client, {Purpose.RESET})
        password_hash = await self._passwords.hash(new_password(password, link.current_address))
        index = address_index(self._vault, link.address)
        actor = UserActor(link.user_id, link.subject, looks_up=index.hex())
        async with self._database.transaction(actor) as connection:
            # Whoever knew the old password may have asked for another address. Before all else, as
            # `confirm` takes up links in this order, too.
            await store.retire(connection, link.user_id, Purpose.CHANGE)
            if not await store.use(connection, link_id):
                raise _link_not_found()
            await store.retire(connection, link.user_id, Purpose.RESET)
            _, verified = await store.current_address(connection, cipher)
            if not verified:
                for end in self._ways_in:
                    await end(connection, link.user_id)
            await self._passwords.replace(connection, password_hash, keep_session=None)
            # Who has read this mail has shown that the address is theirs, too.
            await store.set_address(connection, cipher, link.address, index)
            await audit.record(connection, link.user_id, Action.PASSWORD_CHANGED)
            await mail.post(connection, link.user_id, Kind.PASSWORD_CHANGED)

    async def change_password(self, actor: UserActor, password: str, keep_session: uuid.UUID | None) -> None:
        """Of somebody who is signed in and has just shown it; all their other sessions end, and what
        whoever knew the old one has asked for.

        Raises `Invalid`, and `Unauthenticated` (`session_expired`) where `keep_session` has ended meanwhile.
        """
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            address, _ = await store.current_address(connection, cipher)
        password_hash = await self._passwords.hash(new_password(password, address))
        async with self._database.transaction(actor) as connection:
            if not await self._passwords.replace(connection, password_hash, keep_session=keep_session):
                raise Unauthenticated("session_expired", "This session has ended. Log in again.")
            await store.retire(connection, actor.user_id, Purpose.RESET, Purpose.CHANGE)
            await audit.record(connection, actor.user_id, Action.PASSWORD_CHANGED)
            await mail.post(connection, actor.user_id, Kind.PASSWORD_CHANGED)

    async def purge(self) -> None:
        """Remove links that can be used no more. The database must be the worker's."""
        async with self._database.transaction(SystemActor("purge")) as connection:
            await store.purge(connection, self._clock.now() - KEPT_AFTER_END)

    async def _find(
        self, token: str, client: ClientInfo, purposes: set[Purpose]
    ) -> tuple[uuid.UUID, Link, Cipher]:
        await self._count_limits(link_limits(self._settings.throttle_secret, client))
        link_id = self._links.read(token)
        if link_id is None:
            raise _link_not_found()
        async with self._database.anonymous() as connection:
            sealed = await store.find(connection, link_id)
        if sealed is None or sealed.purpose not in purposes:
            raise _link_not_found()
        try:
            cipher = await self._vault.cipher(sealed.user_id)
        except KeyDestroyed as error:
            raise _link_not_found() from error
        audit.visited(cipher)
        link = sealed.opened(cipher)
        if link.purpose is not Purpose.CHANGE and link.address != link.current_address:
            raise _link_not_found()
        if link.status != "active":
            raise Forbidden(
                "account_suspended", "This account is suspended. Write to support to have it looked at."
            )
        return link_id, link, cipher

    async def _count(self, client: ClientInfo, about: str) -> None:
        await self._count_limits(mail_limits(self._settings.throttle_secret, client, about))

    async def _count_limits(self, limits: tuple[AttemptLimit, ...]) -> None:
        async with self._database.transaction(Anonymous()) as connection:
            await count_attempt(connection, limits)


async def ask_to_verify(connection: Connection, cipher: Cipher, address: str, now: datetime) -> None:
    """On the transaction of the person whose `cipher` it is: send them the mail with which they show that
    they read it.
    """
    await store.retire(connection, cipher.user_id, Purpose.VERIFY)
    await _send(connection, cipher, Purpose.VERIFY, address, now)


async def _send(
    connection: Connection, cipher: Cipher, purpose: Purpose, address: str, now: datetime
) -> None:
    """The mail goes to the address of the link."""
    link_id = uuid.uuid4()
    await store.insert(connection, cipher, link_id, purpose, address, now + LIFETIMES[purpose])
    await mail.post(connection, cipher.user_id, _KINDS[purpose], reference=link_id)


def _address(email: str) -> str:
    address = normalized_email(email)
    if address is None:
        wrong = FieldError("email", "invalid_email", "Enter an e-mail address, like name@example.com.")
        raise Invalid("invalid_input", "Check the fields that are marked.", errors=[wrong])
    return address


def _link_not_found() -> NotFound:
    return NotFound("link_not_found", "This link was used already or has expired. Ask for a new one.")
