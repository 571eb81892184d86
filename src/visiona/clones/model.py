"""A clone, its training, and what may be asked of the trainer. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from visiona.core.errors import Conflict, FieldError, Invalid, NotFound
from visiona.core.work import REFUND_NOTE, Failure, WorkState

# The trainer's documentation advises at least 10 images.
MIN_PHOTOS = 10
MAX_PHOTOS = 40

# Replicate holds at most 1,000 models in an account, any number of versions in a model: each clone
# is a version in one of these.
DESTINATION_SHARDS = 64

# What of a provider's own words is kept.
QUOTE_MAX = 1000

# No training of this trainer takes this long; what does is lost.
MAX_AGE = timedelta(hours=6)

TRIGGER_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,49}")

PROCESSING, READY, FAILED = "Processing", "Ready", "Failed"


@dataclass(frozen=True, slots=True)
class Clone:
    """`status` is the seed's Processing, Ready or Failed; `progress` is 0..1."""

    id: int
    user_id: int
    trigger_word: str = field(repr=False)
    status: str
    progress: float
    parameters: dict[str, Any] = field(repr=False)
    photo_count: int
    version: str | None
    error_code: str | None
    error_message: str | None = field(repr=False)
    created_at: datetime
    ready_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReadyClone:
    """What generating with a clone takes: `input_schema` is the `components.schemas` of its version."""

    id: int
    trigger_word: str = field(repr=False)
    version: str
    input_schema: dict[str, Any]
    consent_id: UUID | None


@dataclass(frozen=True, slots=True)
class Training:
    """The work behind a clone that is not ready yet."""

    id: int
    user_id: int
    model_id: int
    state: WorkState
    archive_id: str | None
    provider_id: str | None
    quota_period: datetime
    cancel_requested_at: datetime | None
    submitted_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ClaimedTraining(Training):
    """The same with what the trainer is told, for whoever submits it."""

    archive_url: str | None = field(repr=False)
    trigger_word: str = field(repr=False)
    parameters: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Parameter:
    kind: type[bool | int | float | str]
    default: bool | int | float | str | None
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()


# Inputs of ostris/flux-dev-lora-trainer that a person may set. Those that would publish the weights
# (hf_*), report to third parties (wandb_*) or skip the training are left out on purpose.
_PARAMETERS: dict[str, _Parameter] = {
    "steps": _Parameter(int, 1000, 3, 6000),
    "lora_rank": _Parameter(int, 16, 1, 128),
    "learning_rate": _Parameter(float, 0.0004, 1e-6, 0.01),
    "batch_size": _Parameter(int, 1, 1, 8),
    "caption_dropout_rate": _Parameter(float, 0.05, 0, 1),
    "resolution": _Parameter(
        str, "512,768,1024", choices=("512", "768", "1024", "512,768", "768,1024", "512,768,1024")
    ),
    "optimizer": _Parameter(
        str, "adamw8bit", choices=("adamw8bit", "adamw", "adam8bit", "prodigy", "adafactor")
    ),
    "autocaption": _Parameter(bool, True),
    "autocaption_prefix": _Parameter(str, None, high=200),
    "autocaption_suffix": _Parameter(str, None, high=200),
    "cache_latents_to_disk": _Parameter(bool, False),
    "gradient_checkpointing": _Parameter(bool, False),
}


def training_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters with their defaults filled in. Raises `Invalid` (`invalid_input`) naming each
    one that is unknown or out of its limits.
    """
    errors = [
        FieldError(f"parameters.{name}", "unknown_field", "The trainer has no such parameter.")
        for name in given
        if name not in _PARAMETERS
    ]
    for name, parameter in _PARAMETERS.items():
        if name in given and (problem := _problem(parameter, given[name])):
            errors.append(FieldError(f"parameters.{name}", "out_of_range", problem))
    if errors:
        raise Invalid("invalid_input", "Some training parameters cannot be used.", errors=errors)
    values = {name: given.get(name, parameter.default) for name, parameter in _PARAMETERS.items()}
    return {name: value for name, value in values.items() if value is not None}


def _problem(parameter: _Parameter, value: Any) -> str | None:
    if parameter.kind is bool:
        return None if isinstance(value, bool) else "Use true or false."
    if parameter.kind is str:
        return _text_problem(parameter, value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = parameter.kind is float or isinstance(value, int)
    if not number or not whole or not parameter.low <= value <= parameter.high:
        sort = "a number" if parameter.kind is float else "a whole number"
        return f"Use {sort} from {parameter.low:g} to {parameter.high:g}."
    return None


def _text_problem(parameter: _Parameter, value: Any) -> str | None:
    if parameter.choices:
        return None if value in parameter.choices else f"Use one of: {'; '.join(parameter.choices)}."
    if not isinstance(value, str) or not 1 <= len(value) <= parameter.high:
        return f"Use a text of 1 to {parameter.high:g} characters."
    if "\x00" in value:
        return "The text holds characters that are not text."
    return None


def check_trigger_word(word: str) -> None:
    """Raises `Invalid` unless it is a word that a prompt can carry and a tokenizer keeps whole."""
    if not TRIGGER_WORD.fullmatch(word):
        raise Invalid(
            "invalid_input",
            "The trigger word cannot be used.",
            errors=[
                FieldError(
                    "trigger_word",
                    "invalid_trigger_word",
                    "Use 2 to 50 letters, digits or underscores, beginning with a letter: TOK, ana_v2.",
                )
            ],
        )


def not_enough_photos(have: int) -> Invalid:
    return Invalid(
        "not_enough_photos",
        f"A clone needs at least {MIN_PHOTOS} photos, and you have {have}. Upload "
        f"{MIN_PHOTOS - have} more: different angles, light and expressions work best.",
    )


def too_many_photos() -> Invalid:
    return Invalid("too_many_photos", f"A clone takes at most {MAX_PHOTOS} photos. Choose fewer.")


def several_faces() -> Invalid:
    return Invalid(
        "several_faces",
        "These photos show several people. A clone is of one: choose photos of one person.",
    )


def clone_not_found() -> NotFound:
    return NotFound("model_not_found", "There is no such clone. It may have been deleted.")


def clone_not_ready(status: str) -> Conflict:
    if status == FAILED:
        return Conflict("clone_not_ready", "This clone's training failed. Train a new one.")
    return Conflict("clone_not_ready", "This clone is still being trained. Try again once it is ready.")


def clone_busy() -> Conflict:
    return Conflict("clone_busy", "This clone is being trained. Cancel the training first, then delete it.")


CANCELED_BY_OWNER = Failure("training_canceled", f"You canceled this training. {REFUND_NOTE}")
ENDED_BY_PROVIDER = Failure(
    "training_interrupted", f"The training service ended this training. {REFUND_NOTE} Please start it again."
)
LOST = Failure(
    "training_lost", f"The training was lost at the training service. {REFUND_NOTE} Please start it again."
)
CONSENT_OVER = Failure(
    "consent_withdrawn",
    f"The consent to use this face does not hold any more. {REFUND_NOTE}",
)
PHOTOS_GONE = Failure(
    "training_photos_gone",
    f"Too many photos were deleted before the training began. {REFUND_NOTE} Upload more and try again.",
)
TIMED_OUT = Failure("training_timed_out", f"The training took too long. {REFUND_NOTE} Please start it again.")


def training_failed(reason: str | None) -> Failure:
    said = f" It said: “{_printable(reason)[:300]}”." if reason else ""
    return Failure("training_failed", f"The training service could not finish.{said} {REFUND_NOTE}")


def _printable(text: str) -> str:
    """A provider's words may hold what no row can keep and no page should show."""
    return "".join(character if character.isprintable() else " " for character in text)


def training_rejected(message: str) -> Failure:
    said = f" It said: “{_printable(message)[:QUOTE_MAX]}”." if message else ""
    return Failure(
        "training_rejected", f"The training service did not accept this training.{said} {REFUND_NOTE}"
    )
