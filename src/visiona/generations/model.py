"""A run, its inputs and its images. Pure."""

import json
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from visiona.core.errors import FieldError, Invalid, NotFound
from visiona.core.work import REFUND_NOTE, Failure, WorkState

logger = logging.getLogger(__name__)

PROMPT_MAX = 1500
OUTPUTS_MAX = 4
SEED_MAX = 2**31 - 1

# What of a provider's own words is kept.
QUOTE_MAX = 1000

# The provider stops a generation after 30 minutes.
MAX_AGE = timedelta(minutes=40)

# Inputs of a trained version that are not a person's to set: they would switch the safety check off,
# mix in strangers' weights, or have the provider fetch arbitrary addresses.
_RESERVED_INPUTS = frozenset(
    {
        "prompt",
        "disable_safety_checker",
        "replicate_weights",
        "extra_lora",
        "extra_lora_scale",
        "hf_api_token",
        "civitai_api_token",
        "image",
        "mask",
    }
)


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A delivered image; the keys name private objects."""

    id: int
    user_id: int
    model_id: int | None
    run_id: int
    prompt: str = field(repr=False)
    enhanced_prompt: str | None = field(repr=False)
    image_key: str
    thumbnail_key: str
    width: int
    height: int
    seed: int | None
    parameters: dict[str, Any] = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RunStanding:
    """How far a request for images has come, without a word of what it is for."""

    id: int
    user_id: int
    num_outputs: int
    state: WorkState
    provider_id: str | None
    quota_period: datetime
    cancel_requested_at: datetime | None
    submitted_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Run(RunStanding):
    """One request for images. `inputs` are the provider's, without the prompt; `seed` is among them."""

    model_id: int | None
    version: str
    trigger_word: str = field(repr=False)
    prompt: str = field(repr=False)
    enhance: bool
    enhanced_prompt: str | None = field(repr=False)
    enhancement_provider: str | None
    enhancement_outcome: str
    inputs: dict[str, Any] = field(repr=False)
    progress: float
    error_code: str | None
    error_message: str | None = field(repr=False)
    finished_at: datetime | None

    @property
    def final_prompt(self) -> str:
        """What is sent: the better text there is, the trigger word in it."""
        return with_trigger_word(self.enhanced_prompt or self.prompt, self.trigger_word)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a person asked for; `inputs` are the further ones that the trained version may take."""

    model_id: int
    prompt: str = field(repr=False)
    enhance: bool
    num_outputs: int
    inputs: Mapping[str, Any] = field(repr=False)


def with_trigger_word(text: str, word: str) -> str:
    """The clone answers to its trigger word only, as it is written: another spelling of it is put
    right, and a prompt without it gets it in front.
    """
    pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    found = pattern.findall(text)
    if word in found:
        return text
    return pattern.sub(word, text) if found else f"{word}, {text}"


def clean_prompt(text: str) -> str:
    """The prompt as kept. Raises `Invalid` when there is nothing to draw or too much."""
    prompt = text.strip()
    problem: FieldError | None = None
    if not any(character.isalnum() for character in prompt):
        problem = FieldError("prompt", "required", "Describe the picture that you want.")
    elif len(prompt) > PROMPT_MAX:
        problem = FieldError("prompt", "too_long", f"Use at most {PROMPT_MAX} characters.")
    elif "\x00" in prompt:
        problem = FieldError("prompt", "invalid_characters", "The prompt holds characters that are not text.")
    if problem is not None:
        raise Invalid("invalid_input", problem.message, errors=[problem])
    return prompt


def texts_among(inputs: Mapping[str, Any]) -> list[str]:
    """What among the inputs somebody may have written: rules that hold for the prompt hold for these too."""
    return [value for value in inputs.values() if isinstance(value, str)]


def resolve_inputs(schemas: Mapping[str, Any], given: Mapping[str, Any], num_outputs: int) -> dict[str, Any]:
    """The inputs to send: those given, checked by the trained version's own schema, and a seed.

    `schemas` is the `components.schemas` of the version's OpenAPI document. Raises `Invalid` with
    every input that is unknown, reserved or out of its limits.
    """
    properties = cast("dict[str, Any]", schemas["Input"].get("properties", {}))
    inputs = {name: value for name, value in given.items() if value is not None}
    errors = [
        FieldError(name, "unknown_field", "This clone has no such input.")
        for name in inputs
        if name not in properties or name in _RESERVED_INPUTS
    ]
    inputs["num_outputs"] = num_outputs
    errors += _schema_errors(schemas, {n: v for n, v in inputs.items() if n in properties})
    if "width" in inputs or "height" in inputs:
        errors += _size_errors(inputs)
    errors += _unstorable(inputs)
    if errors:
        raise Invalid("invalid_input", "Some inputs cannot be used.", errors=errors)
    inputs.setdefault("seed", secrets.randbelow(SEED_MAX))
    return inputs


def _schema_errors(schemas: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[FieldError]:
    """What the trained version's own schema refuses. The schema comes from the provider: it may not
    have addresses fetched, and one that cannot be applied leaves the checking to the provider.
    """
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - costs start-up time, seldom needed
    from referencing import Registry  # noqa: PLC0415 - as above

    own = {key: value for key, value in schemas["Input"].items() if key != "required"}
    document = {**own, "components": {"schemas": dict(schemas)}}
    validator = Draft202012Validator(document, registry=Registry())  # one that retrieves nothing
    try:
        found = list(validator.iter_errors(dict(inputs)))
    except RecursionError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a schema that is none brings about
        logger.warning("a trained version's schema cannot be applied: %s", type(error).__name__)
        return []
    return [
        FieldError(".".join(str(part) for part in error.absolute_path), "out_of_range", f"{error.message}.")
        for error in found
    ]


def _unstorable(inputs: Mapping[str, Any]) -> list[FieldError]:
    """What the schema may allow and an image's row cannot hold: found out now, not once it is paid for."""
    errors = [
        FieldError(name, "invalid_characters", "The text holds characters that are not text.")
        for name, value in inputs.items()
        if "\\u0000" in json.dumps(value)
    ]
    seed = inputs.get("seed", 0)
    if isinstance(seed, int | float) and not 0 <= seed <= SEED_MAX:
        errors.append(FieldError("seed", "out_of_range", f"Use a whole number from 0 to {SEED_MAX}."))
    return errors


def _size_errors(inputs: Mapping[str, Any]) -> list[FieldError]:
    if inputs.get("aspect_ratio") == "custom":
        return []
    return [
        FieldError(name, "needs_custom_aspect_ratio", "Set aspect_ratio to custom to choose a size.")
        for name in ("width", "height")
        if name in inputs
    ]


def run_not_found() -> NotFound:
    return NotFound("run_not_found", "There is no such generation. It may have been deleted.")


CONSENT_OVER = Failure(
    "consent_withdrawn", f"The consent to use this face does not hold any more. {REFUND_NOTE}"
)
CANCELED_BY_OWNER = Failure("canceled", f"You canceled this generation. {REFUND_NOTE}")
ENDED_BY_PROVIDER = Failure(
    "generation_interrupted", f"The image service ended this generation. {REFUND_NOTE} Please try again."
)
LOST = Failure(
    "generation_lost", f"This generation was lost at the image service. {REFUND_NOTE} Please try again."
)
TIMED_OUT = Failure(
    "generation_timed_out", f"The image service took too long. {REFUND_NOTE} Please try again."
)
NO_IMAGES = Failure(
    "no_images", f"The image service delivered no usable image. {REFUND_NOTE} Please try again."
)
OUTPUTS_GONE = Failure(
    "outputs_expired", f"The images could not be fetched in time. {REFUND_NOTE} Please try again."
)
CONTENT_REFUSED = Failure(
    "content_refused",
    f"The safety check refused all images of this prompt. {REFUND_NOTE} Try a different prompt.",
)


def prompt_refused(advice: str) -> Failure:
    return Failure("prompt_refused", f"{advice} {REFUND_NOTE}")


def generation_failed(reason: str | None) -> Failure:
    if reason and "nsfw" in reason.lower():
        return CONTENT_REFUSED
    return Failure(
        "generation_failed", f"The image service could not finish. {REFUND_NOTE} Please try again."
    )


def generation_rejected(message: str) -> Failure:
    printable = "".join(character if character.isprintable() else " " for character in message)[:QUOTE_MAX]
    said = f" It said: “{printable}”." if message else ""
    return Failure(
        "generation_rejected", f"The image service did not accept this generation.{said} {REFUND_NOTE}"
    )
