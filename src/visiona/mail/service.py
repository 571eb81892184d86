"""Posting mails in the transaction of what they tell, and sending them afterwards.

A mail is sent at least once: under one `Message-ID`, so that whoever gets it twice sees one. The queue
holds ids only.
"""

import logging
import uuid
from collections.abc import Mapping
from typing import Any

from visiona.core.clock import Clock
from visiona.db.actor import SystemActor
from visiona.db.jobs import RetryLater, enqueue, waiting
from visiona.db.pool import Connection, Database
from visiona.mail import model, store
from visiona.mail.model import Kind, LinkTokens, Mail, MailSettings, MailState
from visiona.ports.errors import OutcomeUnknown, ProviderError, ProviderRejected, ProviderUnavailable
from visiona.ports.mailer import Mailer, Message
from visiona.vault.model import KeyDestroyed
from visiona.vault.service import Vault

SEND_TASK = "mail.send"
SWEEP_BATCH = 60
"""How many mails the sweep has waiting at most, so that other work finds the worker free."""

logger = logging.getLogger(__name__)


async def post(
    connection: Connection,
    user_id: int,
    kind: Kind,
    *,
    address: bytes | None = None,
    reference: uuid.UUID | None = None,
    details: Mapping[str, Any] | None = None,
) -> uuid.UUID:
    """On the caller's transaction, whose actor is that person or the worker's system: have the mail sent
    once it commits. Answers its id.

    It goes to the address of the link whose id is `reference`, or to `address`, which is sealed for
    `MAIL_ADDRESS`, or to the one that the account has when it is sent. `details` are what `model.compose`
    says, and nothing personal. Raises `ValueError` where the kind needs more than it was given.
    """
    given = {} if details is None else dict(details)
    model.compose(kind, given, None if reference is None else "a link", "an origin")
    mail_id = uuid.uuid4()
    await store.insert(connection, mail_id, user_id, kind, address, reference, given)
    await enqueue(connection, SEND_TASK, mail_id=str(mail_id))
    return mail_id


async def post_once(
    connection: Connection, user_id: int, kind: Kind, once: str, details: Mapping[str, Any]
) -> uuid.UUID | None:
    """On a transaction of the worker's system: as `post`, for what is noticed again and again. None where
    the person was told of `once` within the time that mails are kept.
    """
    model.compose(kind, details, None, "an origin")
    mail_id = uuid.uuid4()
    if not await store.insert_once(connection, mail_id, user_id, kind, once, details):
        return None
    await enqueue(connection, SEND_TASK, mail_id=str(mail_id))
    return mail_id


class MailService:
    """On the worker's database."""

    def __init__(
        self, database: Database, vault: Vault, clock: Clock, mailer: Mailer, settings: MailSettings
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._mailer = mailer
        self._settings = settings
        self._links = LinkTokens(settings.link_secret)
        self._sending = 0
        self._silent = False

    async def send(self, mail_id: uuid.UUID) -> None:
        """Send a mail that waits; anything else is left alone. Raises `RetryLater`.

        While the mail server does not answer, one mail at a time tries it: the others would take the
        worker's places, and each hold one until its deadline.
        """
        if self._silent and self._sending:
            raise RetryLater("the mail server does not answer")
        self._sending += 1
        try:
            await self._send(mail_id)
        finally:
            self._sending -= 1

    async def _send(self, mail_id: uuid.UUID) -> None:
        async with self._database.transaction(SystemActor("mail")) as connection:
            now = self._clock.now()
            mail = await store.take(connection, mail_id, now)
            if mail is None:
                return
            if mail.to is None or model.is_pointless(mail, now):
                logger.info("mail %s (%s) would help nobody any more", mail.id, mail.kind)
                await store.finish(connection, mail.id, MailState.GIVEN_UP, now)
                return
        try:
            cipher = await self._vault.cipher(mail.user_id)
        except KeyDestroyed:
            await self._finish(mail, MailState.GIVEN_UP)
            return
        to = cipher.open(mail.to.place, mail.to.value)
        try:
            await self._mailer.send(self._written(mail, to))
        except ProviderRejected as error:
            logger.warning("mail %s (%s) was refused: %s", mail.id, mail.kind, error.reason)
            await self._finish(mail, MailState.REFUSED)
        except (ProviderUnavailable, OutcomeUnknown) as error:
            self._silent = True
            await self._try_later(mail, error)
        else:
            self._silent = False
            await self._finish(mail, MailState.SENT)

    def _written(self, mail: Mail, to: str) -> Message:
        kind, origin = Kind(mail.kind), self._settings.origin
        path, link = model.link_path(kind), None
        if path is not None and mail.reference is not None:
            link = f"{origin}/{path}?token={self._links.issue(mail.reference)}"
        subject, text, html = model.compose(kind, mail.details, link, origin, self._settings.product)
        return Message(id=str(mail.id), to=to, subject=subject, text=text, html=html)

    async def _finish(self, mail: Mail, state: MailState) -> None:
        async with self._database.transaction(SystemActor("mail")) as connection:
            await store.finish(connection, mail.id, state, self._clock.now())

    async def _try_later(self, mail: Mail, error: ProviderError) -> None:
        """Raises `RetryLater`, unless the mail has had its time."""
        now = self._clock.now()
        if now >= mail.created_at + model.lifetime(mail.kind):
            logger.error("mail %s (%s) is given up: %s", mail.id, mail.kind, error.reason)
            await self._finish(mail, MailState.GIVEN_UP)
            return
        async with self._database.transaction(SystemActor("mail")) as connection:
            await store.postpone(connection, mail.id, now + model.pause_after(mail.attempts))
        raise RetryLater(str(error)) from error

    async def sweep(self) -> None:
        """Ask for those whose pause is over, and those whose job was lost."""
        async with self._database.transaction(SystemActor("sweep")) as connection:
            room = SWEEP_BATCH - await waiting(connection, SEND_TASK)
            for mail_id in await store.due(connection, self._clock.now(), max(room, 0)):
                await enqueue(connection, SEND_TASK, idle=True, mail_id=str(mail_id))

    async def purge(self) -> None:
        async with self._database.transaction(SystemActor("purge")) as connection:
            await store.purge(connection, self._clock.now() - model.KEPT_FOR)
