"""Replicate's answers, read into the ports' own types.

Fields that are not needed are ignored, since the contract moves without notice; a field that is
needed and has the wrong type makes the whole answer unusable.
"""

import functools
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec

from visiona.ports.remote import PredictionReport, RemoteState, TrainingReport
from visiona.ports.trainer import UploadedArchive

T = TypeVar("T")

_log = logging.getLogger(__name__)

_STATES = {
    "starting": RemoteState.STARTING,
    "processing": RemoteState.PROCESSING,
    "succeeded": RemoteState.SUCCEEDED,
    "failed": RemoteState.FAILED,
    "canceled": RemoteState.CANCELED,
    "aborted": RemoteState.CANCELED,  # a deadline passed before the work began
}
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_VERSION = re.compile(r"(?P<owner>\w[\w.-]*)/(?P<name>\w[\w.-]*):(?P<hash>[0-9a-f]{64})", re.ASCII)
_TQDM = re.compile(r"\d{1,3}%\|[^|\r\n]*\|\s*(?P<done>\d{1,9})/(?P<total>\d{1,9})\b")
_LOG_TAIL = 16_384
_HTTP_URL = re.compile(r"https?://[!-~]{1,8192}")


def _require_id(text: str) -> None:
    """For use while decoding, where a `ValueError` makes the answer unusable."""
    if not usable_id(text):
        raise ValueError("not an id")


class UnusableAnswerError(Exception):
    """The body is not what the contract says it is. The text holds nothing of the body."""


class Metrics(msgspec.Struct):
    predict_time: float | None = None


class Job(msgspec.Struct):
    """A training or a prediction; both look alike but for `output`."""

    id: str
    status: str
    version: str | None = None
    input: dict[str, Any] | None = None
    output: Any = None
    error: str | None = None
    logs: str | None = None
    data_removed: bool | None = None
    created_at: str | None = None
    completed_at: str | None = None
    metrics: Metrics | None = None

    def __post_init__(self) -> None:
        _require_id(self.id)


class ListedJob(msgspec.Struct):
    """As little of a job as finding one's own takes: an oddity in somebody else's must not hide it."""

    id: str
    created_at: str
    version: str | None = None
    input: Any = None
    webhook: Any = None
    data_removed: Any = None

    def __post_init__(self) -> None:
        _require_id(self.id)


class Page(msgspec.Struct):
    results: list[ListedJob]
    next: str | None = None


class Account(msgspec.Struct):
    username: str


class Model(msgspec.Struct):
    owner: str
    name: str
    visibility: str


class Version(msgspec.Struct):
    openapi_schema: dict[str, Any] | None = None


class SigningSecret(msgspec.Struct):
    key: str


class FileLinks(msgspec.Struct):
    get: str


class StoredFile(msgspec.Struct):
    id: str
    urls: FileLinks


def decode(body: bytes, form: type[T]) -> T:
    """Raises `UnusableAnswerError` where `body` is not JSON of this form."""
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # Without the cause: a decoding error may quote the body.
        raise UnusableAnswerError(f"not a {form.__name__}: {type(error).__name__}") from None


def usable_id(text: str) -> bool:
    """Whether `text` can be an id, and so may be put into a path."""
    return _ID.fullmatch(text) is not None


def usable_name(text: str) -> bool:
    """Whether `text` can name an account or a model, and so may be put into a path."""
    return _NAME.fullmatch(text) is not None


def version_parts(text: str) -> tuple[str, str, str] | None:
    """Owner, model and hash of `owner/name:hash`; None where it is something else."""
    match = _VERSION.fullmatch(text)
    return (match["owner"], match["name"], match["hash"]) if match else None


def version_hash(text: str) -> str:
    """The part of a version that predictions name it by."""
    return text.rpartition(":")[2]


def input_of(job: ListedJob) -> dict[str, Any]:
    return cast("dict[str, Any]", job.input) if isinstance(job.input, dict) else {}


def read_job(body: bytes) -> Job:
    return decode(body, Job)


def read_page(body: bytes) -> Page:
    return decode(body, Page)


def read_username(body: bytes) -> str:
    username = decode(body, Account).username
    if not usable_name(username):
        raise UnusableAnswerError("an account without a usable name")
    return username


def read_model(body: bytes) -> Model:
    return decode(body, Model)


def read_presence(_body: bytes) -> None:
    """Of what was asked for only to see whether it is there."""


def read_signing_secret(body: bytes) -> str:
    return decode(body, SigningSecret).key


def read_archive(body: bytes) -> UploadedArchive:
    file = decode(body, StoredFile)
    if not usable_id(file.id) or not _HTTP_URL.fullmatch(file.urls.get):
        raise UnusableAnswerError("an uploaded file without a usable id and URL")
    return UploadedArchive(file.id, file.urls.get)


def read_input_schema(body: bytes) -> dict[str, Any]:
    """The `components.schemas` of a version's OpenAPI document."""
    document = decode(body, Version).openapi_schema or {}
    components = document.get("components")
    schemas = cast("dict[str, Any]", components).get("schemas") if isinstance(components, dict) else None
    inputs = cast("dict[str, Any]", schemas).get("Input") if isinstance(schemas, dict) else None
    properties = cast("dict[str, Any]", inputs).get("properties") if isinstance(inputs, dict) else None
    if not isinstance(properties, dict):
        raise UnusableAnswerError("a version without a schema of its inputs")
    return cast("dict[str, Any]", schemas)


def read_training(body: bytes) -> TrainingReport:
    return training_report(read_job(body))


def read_prediction(body: bytes) -> PredictionReport:
    return prediction_report(read_job(body))


def training_report(job: Job) -> TrainingReport:
    state = state_of(job.status)
    return TrainingReport(
        id=job.id,
        state=state,
        progress=_progress(state, job.logs),
        error=job.error,
        version=_trained_version(job.output) if state is RemoteState.SUCCEEDED else None,
        predict_seconds=job.metrics.predict_time if job.metrics else None,
    )


def prediction_report(job: Job) -> PredictionReport:
    state = state_of(job.status)
    return PredictionReport(
        id=job.id,
        state=state,
        progress=_progress(state, job.logs),
        error=job.error,
        outputs=_outputs(job.output),
        outputs_gone=bool(job.data_removed),
        completed_at=instant(job.completed_at) if job.completed_at else None,
        predict_seconds=job.metrics.predict_time if job.metrics else None,
    )


def is_training(job: Job) -> bool:
    """Told from the shape, since trainings are served as predictions in places."""
    by_input = "input_images" in (job.input or {})
    return by_input or (isinstance(job.output, dict) and "weights" in job.output)


def state_of(status: str) -> RemoteState:
    """Ours for Replicate's. A status added since is taken for work in progress: the job is looked
    at again, and nothing is settled on a guess.
    """
    state = _STATES.get(status)
    if state is None:
        _report_unknown(status[:40])
        return RemoteState.PROCESSING
    return state


@functools.lru_cache(maxsize=64)
def _report_unknown(status: str) -> None:
    """Once per status, not once per look at a job."""
    _log.warning("replicate: unknown status %r, taken for processing", status)


def next_page(page: Page) -> dict[str, str] | None:
    """The query of the next page, None after the last. Only the query is taken from the answer's
    URL: the token is not sent to wherever an answer points.
    """
    if page.next is None:
        return None
    try:
        query = dict(parse_qsl(urlsplit(page.next).query))
    except ValueError:
        query = {}
    if not query:
        raise UnusableAnswerError("a next page without a cursor")
    return query


def instant(text: str | None) -> datetime:
    """A time of Replicate's, which are in UTC where they do not say."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        raise UnusableAnswerError("not a time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _progress(state: RemoteState, logs: str | None) -> float:
    """0..1 from the last progress bar in the logs: there is no field for it."""
    if state is RemoteState.SUCCEEDED:
        return 1.0
    bars = list(_TQDM.finditer((logs or "")[-_LOG_TAIL:]))
    if not bars or int(bars[-1]["total"]) == 0:
        return 0.0
    return min(1.0, int(bars[-1]["done"]) / int(bars[-1]["total"]))


def _trained_version(output: Any) -> str:
    version = cast("dict[str, Any]", output).get("version") if isinstance(output, dict) else None
    if not isinstance(version, str) or version_parts(version) is None:
        raise UnusableAnswerError("a training that succeeded without a version")
    return version


def _outputs(output: Any) -> tuple[str, ...]:
    if output is None:
        return ()
    urls = [output] if isinstance(output, str) else output
    if not isinstance(urls, Sequence) or not all(isinstance(url, str) for url in cast("Sequence[Any]", urls)):
        raise UnusableAnswerError("outputs that are not URLs")
    return tuple(cast("Sequence[str]", urls))
