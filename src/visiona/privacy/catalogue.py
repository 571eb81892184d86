"""What every column of every table is, and what becomes of it. Pure.

Export and erasure are driven by it, and a test holds it against the database's own catalogue: a column that
is not here cannot come into being.
"""

# ruff: noqa: S106 - `secret` is a class of columns

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from visiona.db.sealed import SEALED

PLACES: Final = {
    **{(column.table, column.column): column.place for column in SEALED},
    **{("consents", name): f"consents.{name}" for name in ("label", "name", "client")},
    **{("audit_logs", name): f"audit_logs.{name}" for name in ("client", "private")},
}
"""What sealed columns are bound to."""


class Kind(StrEnum):
    SEALED = "sealed"
    """Typed by the person, or what they are: opens with their key only, and is exported opened."""
    PSEUDONYM = "pseudonym"
    """Whose row it is, or a random name of something of theirs."""
    FACT = "fact"
    """What happened: numbers, states, times."""
    SECRET = "secret"  # noqa: S105 - a class of columns
    """A hash or key that proves something. Never exported."""
    OPERATIONAL = "operational"
    """What the machine needs for its work, and says nothing of anybody."""


class Fate(StrEnum):
    """What an erasure does to the rows that are somebody's."""

    DELETE = "delete"
    UNLINK = "unlink"
    """They stay, without the person: by the room that keeps them."""
    MATCH = "match"
    """Those that name the person among their arguments are deleted."""
    NOBODYS = "nobodys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`keeps` says why something stays, and until when, where it does."""

    name: str
    columns: dict[str, Kind]
    fate: Fate
    owner: str | None = None
    keeps: str = ""


def _columns(**names: str) -> dict[str, Kind]:
    return {name: Kind(kind) for kind, listed in names.items() for name in listed.split()}


def _own(name: str, *, owner: str = "user_id", **kinds: str) -> Table:
    return Table(name=name, columns=_columns(**kinds), fate=Fate.DELETE, owner=owner)


def _nobodys(name: str, keeps: str = "", **kinds: str) -> Table:
    return Table(name=name, columns=_columns(**kinds), fate=Fate.NOBODYS, keeps=keeps)


# In the order in which they are erased: what refers to something goes before it.
CATALOGUE: Final = (
    _own("generations", pseudonym="id user_id model_id run_id image_url thumbnail_url sha256",
         sealed="prompt enhanced_prompt parameters",
         fact="position content_type width height size seed created_at"),
    _own("runs", pseudonym="id user_id model_id consent_id version provider_id",
         sealed="trigger_word prompt enhanced_prompt inputs error_message",
         fact="enhance enhancement_provider enhancement_outcome num_outputs state progress error_code "
              "quota_period cancel_requested_at submitted_at checked_at created_at finished_at"),
    _own("trainings", pseudonym="id user_id model_id archive_id provider_id", sealed="archive_url",
         fact="state progress quota_period cancel_requested_at submitted_at checked_at created_at"
              " finished_at"),
    _own("model_photos", pseudonym="user_id model_id photo_id"),
    _own("models", pseudonym="id user_id version consent_id", sealed="trigger_word parameters error_message",
         fact="status photo_count error_code created_at ready_at", operational="input_schema"),
    _own("photos", pseudonym="id user_id file_url thumbnail_url sha256 consent_id",
         fact="width height size warnings uploaded_at"),
    _own("consents", pseudonym="id user_id", sealed="label name client",
         fact="subject state version text_sha256 purpose retention asked_at expires_at answered_at"
              " withdrawn_at"),
    _own("reports", pseudonym="id user_id image_id object_keys", secret="case_hash",
         fact="reason state created_at decided_at"),
    _own("exports", pseudonym="id user_id object_key",
         fact="state progress size sha256 created_at finished_at expires_at",
         operational="stale attempts crashes begun_at"),
    _own("pending_objects", pseudonym="key user_id", fact="created_at"),
    _own("prompt_refusals", pseudonym="user_id", fact="day rule times"),
    _own("provider_costs", pseudonym="user_id work", fact="day reserved spent created_at"),
    _own("cost_people", pseudonym="user_id", fact="day committed"),
    _own("quota_ledger", pseudonym="id user_id reference",
         fact="resource period_start entry plan entitled reserved used amount created_at"),
    _own("quota_usage", pseudonym="user_id subscription_id reference",
         fact="resource period_start period_end used reserved plan entitled entry granted balance"),
    _own("payments", pseudonym="id user_id stripe_charge_id invoice_id",
         fact="amount currency status created_at refunded disputed"),
    _own("invoices", pseudonym="id user_id subscription_id number",
         fact="status reason total amount_paid amount_remaining currency next_attempt_at paid_at created_at"),
    _own("subscriptions", pseudonym="id user_id item_id price_id",
         fact="status plan billing_interval amount currency period_start period_end trial_end cancel_at "
              "ended_at next_plan next_amount created_at"),
    _own("checkouts", pseudonym="id user_id session_id",
         fact="lookup_key plan trial_days state created_at expires_at"),
    _own("payment_customers", pseudonym="user_id customer_id",
         fact="mode attempt version synced_at due_at created_at"),
    _own("entitlements", pseudonym="user_id", fact="plan changed_at"),
    _own("idempotency_keys", pseudonym="user_id key result_id", secret="request_hash",
         fact="operation created_at"),
    _own("mails", pseudonym="id user_id reference once", sealed="address",
         fact="kind details state attempts next_attempt_at created_at sent_at"),
    _own("email_links", pseudonym="id user_id", sealed="address",
         fact="purpose created_at expires_at used_at"),
    _own("support_grants", pseudonym="user_id", fact="expires_at granted_at"),
    _own("api_keys", pseudonym="id user_id prefix", sealed="name", secret="secret_hash",
         fact="scopes created_at expires_at last_used_at revoked_at"),
    _own("passkey_challenges", pseudonym="user_id", secret="challenge_hash", fact="expires_at"),
    _own("passkeys", pseudonym="id user_id credential_id aaguid", sealed="name",
         fact="public_key sign_count transports synced backed_up created_at last_used_at"),
    _own("recovery_codes", pseudonym="user_id", secret="code_hash", fact="used_at"),
    _own("totp_secrets", pseudonym="user_id", secret="secret", fact="confirmed_at created_at",
         operational="last_step"),
    _own("sessions", pseudonym="id user_id provider_session_id", sealed="client", secret="secret_hash",
         fact="created_at last_seen_at expires_at revoked_at confirmed_at", operational="checked_at"),
    _own("credentials", pseudonym="user_id", secret="password_hash", fact="changed_at"),
    Table(name="audit_logs", owner="user_id", fate=Fate.UNLINK,
          keeps="The chain of entries stays, for whoever checks it, without the person: who it was about and "
                "where they were is removed, and cannot be computed from what is left.",
          columns=_columns(pseudonym="id user_id actor_id object_id request_id", sealed="client private",
                           fact="action details created_at actor_kind object_kind",
                           secret="salt person_hash client_hash private_hash previous_hash entry_hash",
                           operational="seq")),
    _own("users", owner="id", pseudonym="id clerk_id", sealed="email", secret="email_index",
         fact="status created_at email_verified_at role", operational="barred revision"),
    Table(name="erasures", fate=Fate.UNLINK,
          keeps="What was erased when, for the receipt, without the person.",
          columns=_columns(pseudonym="id user_id remote",
                           fact="number cause state asked_at due_at started_at finished_at steps trouble"
                                " receipt",
                           operational="attempts next_attempt_at")),
    Table(name="webhook_receipts", fate=Fate.MATCH,
          columns=_columns(pseudonym="id external_id reference",
         fact="provider topic received_at processed_at")),
    Table(name="procrastinate_jobs", fate=Fate.MATCH,
          columns=_columns(pseudonym="args lock queueing_lock",
                           operational="id queue_name task_name priority status scheduled_at attempts "
                                       "abort_requested worker_id")),
    _nobodys("procrastinate_events", operational="id job_id type at"),
    _nobodys("procrastinate_periodic_defers", operational="id task_name defer_timestamp job_id periodic_id"),
    _nobodys("procrastinate_workers", operational="id last_heartbeat"),
    _nobodys("departed_subjects", fact="departed_at", secret="subject_hash",
             keeps="The hash of the random name of an account, so that late news do not bring it back."),
    _nobodys("sign_in_attempts", fact="failures last_at", secret="key_hash",
             keeps="Counts by a keyed hash, deleted within a day."),
    _nobodys("rate_limits", fact="started_at window_s used", secret="key_hash",
             keeps="Counts by a keyed hash, deleted within a day."),
    _nobodys("audit_anchors", operational="id seq body created_at stored_at"),
    _nobodys("backup_runs", operational="id kind set_id started_at finished_at ok report"),
    _nobodys("cost_days", fact="day committed told_at"),
    _nobodys("plans", operational="name images clones is_base"),
    _nobodys("identity_keys", operational="id inner_pad outer_pad replaced_at"),
    _nobodys("schema_migrations", operational="name checksum applied_at"),
)  # fmt: skip

ERASED: Final = tuple(table.name for table in CATALOGUE if table.fate is Fate.DELETE)
"""Tables whose rows an erasure deletes, in its order; `users` is the last."""
