"""The OpenAPI documents that Cog makes of a model's inputs, and the checking of inputs against them.

Fields, types, defaults and limits are the provider's documented ones; the descriptions are ours.
Refusals carry the rule names of the provider's validator (`enum`, `required`, `number_lte`, ...).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from visiona.sandbox.network import is_loopback_url
from visiona.sandbox.replicate.painter.paint import ASPECTS
from visiona.sandbox.replicate.problems import InvalidField

COG_VERSION = "0.14.1"

InputType = Literal["string", "integer", "number", "boolean"]

_TYPES: Mapping[InputType, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}

_JSON_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)


@dataclass(frozen=True, slots=True)
class Field:
    """One input. Without a default it is nullable unless required."""

    name: str
    type: InputType
    about: str
    default: Any = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    url: bool = False
    secret: bool = False


TRAINING_FIELDS = (
    Field("input_images", "string", "Zip of the pictures to learn from, with optional captions.", url=True),
    Field("trigger_word", "string", "Word that stands for the subject in prompts.", "TOK"),
    Field("autocaption", "boolean", "Write captions for pictures that come without one.", True),
    Field("autocaption_prefix", "string", "Text before each automatic caption."),
    Field("autocaption_suffix", "string", "Text after each automatic caption."),
    Field("steps", "integer", "Number of training steps.", 1000, 3, 6000),
    Field("learning_rate", "number", "Learning rate.", 0.0004),
    Field("batch_size", "integer", "Pictures for each step.", 1),
    Field("resolution", "string", "Picture sizes to train at, separated by commas.", "512,768,1024"),
    Field("lora_rank", "integer", "Rank of the LoRA.", 16, 1, 128),
    Field("caption_dropout_rate", "number", "Share of steps that ignore the caption.", 0.05, 0, 1),
    Field("optimizer", "string", "Optimizer.", "adamw8bit"),
    Field("cache_latents_to_disk", "boolean", "Keep latents on disk to save memory.", False),
    Field("layers_to_optimize_regex", "string", "Train only the layers whose names match."),
    Field("gradient_checkpointing", "boolean", "Trade speed for memory.", False),
    Field("hf_repo_id", "string", "Hugging Face repository to upload to."),
    Field("hf_token", "string", "Hugging Face token.", secret=True),
    Field("wandb_api_key", "string", "Weights & Biases key.", secret=True),
    Field("wandb_project", "string", "Weights & Biases project.", "flux_train_replicate"),
    Field("wandb_run", "string", "Weights & Biases run."),
    Field("wandb_entity", "string", "Weights & Biases entity."),
    Field("wandb_sample_interval", "integer", "Steps between logged samples.", 100, 1),
    Field("wandb_sample_prompts", "string", "Prompts of logged samples, one on each line."),
    Field("wandb_save_interval", "integer", "Steps between logged weights.", 100, 1),
    Field("skip_training_and_use_pretrained_hf_lora_url", "string", "Use these weights instead of training."),
)

PREDICTION_FIELDS = (
    Field("prompt", "string", "What to show; include the trigger word.", required=True),
    Field("image", "string", "Picture to start from; its size decides the output's.", url=True),
    Field("mask", "string", "Where to repaint the picture: white is repainted.", url=True),
    Field("aspect_ratio", "string", "Shape of the picture.", "1:1", choices=(*ASPECTS, "custom")),
    Field("height", "integer", "Height for a custom aspect ratio, rounded to 16.", least=256, most=1440),
    Field("width", "integer", "Width for a custom aspect ratio, rounded to 16.", least=256, most=1440),
    Field("prompt_strength", "number", "How far to leave the given picture.", 0.8, 0, 1),
    Field("model", "string", "Base model.", "dev", choices=("dev", "schnell")),
    Field("num_outputs", "integer", "Number of pictures.", 1, 1, 4),
    Field("num_inference_steps", "integer", "Denoising steps.", 28, 1, 50),
    Field("guidance_scale", "number", "How closely to follow the prompt.", 3, 0, 10),
    Field("seed", "integer", "Seed; random if absent."),
    Field("output_format", "string", "File format.", "webp", choices=("webp", "jpg", "png")),
    Field("output_quality", "integer", "Quality of lossy formats.", 80, 0, 100),
    Field("disable_safety_checker", "boolean", "Switch the safety check off.", False),
    Field("go_fast", "boolean", "Run in fp8.", False),
    Field("megapixels", "string", "Approximate size.", "1", choices=("1", "0.25")),
    Field("replicate_weights", "string", "Weights to use instead of the version's own."),
    Field("lora_scale", "number", "Strength of the trained LoRA.", 1, -1, 3),
    Field("extra_lora", "string", "A second LoRA."),
    Field("extra_lora_scale", "number", "Strength of the second LoRA.", 1, -1, 3),
)


def trainer_document() -> dict[str, Any]:
    """`openapi_schema` of the trainer's version: it can train, and predict without training."""
    return _document({"Input": PREDICTION_FIELDS, "TrainingInput": TRAINING_FIELDS})


def trained_document() -> dict[str, Any]:
    """`openapi_schema` of a version that a training made."""
    return _document({"Input": PREDICTION_FIELDS})


def check(fields: tuple[Field, ...], given: Mapping[str, Any]) -> list[InvalidField]:
    """What is wrong with an input object; empty where nothing is."""
    known = {field.name: field for field in fields}
    wrong = [
        InvalidField("required", f"input.{field.name}", f"{field.name} is required")
        for field in fields
        if field.required and field.name not in given
    ]
    for name, value in given.items():
        if name not in known:
            about = f"Additional property {name} is not allowed"
            wrong.append(InvalidField("additional_property_not_allowed", f"input.{name}", about))
        elif value is not None or not _nullable(known[name]):
            wrong.extend(_check_value(known[name], value))
    return wrong


def complete(fields: tuple[Field, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with every absent input at its default."""
    return {
        field.name: field.default if given.get(field.name) is None else given[field.name] for field in fields
    }


def redact(fields: tuple[Field, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` as it may be stored and shown: secrets are masked."""
    secret = {field.name for field in fields if field.secret}
    return {name: "[REDACTED]" if name in secret and value else value for name, value in given.items()}


def _nullable(field: Field) -> bool:
    return field.default is None and not field.required


def _check_value(field: Field, value: Any) -> list[InvalidField]:
    where = f"input.{field.name}"
    whole = isinstance(value, float) and value.is_integer() and field.type == "integer"
    fits = isinstance(value, _TYPES[field.type]) and (field.type == "boolean" or not isinstance(value, bool))
    if not (fits or whole):
        return [
            InvalidField(
                "invalid_type", where, f"Invalid type. Expected: {field.type}, given: {_name(value)}"
            )
        ]
    if field.choices and value not in field.choices:
        allowed = ", ".join(f'"{choice}"' for choice in field.choices)
        return [InvalidField("enum", where, f"{where} must be one of the following: {allowed}")]
    if field.least is not None and value < field.least:
        return [InvalidField("number_gte", where, f"Must be greater than or equal to {field.least:g}")]
    if field.most is not None and value > field.most:
        return [InvalidField("number_lte", where, f"Must be less than or equal to {field.most:g}")]
    return _check_url(where, str(value)) if field.url else []


def _check_url(where: str, value: str) -> list[InvalidField]:
    try:
        scheme = urlsplit(value).scheme
    except ValueError:
        scheme = ""
    if scheme not in {"http", "https", "data"}:
        return [InvalidField("format", where, "Does not match format 'uri'")]
    if scheme != "data" and not is_loopback_url(value):
        about = "the sandbox fetches inputs from this machine only (a loopback address) or from a data URL"
        return [InvalidField("format", where, about)]
    return []


def _name(value: Any) -> str:
    """The JSON name of a value's type."""
    for kind, name in _JSON_NAMES:
        if isinstance(value, kind):
            return name
    return "null"


def _document(parts: Mapping[str, tuple[Field, ...]]) -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for title, fields in parts.items():
        schemas[title] = _input_schema(title, fields)
        for field in fields:
            if field.choices:
                schemas[field.name] = _enumeration(field)
    schemas["Output"] = {"type": "array", "title": "Output", "items": {"type": "string", "format": "uri"}}
    schemas["Status"] = {
        "enum": ["starting", "processing", "succeeded", "canceled", "failed"],
        "type": "string",
        "title": "Status",
    }
    paths = {"/predictions": _path("predict", "Input", "Output")}
    if "TrainingInput" in parts:
        schemas["TrainingOutput"] = {
            "type": "object",
            "title": "TrainingOutput",
            "required": ["weights"],
            "properties": {"weights": {"type": "string", "title": "Weights", "format": "uri"}},
        }
        paths["/trainings"] = _path("train", "TrainingInput", "TrainingOutput")
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _input_schema(title: str, fields: tuple[Field, ...]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "title": title,
        "properties": {field.name: _property(field, order) for order, field in enumerate(fields)},
    }
    required = [field.name for field in fields if field.required]
    return schema | ({"required": required} if required else {})


def _property(field: Field, order: int) -> dict[str, Any]:
    about: dict[str, Any] = {"x-order": order, "description": field.about}
    if field.choices:
        about["allOf"] = [{"$ref": f"#/components/schemas/{field.name}"}]
    else:
        about |= {"type": field.type, "title": field.name.replace("_", " ").title()}
    limits = {"default": field.default, "minimum": field.least, "maximum": field.most}
    about |= {name: value for name, value in limits.items() if value is not None}
    if field.url:
        about["format"] = "uri"
    if field.secret:
        about |= {"format": "password", "writeOnly": True, "x-cog-secret": True}
    if _nullable(field):
        about["nullable"] = True
    return about


def _enumeration(field: Field) -> dict[str, Any]:
    return {"enum": list(field.choices), "type": field.type, "title": field.name, "description": field.about}


def _path(operation: str, takes: str, gives: str) -> dict[str, Any]:
    def content(name: str) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}

    answers = {"200": {"description": "Success"} | content(gives)}
    return {"post": {"operationId": operation, "requestBody": content(takes), "responses": answers}}
