"""The environment, read once. Every setting is documented in docs/settings.md.

A value may also come from a file: `VISIONA_SECRET_KEY_FILE=/run/secrets/key` reads it from there.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says how to mend it."""


_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LONGEST_BACKUP_DAYS = 30
"""What people are told: what they delete is in no backup after this."""
LONGEST_GRACE_DAYS = 30
"""The law wants erasure within a month."""
REPLICATE_WEBHOOK_PATH = "/api/webhooks/replicate"
STRIPE_WEBHOOK_PATH = "/api/payment/webhook"
CLERK_WEBHOOK_PATH = "/api/webhooks/clerk"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Values as Visiona uses them. `None` for a service means that it is not configured."""

    environment: str = "development"
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = ""
    trusted_proxies: tuple[str, ...] = ()
    data_dir: Path = Path(".visiona")
    secret_key: str = field(default="", repr=False)
    secret_key_old: tuple[str, ...] = field(default=(), repr=False)

    database_url: str | None = field(default=None, repr=False)
    app_database_url: str | None = field(default=None, repr=False)
    worker_database_url: str | None = field(default=None, repr=False)
    database_pooler: bool = False
    database_pool_size: int = 10

    storage_url: str | None = None

    backup_url: str | None = None
    backup_days: int = LONGEST_BACKUP_DAYS

    erasure_grace_days: int = 7
    invoice_years: int = 10

    master_keys: tuple[str, ...] = field(default=(), repr=False)
    keys_url: str | None = None
    keys_mirror_url: str | None = None

    anchors_url: str | None = None

    identity: str = "builtin"
    clerk_publishable_key: str = ""
    clerk_secret_key: str | None = field(default=None, repr=False)
    clerk_webhook_secret: tuple[str, ...] = field(default=(), repr=False)
    clerk_jwt_key: str | None = field(default=None, repr=False)
    clerk_authorized_parties: tuple[str, ...] = ()
    clerk_base_url: str = "https://api.clerk.com/v1"
    clerk_frontend_url: str | None = None
    clerk_accounts_url: str | None = None

    smtp_url: str | None = field(default=None, repr=False)
    mail_from: str = ""

    replicate_api_token: str | None = field(default=None, repr=False)
    replicate_base_url: str = "https://api.replicate.com/v1"
    replicate_owner: str = ""
    replicate_trainer_version: str = "26dce37af90b9d997eeb970d92e47de3064d46c300504ae376c75bef6a9022d2"
    replicate_webhook_secret: tuple[str, ...] = field(default=(), repr=False)
    replicate_delivery_hosts: tuple[str, ...] = ("replicate.delivery",)

    enhancers: tuple[str, ...] = ("openai", "anthropic")
    openai_api_key: str | None = field(default=None, repr=False)
    openai_base_url: str | None = None
    openai_model: str = "gpt-6-luna"
    anthropic_api_key: str | None = field(default=None, repr=False)
    anthropic_base_url: str | None = None
    anthropic_model: str = "claude-haiku-5-5"

    moderation: str = "auto"
    limits: tuple[str, ...] = ()
    daily_cost_cap: str = "100"
    daily_cost_cap_per_person: str = "25"
    cost_training: str = "2.50"
    cost_image: str = "0.04"
    cost_enhancement: str = "0.002"

    billing: bool = True
    plans_file: Path | None = None
    default_plan: str = ""
    stripe_api_key: str | None = field(default=None, repr=False)
    stripe_base_url: str = "https://api.stripe.com"
    stripe_webhook_secret: tuple[str, ...] = field(default=(), repr=False)

    c2pa_certificate: str | None = None
    c2pa_private_key: str | None = field(default=None, repr=False)
    c2pa_trusted: str | None = None
    c2pa_timestamp_url: str | None = None

    sandbox_inbox_url: str | None = None
    sandbox_training_seconds: float = 12.0
    sandbox_generation_seconds: float = 2.5

    worker_concurrency: int = 8
    log_level: str = "INFO"
    sentry_dsn: str | None = field(default=None, repr=False)

    @property
    def production(self) -> bool:
        return self.environment == "production"

    @property
    def origin(self) -> str:
        """Where browsers reach Visiona: scheme, host and port."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def local_url(self) -> str:
        """Where processes on this machine reach Visiona."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host
        return f"http://{host}:{self.port}"

    @property
    def secure_cookies(self) -> bool:
        return self.origin.startswith("https://")

    @property
    def images_simulated(self) -> bool:
        """Whether trainings and images come from the local sandbox."""
        return urlsplit(self.replicate_base_url).hostname in LOOPBACK_HOSTS

    @property
    def prompts_simulated(self) -> bool:
        """Whether rewritten prompts come from the local sandbox."""
        writers = (self.openai_base_url, self.anthropic_base_url)
        return any(urlsplit(url).hostname in LOOPBACK_HOSTS for url in writers if url)

    @property
    def payments_simulated(self) -> bool:
        """Whether payments are taken by the local sandbox, which moves no money."""
        return self.billing and urlsplit(self.stripe_base_url).hostname in LOOPBACK_HOSTS

    @property
    def hosted_identity(self) -> bool:
        """Whether Clerk keeps the accounts."""
        return self.identity == "clerk"

    @property
    def identity_simulated(self) -> bool:
        """Whether the local sandbox stands in for Clerk."""
        return self.hosted_identity and urlsplit(self.clerk_base_url).hostname in LOOPBACK_HOSTS

    @property
    def mail_simulated(self) -> bool:
        """Whether mails end in the local sandbox's inbox, for everybody to read."""
        return self.sandbox_inbox_url is not None

    @property
    def objects_url(self) -> str:
        return self.storage_url or (self.data_dir.resolve() / "objects").as_uri()

    @property
    def key_store_url(self) -> str:
        return self.keys_url or (self.data_dir.resolve() / "keys").as_uri()

    @property
    def anchor_store_url(self) -> str:
        beside = None if self.backups_url is None else f"{self.backups_url.rstrip('/')}/anchors"
        return self.anchors_url or beside or (self.data_dir.resolve() / "anchors").as_uri()

    @property
    def backups_url(self) -> str | None:
        """Where backups are kept, if any are made. A server of Visiona's own is always backed up."""
        folder = self.data_dir.resolve()
        own_server = not (self.production or self.database_url or self.app_database_url)
        beside = folder.with_name(f"{folder.name}-backups").as_uri() if own_server else None
        return self.backup_url or beside

    @property
    def keys_mirror(self) -> str | None:
        """Where keys are written to once more: beside the backups, unless it is said where."""
        beside = None if self.backups_url is None else f"{self.backups_url.rstrip('/')}/keyring"
        return self.keys_mirror_url or beside

    @property
    def webhook_base(self) -> str | None:
        """Where providers can send webhooks; None where they cannot reach us, and polling does it."""
        return self.origin if self.images_simulated or self.origin.startswith("https://") else None

    def secret(self) -> bytes:
        """The key that signs links and derives passwords; at least 32 characters."""
        if len(self.secret_key) < 32:
            raise SettingsError(
                "VISIONA_SECRET_KEY must have at least 32 characters. Make one with: openssl rand -base64 48"
            )
        return self.secret_key.encode()

    def secrets(self) -> tuple[bytes, ...]:
        """The key that signs, then those whose signatures are believed besides, while it is rotated."""
        if any(len(key) < 32 for key in self.secret_key_old):
            raise SettingsError("VISIONA_SECRET_KEY_OLD must have keys of at least 32 characters.")
        return self.secret(), *(key.encode() for key in self.secret_key_old)

    def masters(self) -> tuple[str, ...]:
        """The master keys, or where they are; at least one."""
        if not self.master_keys:
            raise SettingsError(
                "VISIONA_MASTER_KEYS is missing: without it nothing personal can be stored. `visiona up` "
                "makes one; everything else needs 32 random bytes (openssl rand -base64 32) or the address "
                "of a key in AWS KMS, GCP KMS or Vault. What is lost with it is lost for good."
            )
        return self.master_keys


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read `VISIONA_…` variables. Raises `SettingsError` for an unknown, malformed or unsafe one."""
    given = dict(_given_values(environ))
    values: dict[str, object] = {}
    for name, text in given.items():
        values[name] = _parse(name, text)
    settings = Settings(**values)  # type: ignore[arg-type] # parsed to the declared types just above
    _check(settings)
    return settings


# Read by tools around Visiona, not by Visiona itself.
_OTHER_VARIABLES = frozenset(
    {
        "VISIONA_SERVER",
        "VISIONA_TOKEN",
        "VISIONA_CONTRACTS_DIR",
        "VISIONA_TEST_BROWSER",
        "VISIONA_TEST_PICTURES",
    }
)


def _given_values(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    known = Settings.__dataclass_fields__
    found: list[tuple[str, str]] = []
    for variable, text in environ.items():
        if not variable.startswith("VISIONA_") or variable in _OTHER_VARIABLES:
            continue
        name = variable.removeprefix("VISIONA_").lower()
        value = text
        if name not in known and name.endswith("_file"):
            name = name.removesuffix("_file")
            value = Path(text).read_text(encoding="utf-8").strip()
        if name not in known:
            raise SettingsError(f"{variable} is not a setting of Visiona; see docs/settings.md.")
        if value != "":
            found.append((name, value))
    return found


def _parse(name: str, text: str) -> object:
    default = Settings.__dataclass_fields__[name].default
    try:
        if isinstance(default, bool):
            return {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}[
                text.lower()
            ]
        if isinstance(default, int | float):
            return type(default)(text)
    except (KeyError, ValueError) as error:
        raise SettingsError(f"VISIONA_{name.upper()} has a value that cannot be read: {text!r}.") from error
    if isinstance(default, Path):
        return Path(text)
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if name == "plans_file":
        return Path(text)
    return text.rstrip("/") if name in _ADDRESSES else text


_ADDRESSES = frozenset(
    {
        "public_url",
        "replicate_base_url",
        "stripe_base_url",
        "clerk_base_url",
        "clerk_frontend_url",
        "clerk_accounts_url",
        "sandbox_inbox_url",
    }
)


# As PostgreSQL reads it. What it cannot read it repeats in its errors, password and all.
_HOST_AND_PORT = r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s\[\]:,/?@]*)(?::[0-9]{1,5})?"
_DATABASE_URL = re.compile(
    rf"postgres(?:ql)?://(?:[^@/]*@)?{_HOST_AND_PORT}(?:,{_HOST_AND_PORT})*(?:/[^\s?]*)?(?:\?[^\s]*)?"
)
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


def _check_databases(settings: Settings) -> None:
    for name in ("database_url", "app_database_url", "worker_database_url"):
        url: str | None = getattr(settings, name)
        if url is not None and (_DATABASE_URL.fullmatch(url) is None or _BROKEN_ESCAPE.search(url)):
            raise SettingsError(
                f"VISIONA_{name.upper()} cannot be read. Write postgresql://user:password@host:5432/name, "
                "and in the password %25 for %, %40 for @, %2F for /."
            )


def _check(settings: Settings) -> None:
    _check_databases(settings)
    if settings.environment not in {"development", "production"}:
        raise SettingsError("VISIONA_ENVIRONMENT must be development or production.")
    if settings.log_level not in _LOG_LEVELS:
        raise SettingsError(f"VISIONA_LOG_LEVEL must be one of {', '.join(_LOG_LEVELS)}.")
    if settings.identity not in {"builtin", "clerk"}:
        raise SettingsError("VISIONA_IDENTITY must be builtin or clerk.")
    if settings.moderation not in {"auto", "off"}:
        raise SettingsError("VISIONA_MODERATION must be auto or off.")
    if settings.smtp_url and not settings.mail_from:
        raise SettingsError("VISIONA_MAIL_FROM is missing: who mails come from, like hello@example.com.")
    _check_days(settings)
    if unknown := set(settings.enhancers) - {"openai", "anthropic"}:
        raise SettingsError(f"VISIONA_ENHANCERS names unknown services: {', '.join(sorted(unknown))}.")
    if (settings.c2pa_certificate is None) != (settings.c2pa_private_key is None):
        raise SettingsError(
            "VISIONA_C2PA_CERTIFICATE and VISIONA_C2PA_PRIVATE_KEY belong together: set both."
        )
    if settings.production:
        _check_production(settings)


def _check_days(settings: Settings) -> None:
    if not 1 <= settings.backup_days <= LONGEST_BACKUP_DAYS:
        raise SettingsError(f"VISIONA_BACKUP_DAYS must be between 1 and {LONGEST_BACKUP_DAYS}.")
    if not 0 <= settings.erasure_grace_days <= LONGEST_GRACE_DAYS:
        raise SettingsError(f"VISIONA_ERASURE_GRACE_DAYS must be between 0 and {LONGEST_GRACE_DAYS}.")


def _check_production(settings: Settings) -> None:
    settings.secrets()
    settings.masters()
    _refuse_sandboxes(settings)
    if settings.hosted_identity and not settings.clerk_base_url.startswith("https://"):
        raise SettingsError("VISIONA_CLERK_BASE_URL must be an https:// address in production.")
    if not settings.hosted_identity and not settings.smtp_url:
        raise SettingsError(
            "VISIONA_SMTP_URL is missing: without mail nobody can choose a new password. "
            "Give it a mail server, like smtp://user:password@mail.example.com:587."
        )
    if settings.billing and not settings.stripe_base_url.startswith("https://"):
        raise SettingsError("VISIONA_STRIPE_BASE_URL must be an https:// address in production.")
    if settings.sentry_dsn and not settings.sentry_dsn.startswith("https://"):
        raise SettingsError("VISIONA_SENTRY_DSN must be an https:// address in production.")
    if not settings.origin.startswith("https://"):
        raise SettingsError("VISIONA_PUBLIC_URL must be an https:// address in production.")


def _refuse_sandboxes(settings: Settings) -> None:
    if settings.images_simulated:
        raise SettingsError("The sandbox cannot run in production: set VISIONA_REPLICATE_BASE_URL back.")
    if settings.prompts_simulated:
        raise SettingsError(
            "The sandbox cannot run in production: unset the base URLs of OpenAI and Anthropic."
        )
    if settings.payments_simulated:
        raise SettingsError("The sandbox cannot run in production: set VISIONA_STRIPE_BASE_URL back.")
    if settings.identity_simulated:
        raise SettingsError("The sandbox cannot run in production: set VISIONA_CLERK_BASE_URL back.")
    if settings.mail_simulated:
        raise SettingsError("The sandbox cannot run in production: unset VISIONA_SANDBOX_INBOX_URL.")
