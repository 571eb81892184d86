"""Which columns hold what a person typed or is: sealed with that person's key, under their old name.

Each has a constraint `<table>_<column>_sealed`, and is of type bytea. What was there before it was sealed
is sealed by `visiona migrate`, which reads this list.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlindIndex:
    """A column beside a sealed one, by which what is in that is found: see `Vault.blind_index`."""

    column: str
    purpose: str


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """`owner` is the column with the id of the person whose key it is."""

    table: str
    column: str
    owner: str = "user_id"
    index: BlindIndex | None = None

    @property
    def place(self) -> str:
        """What the values are bound to, besides the person."""
        return f"{self.table}.{self.column}"

    @property
    def constraint(self) -> str:
        return f"{self.table}_{self.column}_sealed"


USER_EMAIL = SealedColumn("users", "email", owner="id", index=BlindIndex("email_index", "email"))
LINK_ADDRESS = SealedColumn("email_links", "address")
MAIL_ADDRESS = SealedColumn("mails", "address")
SESSION_CLIENT = SealedColumn("sessions", "client")
API_KEY_NAME = SealedColumn("api_keys", "name")
PASSKEY_NAME = SealedColumn("passkeys", "name")
TOTP_SECRET = SealedColumn("totp_secrets", "secret")

MODEL_TRIGGER_WORD = SealedColumn("models", "trigger_word")
MODEL_PARAMETERS = SealedColumn("models", "parameters")
MODEL_ERROR = SealedColumn("models", "error_message")
TRAINING_ARCHIVE_URL = SealedColumn("trainings", "archive_url")
RUN_TRIGGER_WORD = SealedColumn("runs", "trigger_word")
RUN_PROMPT = SealedColumn("runs", "prompt")
RUN_ENHANCED_PROMPT = SealedColumn("runs", "enhanced_prompt")
RUN_INPUTS = SealedColumn("runs", "inputs")
RUN_ERROR = SealedColumn("runs", "error_message")
IMAGE_PROMPT = SealedColumn("generations", "prompt")
IMAGE_ENHANCED_PROMPT = SealedColumn("generations", "enhanced_prompt")
IMAGE_PARAMETERS = SealedColumn("generations", "parameters")

SEALED: tuple[SealedColumn, ...] = (
    USER_EMAIL,
    LINK_ADDRESS,
    MAIL_ADDRESS,
    SESSION_CLIENT,
    API_KEY_NAME,
    PASSKEY_NAME,
    TOTP_SECRET,
    MODEL_TRIGGER_WORD,
    MODEL_PARAMETERS,
    MODEL_ERROR,
    TRAINING_ARCHIVE_URL,
    RUN_TRIGGER_WORD,
    RUN_PROMPT,
    RUN_ENHANCED_PROMPT,
    RUN_INPUTS,
    RUN_ERROR,
    IMAGE_PROMPT,
    IMAGE_ENHANCED_PROMPT,
    IMAGE_PARAMETERS,
)
