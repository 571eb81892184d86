"""What the sandbox can be told to do wrong.

`POST /_sandbox/faults` takes one fault or a list of them as JSON; they are used up in order. `GET`
shows those that are left, `DELETE` removes all. Every fault has a `kind` and may have `times`: how
often it strikes (1 unless given, `null` for ever).

Faults of answers strike requests whose method and path match `method` (default `POST`) and `path` (a
glob, default `/v1/*`). With `when: "after"` the request takes effect first: the dangerous case.

| kind | what happens | parameters |
|---|---|---|
| `rate_limit` | 429 | `retry_after` (absent: not in the body), `header` (bool: also as `Retry-After`) |
| `http_error` | a 5xx problem document | `status` (500), `when` (`before`), `text` |
| `refuse` | this answer instead | `status` (402), `body` (the document; 402 without it) |
| `html` | a proxy's HTML page | `status` (502), `when` (`after`) |
| `truncated_json` | the real answer, cut in half | |
| `slow` | the real answer, late | `seconds` (10), `when` (`before`) |

Faults of jobs strike the next trainings or predictions to be created.

| kind | what happens | parameters |
|---|---|---|
| `fail_training`, `fail_prediction` | ends as `failed` | `text` |
| `abort` | ends as `aborted` before it starts | `target` |
| `unknown_status` | a status nobody has heard of | `target`, `status_name`, `final` (bool: it ends so) |
| `cold_start` | stays in `starting` for long | `target`, `seconds` |
| `nsfw` | the safety check drops pictures; all: the prediction fails | `drop` |
| `training_urls_under_predictions` | `urls` of a training name `/v1/predictions/...` | |
| `inline_outputs` | outputs as `data:` URLs | |

Faults of webhooks strike the next deliveries, or with `events` only those of these events.

| kind | what happens | parameters |
|---|---|---|
| `drop_webhooks` | never sent, not even tried again | `events` |
| `duplicate_webhooks` | sent `copies` more times with the same id | `copies` (1), `events` |
| `reorder_webhooks` | one that is not the last is sent after the last | |
| `delay_webhooks` | sent late | `seconds`, `events` |
| `stale_webhooks` | signed with a timestamp `seconds` in the past | `seconds` (600), `events` |
| `forge_webhooks` | signed with another key | `events` |

| kind | what happens at once | parameters |
|---|---|---|
| `duplicate_model` | from now on POST of a model that exists answers `status` | `status` (409 or 422) |
| `expire_outputs` | the data of finished predictions is removed | `id` (one prediction only) |
| `rotate_webhook_secret` | from now on signs with `secret`, which GET shows too | `secret` |
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from visiona.sandbox.replicate.records import JobKind, Script

AnswerKind = Literal["rate_limit", "http_error", "refuse", "html", "truncated_json", "slow"]
JobFaultKind = Literal[
    "fail_training",
    "fail_prediction",
    "abort",
    "unknown_status",
    "cold_start",
    "nsfw",
    "training_urls_under_predictions",
    "inline_outputs",
]
WebhookKind = Literal[
    "drop_webhooks",
    "duplicate_webhooks",
    "reorder_webhooks",
    "delay_webhooks",
    "stale_webhooks",
    "forge_webhooks",
]
ActionKind = Literal["duplicate_model", "expire_outputs", "rotate_webhook_secret"]

_ANSWER_KINDS = frozenset({"rate_limit", "http_error", "refuse", "html", "truncated_json", "slow"})


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One thing to go wrong; the module's docstring says which parameters mean what."""

    kind: AnswerKind | JobFaultKind | WebhookKind | ActionKind
    times: int | None = 1
    method: str = "POST"
    path: str = "/v1/*"
    when: Literal["before", "after"] | None = None
    status: int | None = None
    retry_after: int | None = None
    header: bool = False
    body: dict[str, Any] | None = None
    text: str = "the sandbox was told to fail"
    seconds: float | None = None
    target: JobKind | None = None
    status_name: str = "queued"
    final: bool = False
    drop: int = 1
    events: list[str] | None = None
    copies: int = 1
    id: str | None = None
    secret: str | None = None


class FaultBook:
    """Faults that wait to strike, in the order in which they were given."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, faults: Iterable[Fault]) -> None:
        self.waiting.extend(faults)

    def clear(self) -> None:
        self.waiting.clear()

    def for_request(self, method: str, path: str) -> Fault | None:
        for fault in self.waiting:
            if (
                fault.kind in _ANSWER_KINDS
                and fault.method in {method, "*"}
                and fnmatchcase(path, fault.path)
            ):
                return self._strike(fault)
        return None

    def for_webhook(self, event: str) -> list[Fault]:
        """Every webhook fault that strikes this delivery: at most one of each kind."""
        struck: dict[str, Fault] = {}
        for fault in list(self.waiting):
            last = event == "completed"
            fits = fault.kind.endswith("_webhooks") and (fault.events is None or event in fault.events)
            if fits and fault.kind not in struck and not (fault.kind == "reorder_webhooks" and last):
                struck[fault.kind] = self._strike(fault)
        return list(struck.values())

    def script(self, kind: JobKind) -> Script:
        """What happens to a job of this kind that is created now."""
        script = Script()
        if fault := self._take(f"fail_{kind}"):
            script.fail = fault.text
        if self._take("abort", kind):
            script.final_status = "aborted"
        if fault := self._take("unknown_status", kind):
            script.running_status = fault.status_name
            script.final_status = fault.status_name if fault.final else script.final_status
        if fault := self._take("cold_start", kind):
            script.cold_start = fault.seconds or 60.0
        if kind == "prediction":
            if fault := self._take("nsfw"):
                script.refuse_images = fault.drop
            script.inline_outputs = self._take("inline_outputs") is not None
        else:
            script.urls_under_predictions = self._take("training_urls_under_predictions") is not None
        return script

    def _take(self, kind: str, target: JobKind | None = None) -> Fault | None:
        for fault in self.waiting:
            if fault.kind == kind and (target is None or fault.target in {None, target}):
                return self._strike(fault)
        return None

    def _strike(self, fault: Fault) -> Fault:
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.waiting.remove(fault)
        return fault
