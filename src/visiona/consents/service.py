"""Consents: given, asked of somebody else, withdrawn; and whether photos of a face may be used now."""

import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.consents import model, store
from visiona.consents.model import ASKED_FOR, Answer, Asked, Consent, State, Subject, Text
from visiona.core.clock import Clock
from visiona.db.actor import Anonymous, SystemActor, UserActor
from visiona.db.jobs import enqueue
from visiona.db.pool import Connection, Database
from visiona.vault.model import KeyDestroyed, KeyMissing
from visiona.vault.service import Vault

FORGET_TASK = "consents.forget"
SWEEP_BATCH = 100

Forgetter = Callable[[int, uuid.UUID], Awaitable[None]]
"""Deletes all that a room keeps of a face: of this person's, what hangs on this consent.

Raises `RetryLater` where work on it has to end first.
"""


class ConsentService:
    """`origin` is where links for other people lead."""

    def __init__(self, database: Database, vault: Vault, clock: Clock, origin: str) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._origin = origin

    @property
    def _link_secret(self) -> bytes:
        """Of the vault's, which lasts: people withdraw by their link years later."""
        return self._vault.secret("consent-links")

    # The account holder

    async def give(self, actor: UserActor, answer: Answer) -> Consent:
        """To the current text, for the person's own face. Raises `Invalid`."""
        name = model.checked_name(answer.name)
        cipher = await self._vault.cipher(actor.user_id)
        consent_id = uuid.uuid4()
        text = model.current_text()
        async with self._database.transaction(actor) as connection:
            await store.give_own(connection, cipher, consent_id, text, name, _client(answer))
            await audit.record(
                connection,
                actor.user_id,
                Action.CONSENT_GIVEN,
                _agreed(consent_id, text),
            )
            return _found(await store.find(connection, cipher, consent_id))

    async def ask(self, actor: UserActor, label: str) -> tuple[Consent, str]:
        """A request to somebody else, and the link to send them. Raises `Invalid` or `Conflict`."""
        label = model.checked_name(label, "label")
        cipher = await self._vault.cipher(actor.user_id)
        consent_id = uuid.uuid4()
        async with self._database.transaction(actor) as connection:
            if await store.open_requests(connection, actor.user_id) >= model.MAX_ASKED:
                raise model.too_many()
            await store.ask(connection, cipher, consent_id, label, self._clock.now() + ASKED_FOR)
            await audit.record(connection, actor.user_id, Action.CONSENT_ASKED, {"consent": str(consent_id)})
            consent = _found(await store.find(connection, cipher, consent_id))
        return consent, self.link(consent)

    async def page(self, actor: UserActor) -> list[Consent]:
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            return await store.page(connection, cipher)

    async def has_own(self, actor: UserActor) -> bool:
        """Whether the person has consented to the current text."""
        async with self._database.transaction(actor) as connection:
            return await store.own_release(connection, actor.user_id) is not None

    async def require(self, actor: UserActor, consent_id: uuid.UUID | None) -> None:
        """Before anything of a face is read. Raises `Forbidden` (`consent_needed`)."""
        async with self._database.transaction(actor) as connection:
            await released(connection, actor.user_id, consent_id)

    def link(self, consent: Consent) -> str:
        """Where somebody else answers, and withdraws later."""
        return f"{self._origin}/consent/{model.token_of(consent.id, self._link_secret)}"

    async def withdraw(self, actor: UserActor, consent_id: uuid.UUID) -> None:
        """It is over, and what hangs on it is deleted. Safe to repeat. Raises `NotFound`.

        One's own is withdrawn whole: earlier texts that were agreed to, too.
        """
        known = await self.page(actor)
        consent = _found(next((one for one in known if one.id == consent_id), None))
        own = consent.subject is Subject.SELF
        for one in known if own else [consent]:
            if one.subject is consent.subject and one.state is State.GIVEN:
                await self._vault.note_withdrawal(actor.user_id, one.id)
        async with self._database.transaction(actor) as connection:
            if own:
                ended = await store.withdraw_own(connection, actor.user_id)
            else:
                ended = [consent_id] if await store.withdraw(connection, actor.user_id, consent_id) else []
            for ended_id in ended:
                await _over(connection, actor.user_id, ended_id)

    # Whoever has the link

    async def asked(self, token: str) -> Asked:
        """What the link is about. Raises `NotFound`, also where it is over and was never answered."""
        consent_id = model.consent_in(token, self._link_secret)
        async with self._database.transaction(Anonymous()) as connection:
            row = await store.asked(connection, consent_id)
        if row is None:
            raise model.not_found()
        try:
            found = store.as_asked(consent_id, row, await self._vault.cipher(row[0]))
        except (KeyMissing, KeyDestroyed):
            raise model.not_found() from None
        if found.state is State.ASKED and found.expires_at <= self._clock.now():
            raise model.not_found()
        return found

    async def answer(self, token: str, answer: Answer, visitor: UserActor | None = None) -> None:
        """The person whose face it is consents. `visitor` is who is signed in where the link was opened:
        whoever asked does not answer. Raises `Invalid`, `NotFound`, `Conflict` or `Forbidden`
        (`consent_for_another`).
        """
        name = model.checked_name(answer.name)
        found = await self.asked(token)
        if visitor is not None and visitor.user_id == found.user_id:
            raise model.for_another()
        cipher = await self._vault.cipher(found.user_id)
        text = model.current_text()
        with audit.by_a_stranger(found.user_id):
            async with self._database.transaction(UserActor(found.user_id)) as connection:
                if not await store.answer(connection, cipher, found.id, text, name, _client(answer)):
                    raise model.answered_already()
                await audit.record(connection, found.user_id, Action.CONSENT_GIVEN, _agreed(found.id, text))

    async def end(self, token: str) -> State:
        """They refuse, or withdraw: then what hangs on it is deleted. Safe to repeat. What it is now."""
        found = await self.asked(token)
        if found.state in {State.REFUSED, State.WITHDRAWN}:
            return found.state
        if found.state is State.GIVEN:
            await self._vault.note_withdrawal(found.user_id, found.id)
        with audit.by_a_stranger(found.user_id):
            async with self._database.transaction(UserActor(found.user_id)) as connection:
                state = await store.end(connection, found.id)
                if state == State.WITHDRAWN:
                    await _over(connection, found.user_id, found.id)
                elif state == State.REFUSED:
                    await audit.record(
                        connection, found.user_id, Action.CONSENT_REFUSED, {"consent": str(found.id)}
                    )
        return found.state if state is None else State(state)

    # After a restore

    async def replay(self, withdrawals: Iterable[tuple[int, uuid.UUID]]) -> None:
        """Withdraw again what a backup knows as given (whose, which), with the application's database."""
        for user_id, consent_id in withdrawals:
            async with self._database.transaction(UserActor(user_id)) as connection:
                if await store.withdraw(connection, user_id, consent_id):
                    await _over(connection, user_id, consent_id)

    # The worker

    async def sweep(self) -> None:
        """Have what hangs on withdrawn consents deleted, where that was not asked for or was lost."""
        async with self._database.transaction(SystemActor("sweep")) as connection:
            for user_id, consent_id in await store.withdrawn(connection, SWEEP_BATCH):
                await _enqueue_forget(connection, user_id, consent_id)


async def forget(forgetters: Sequence[Forgetter], user_id: int, consent_id: uuid.UUID) -> None:
    """Delete what hangs on a consent that is over. Safe to repeat; raises `RetryLater` until all is gone."""
    for forgetter in forgetters:
        await forgetter(user_id, consent_id)


async def released(connection: Connection, user_id: int, consent_id: uuid.UUID | None) -> uuid.UUID:
    """On the caller's transaction: this consent, or the person's own, holds now; answers which it is.

    Raises `Forbidden` (`consent_needed`).
    """
    if consent_id is None:
        found = await store.own_release(connection, user_id)
    else:
        found = consent_id if await store.is_released(connection, user_id, consent_id) else None
    if found is None:
        raise model.needed()
    return found


async def holds(connection: Connection, user_id: int, consent_id: uuid.UUID | None) -> bool:
    """On the caller's transaction, before anything goes to a processor."""
    return await store.is_released(connection, user_id, consent_id)


async def _over(connection: Connection, user_id: int, consent_id: uuid.UUID) -> None:
    await audit.record(connection, user_id, Action.CONSENT_WITHDRAWN, {"consent": str(consent_id)})
    await _enqueue_forget(connection, user_id, consent_id)


async def _enqueue_forget(connection: Connection, user_id: int, consent_id: uuid.UUID) -> None:
    await enqueue(connection, FORGET_TASK, once=True, user_id=user_id, consent_id=str(consent_id))


def _agreed(consent_id: uuid.UUID, text: Text) -> dict[str, str]:
    return {"consent": str(consent_id), "version": text.version, "text": text.sha256.hex()}


def _client(answer: Answer) -> str:
    return f"{answer.client.address}\n{answer.client.label}"


def _found(consent: Consent | None) -> Consent:
    if consent is None:
        raise model.not_found()
    return consent
