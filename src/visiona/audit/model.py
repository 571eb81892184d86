"""What is recorded, how entries hang together in one chain, and how that is verified. Pure.

Names of actions are for ever: exports and reports refer to them. So is the way in which an entry is hashed,
which docs/audit.md describes.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class Action(StrEnum):
    ACCOUNT_CREATED = "account.created"
    SIGNED_IN = "account.signed_in"
    SIGNED_OUT = "account.signed_out"
    ACCOUNT_DELETED = "account.deleted"
    ACCOUNT_ERASED = "account.erased"
    ERASURE_ASKED = "account.erasure_asked"
    ERASURE_TAKEN_BACK = "account.erasure_taken_back"
    EXPORT_ASKED = "export.asked"
    EXPORT_READY = "export.ready"
    EXPORT_FAILED = "export.failed"
    EXPORT_OPENED = "export.opened"
    EXPORT_REMOVED = "export.removed"
    EXPORT_HANDED_OVER = "export.handed_over"
    ADDRESS_CONFIRMED = "account.address_confirmed"
    PASSWORD_RESET_ASKED = "account.password_reset_asked"  # noqa: S105 - the name of an action
    PASSWORD_CHANGED = "account.password_changed"  # noqa: S105 - the name of an action
    PHOTO_ADDED = "photo.added"
    PHOTO_DELETED = "photo.deleted"
    CLONE_TRAINING_STARTED = "clone.training_started"
    CLONE_READY = "clone.ready"
    CLONE_FAILED = "clone.failed"
    CLONE_CANCELED = "clone.canceled"
    CLONE_DELETED = "clone.deleted"
    GENERATION_STARTED = "generation.started"
    GENERATION_FINISHED = "generation.finished"
    GENERATION_CANCELED = "generation.canceled"
    IMAGE_DELETED = "image.deleted"
    PLAN_CHANGED = "plan.changed"
    CHECKOUT_STARTED = "checkout.started"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    PAYMENT_RECORDED = "payment.recorded"
    TOTP_ENABLED = "factor.totp_enabled"
    TOTP_DISABLED = "factor.totp_disabled"
    CODE_REFUSED = "factor.code_refused"
    RECOVERY_CODE_USED = "factor.recovery_code_used"
    RECOVERY_CODES_RENEWED = "factor.recovery_codes_renewed"
    PASSKEY_ADDED = "passkey.added"
    PASSKEY_REMOVED = "passkey.removed"
    PASSKEY_REFUSED = "passkey.refused"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    SUPPORT_ALLOWED = "support.allowed"
    SUPPORT_ENDED = "support.ended"
    CONSENT_GIVEN = "consent.given"
    CONSENT_ASKED = "consent.asked"
    CONSENT_REFUSED = "consent.refused"
    CONSENT_WITHDRAWN = "consent.withdrawn"
    # What administrators do. Those that the database writes itself are named there too (migration 0012).
    ADMIN_PROMOTED = "admin.promoted"
    ADMIN_DEMOTED = "admin.demoted"
    ADMIN_VIEWED = "admin.viewed"
    ADMIN_LOG_VIEWED = "admin.log_viewed"
    ADMIN_CONTENT_VIEWED = "admin.content_viewed"
    ADMIN_PLAN_SET = "admin.plan_set"
    ADMIN_SUSPENDED = "admin.suspended"
    ADMIN_UNSUSPENDED = "admin.unsuspended"
    ADMIN_SESSIONS_ENDED = "admin.sessions_ended"
    ADMIN_REPORT_VIEWED = "admin.report_viewed"
    ADMIN_REPORT_DISMISSED = "admin.report_dismissed"
    ADMIN_ERASURE_ORDERED = "admin.erasure_ordered"
    ADMIN_IMAGE_TAKEN_DOWN = "admin.image_taken_down"


# What an entry is about, by the name of its id among the details. The first that is there counts.
_THINGS: Final[Mapping[str, str]] = {
    "photo_id": "photo",
    "image_id": "image",
    "run_id": "run",
    "model_id": "clone",
    "passkey_id": "passkey",
    "key_id": "key",
    "session_id": "session",
    "invoice_id": "invoice",
    "subscription": "subscription",
    "charge": "payment",
    "report_id": "report",
    "export_id": "export",
}


def thing_of(details: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """Kind and id of what something was done to; nothing where it is the account itself."""
    for name, kind in _THINGS.items():
        if details and details.get(name) is not None:
            return kind, str(details[name])
    return None, None


@dataclass(frozen=True, slots=True)
class Where:
    """Where somebody was: the network address and the browser, as the log keeps them, sealed."""

    address: str = field(repr=False)
    client: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a log. `action` may be one of a later release.

    `user_id` is whose log it is; none once they are gone. `actor_kind` is person, key, admin, system or
    visitor, none before release 0.2; `actor_id` the key's or administrator's number, or the part of Visiona.
    `where` is there for whoever may open it.
    """

    id: int
    action: str
    details: Mapping[str, Any] | None
    created_at: datetime
    user_id: int | None = None
    actor_kind: str | None = None
    actor_id: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    request_id: str | None = None
    where: Where | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """An entry as it is kept, with what is sealed in it."""

    id: int
    user_id: int | None
    action: str
    details: Mapping[str, Any] | None
    created_at: datetime
    actor_kind: str | None
    actor_id: str | None
    object_kind: str | None
    object_id: str | None
    request_id: str | None
    client: bytes | None = field(repr=False)
    private: bytes | None = field(repr=False)

    @property
    def seen_by(self) -> int | None:
        """Whose key opens where it came from: that of whoever acted."""
        if self.actor_kind == "admin":
            return int(self.actor_id) if self.actor_id else None
        return self.user_id


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries to list: one person's or everybody's, one action's or all (`admin.` is everything that
    administrators do), `since` and before `until`, older than the entry `before`.
    """

    limit: int
    user_id: int | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


# The chain

GENESIS: Final = bytes(32)
_VERSION: Final = "visiona.audit.1"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An entry with its place in the chain; without `seq` it has none yet. `facts` are the details as the
    database writes them.
    """

    id: int
    user_id: int | None
    action: str
    facts: str | None = field(repr=False)
    created_at: datetime
    actor_kind: str | None
    actor_id: str | None
    object_kind: str | None
    object_id: str | None
    request_id: str | None
    client: bytes | None = field(repr=False)
    private: bytes | None = field(repr=False)
    salt: bytes | None = field(repr=False)
    person_hash: bytes | None
    client_hash: bytes | None
    private_hash: bytes | None
    seq: int | None
    previous_hash: bytes | None
    entry_hash: bytes | None


def person_hash(salt: bytes | None, user_id: int | None) -> bytes:
    """What stands for a person in the chain: without the salt nobody can tell whom it means."""
    return _sha256(_part(salt) + _part(None if user_id is None else str(user_id)))


def entry_hash(link: Link) -> bytes:
    """What the entry's hash has to be, with the hashes of its parts as they are kept."""
    microseconds = (link.created_at - _EPOCH) // timedelta(microseconds=1)
    parts: tuple[str | bytes | None, ...] = (
        _VERSION,
        str(link.seq),
        link.previous_hash,
        str(link.id),
        str(microseconds),
        link.action,
        link.actor_kind,
        link.actor_id,
        link.object_kind,
        link.object_id,
        link.request_id,
        link.person_hash,
        _hash_of(link.facts),
        link.client_hash,
        link.private_hash,
    )
    return _sha256(b"".join(map(_part, parts)))


def _part(value: str | bytes | None) -> bytes:
    """Length and value, so that no two lists of values look alike; nothing has the length -1."""
    data = value.encode() if isinstance(value, str) else value
    length = -1 if data is None else len(data)
    return length.to_bytes(4, "big", signed=True) + (data or b"")


def _hash_of(value: str | bytes | None) -> bytes | None:
    if value is None:
        return None
    return _sha256(value.encode() if isinstance(value, str) else value)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# Anchors


class UntrustedAnchor(ValueError):
    """Not an anchor, or signed by no key that is trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The end of the chain at some time: `seq` and `hash` of its last entry. `previous` is the digest of the
    anchor before, if any. One with `restored` says that the database was brought back from a backup then, and
    that what earlier anchors say of entries after `seq` is no more.
    """

    seq: int
    hash: bytes
    at: datetime
    previous: str | None
    restored: bool
    digest: str

    @property
    def name(self) -> str:
        """The key of its object: in order of the chain, and another for each anchor."""
        return anchor_name(self.seq, self.digest)


class _Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    seq: int
    count: int
    hash: str
    at: datetime
    previous: str | None
    restored: bool
    key: str


class AnchorKey:
    """Signs anchors (Ed25519)."""

    def __init__(self, seed: bytes) -> None:
        """`seed` are 32 secret bytes."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = TrustedKey(self._key.public_key())

    def __repr__(self) -> str:
        return f"AnchorKey({self.public.id})"

    def sign(
        self, seq: int, last_hash: bytes, at: datetime, previous: str | None, *, restored: bool = False
    ) -> bytes:
        """The anchor's file: what it says as one line of JSON, then the signature of that line."""
        said = msgspec.json.encode(
            _Said(
                version=1,
                seq=seq,
                count=seq,
                hash=last_hash.hex(),
                at=at,
                previous=previous,
                restored=restored,
                key=self.public.id,
            )
        )
        return said + b"\n" + base64.b64encode(self._key.sign(said)) + b"\n"


class TrustedKey:
    """A public key whose signatures count."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self._raw = key.public_bytes_raw()

    @classmethod
    def parse(cls, text: str) -> "TrustedKey":
        """From what `str` gives. Raises `ValueError`."""
        return cls(Ed25519PublicKey.from_public_bytes(base64.b64decode(text.strip(), validate=True)))

    @property
    def id(self) -> str:
        return hashlib.sha256(self._raw).hexdigest()[:16]

    def __str__(self) -> str:
        return base64.b64encode(self._raw).decode()

    def verify(self, signature: bytes, data: bytes) -> bool:
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


def digest_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def anchor_name(seq: int, digest: str) -> str:
    return f"{seq:016d}-{digest[:16]}.anchor"


def read_anchor(body: bytes, keys: Mapping[str, TrustedKey]) -> Anchor:
    """Raises `UntrustedAnchor`."""
    said, _, signature = body.rstrip(b"\n").partition(b"\n")
    try:
        what = msgspec.json.decode(said, type=_Said)
        key = keys.get(what.key)
        if key is None or not key.verify(base64.b64decode(signature, validate=True), said):
            raise UntrustedAnchor
        return Anchor(
            seq=what.seq,
            hash=bytes.fromhex(what.hash),
            at=what.at,
            previous=what.previous,
            restored=what.restored,
            digest=digest_of(body),
        )
    except (msgspec.DecodeError, ValueError) as error:
        raise UntrustedAnchor from error


# Verifying

LATE_AFTER: Final = timedelta(minutes=15)
"""How old an entry may be that has no place in the chain or that no anchor covers."""
_DISORDER: Final = timedelta(hours=1)
_SHOWN: Final = 100


class Trouble(StrEnum):
    """What can be wrong with a chain."""

    CHANGED = "changed"
    MISSING = "missing"
    FORK = "fork"
    BROKEN = "broken"
    TIME = "time"
    REWRITTEN = "rewritten"
    CUT = "cut"
    ERASURE = "erasure"
    UNCHAINED = "unchained"
    STALE = "stale"
    ANCHOR_MISSING = "anchor_missing"
    ANCHOR_INVALID = "anchor_invalid"


@dataclass(frozen=True, slots=True)
class Finding:
    """`seq` and `entry_id` say which entry, where it is one."""

    trouble: Trouble
    text: str
    seq: int | None = None
    entry_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`findings` are the first hundred of `count`; all is well where there are none."""

    entries: int
    unchained: int
    erased: int
    head: str
    anchors: int
    anchored_seq: int
    voided_anchors: int
    count: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return self.count == 0


@dataclass(frozen=True, slots=True)
class AnchorFile:
    """What lies under `name` where anchors are kept."""

    name: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Anchors:
    """All that was found where anchors are kept, and whose signatures count."""

    files: Sequence[AnchorFile]
    keys: Sequence[TrustedKey]


class ChainCheck:
    """Takes the entries in the order of the chain, those without a place last, and keeps none of them."""

    def __init__(
        self, anchors: Anchors, stored: Iterable[str], now: datetime, *, as_of: datetime | None = None
    ) -> None:
        """`stored` are the names of the anchors that the database knows of, `now` is its time. What is
        younger than `as_of`, the time of a backup for instance, is not missed, and anchors of later say
        nothing. Without it every anchor counts: a clock that is put back hides none.
        """
        self._as_of = as_of or now
        self._backup_of = as_of
        self._findings: list[Finding] = []
        self._count = 0
        self._voided = 0
        self._anchors = self._valid(anchors, stored)
        self._passed = 0  # anchors that lie before the entry that is looked at
        self._seq, self._hash = 0, GENESIS
        self._entries = self._unchained = self._erased = self._said_erased = 0
        self._oldest_unchained: datetime | None = None
        self._oldest_uncovered: datetime | None = None

    def add(self, link: Link) -> None:
        self._count_erased(link)
        if link.seq is None:
            self._unchained += 1
            self._oldest_unchained = min(link.created_at, self._oldest_unchained or link.created_at)
            return
        self._entries += 1
        self._check_place(link, link.seq)
        self._check_content(link)
        self._check_anchors(link, link.seq)
        self._seq, self._hash = link.seq, link.entry_hash or b""

    def finish(self) -> Report:
        for anchor in self._anchors:
            if anchor.seq > self._seq:
                text = (
                    f"the chain ends with {self._seq}, and an anchor of {anchor.at:%Y-%m-%d %H:%M} says that"
                )
                self._found(Trouble.CUT, f"{text} there was a {anchor.seq}", anchor.seq)
                break
        if self._erased != self._said_erased:
            text = f"{self._erased} entries have lost their person, and erasures speak of {self._said_erased}"
            self._found(Trouble.ERASURE, text)
        limit = self._as_of - LATE_AFTER
        if self._oldest_unchained is not None and self._oldest_unchained < limit:
            text = f"{self._unchained} entries have no place in the chain: does a worker run?"
            self._found(Trouble.UNCHAINED, text)
        if self._oldest_uncovered is not None and self._oldest_uncovered < limit:
            text = f"no anchor covers the entries after {self._anchored_seq}: does a worker run?"
            self._found(Trouble.STALE, text, self._anchored_seq + 1)
        return Report(
            entries=self._entries,
            unchained=self._unchained,
            erased=self._erased,
            head=self._hash.hex(),
            anchors=len(self._anchors),
            anchored_seq=self._anchored_seq,
            voided_anchors=self._voided,
            count=self._count,
            findings=tuple(self._findings),
        )

    @property
    def _anchored_seq(self) -> int:
        return self._anchors[-1].seq if self._anchors else 0

    def _found(
        self, trouble: Trouble, text: str, seq: int | None = None, entry_id: int | None = None
    ) -> None:
        self._count += 1
        if len(self._findings) < _SHOWN:
            self._findings.append(Finding(trouble, text, seq, entry_id))

    def _check_place(self, link: Link, seq: int) -> None:
        if seq == self._seq:
            self._found(Trouble.FORK, f"two entries are number {seq}", seq, link.id)
        elif seq != self._seq + 1:
            gone = str(self._seq + 1) if seq == self._seq + 2 else f"{self._seq + 1} to {seq - 1}"
            self._found(Trouble.MISSING, f"number {gone} of the chain is missing", self._seq + 1)
        elif link.previous_hash != self._hash:
            self._found(Trouble.BROKEN, f"number {seq} does not follow the entry before it", seq, link.id)

    def _check_content(self, link: Link) -> None:
        wrong: list[str] = []
        if entry_hash(link) != link.entry_hash:
            wrong.append("what it says")
        if link.salt is not None:
            if person_hash(link.salt, link.user_id) != link.person_hash:
                wrong.append("whose it is")
            if _hash_of(link.client) != link.client_hash or _hash_of(link.private) != link.private_hash:
                wrong.append("what is sealed in it")
        elif link.user_id is not None or link.client is not None or link.private is not None:
            wrong.append("the person that had been taken out of it")
        if wrong:
            text = f"number {link.seq} (entry {link.id}) was changed: {', '.join(wrong)}"
            self._found(Trouble.CHANGED, text, link.seq, link.id)

    def _check_anchors(self, link: Link, seq: int) -> None:
        while self._passed < len(self._anchors) and self._anchors[self._passed].seq < seq:
            self._passed += 1
        before = self._anchors[self._passed - 1] if self._passed else None
        after = self._anchors[self._passed] if self._passed < len(self._anchors) else None
        if before is not None and link.created_at < before.at - _DISORDER:
            text = (
                f"number {seq} says it is of {link.created_at:%Y-%m-%d %H:%M}, and an anchor of later says no"
            )
            self._found(Trouble.TIME, text, seq, link.id)
        if after is None:
            self._oldest_uncovered = min(link.created_at, self._oldest_uncovered or link.created_at)
            return
        if link.created_at > after.at + _DISORDER:
            self._found(Trouble.TIME, f"number {seq} is of a time after its anchor", seq, link.id)
        for anchor in self._anchors[self._passed :]:
            if anchor.seq != seq:
                return
            if anchor.hash != link.entry_hash:
                text = f"number {seq} is not what an anchor of {anchor.at:%Y-%m-%d %H:%M} says"
                self._found(Trouble.REWRITTEN, text, seq, link.id)

    def _count_erased(self, link: Link) -> None:
        if link.salt is None and link.person_hash is not None:
            self._erased += 1
        # Only the database says so, for a part of Visiona: what people's requests write is no such number.
        if link.action == Action.ACCOUNT_ERASED and link.actor_kind == "system" and link.facts is not None:
            self._said_erased += _erased_entries(link.facts)

    def _valid(self, anchors: Anchors, stored: Iterable[str]) -> list[Anchor]:
        """Those that count, in the order of the chain."""
        keys = {key.id: key for key in anchors.keys}
        found: list[Anchor] = []
        for file in anchors.files:
            try:
                found.append(read_anchor(file.body, keys))
            except UntrustedAnchor:
                self._found(Trouble.ANCHOR_INVALID, f"{file.name} is no anchor that a trusted key signed")
        there = {anchor.digest for anchor in found}
        for anchor in found:
            if anchor.previous is not None and anchor.previous not in there:
                text = f"the anchor before that of number {anchor.seq} is missing"
                self._found(Trouble.ANCHOR_MISSING, text, anchor.seq)
        for name in sorted(set(stored) - {anchor.name for anchor in found}):
            self._found(Trouble.ANCHOR_MISSING, f"the anchor {name} is missing")
        kept: list[Anchor] = []
        for anchor in sorted(found, key=lambda one: one.at):
            if self._backup_of is not None and anchor.at > self._backup_of:
                continue
            if anchor.restored:
                lost = [one for one in kept if one.seq > anchor.seq]
                self._voided += len(lost)
                kept = [one for one in kept if one.seq <= anchor.seq]
            kept.append(anchor)
        return sorted(kept, key=lambda one: (one.seq, one.at))


class _Erasure(msgspec.Struct):
    entries: int = 0


def _erased_entries(facts: str) -> int:
    """How many an erasure was about; 0 where somebody made something else of what it says."""
    try:
        return msgspec.json.decode(facts, type=_Erasure).entries
    except msgspec.DecodeError:
        return 0
