"""Failures are told to Sentry, off unless a DSN is set: what failed and where, and nothing of what about.

An event is made anew from the few fields that hold code of ours, not stripped of those that are known to
hold something else: messages of exceptions quote rows, requests and addresses, and so may any field that the
next release of the SDK adds.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from visiona.core.origin import current_origin

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

_OWN_LOGGERS: Final = "visiona"
_NAME: Final = re.compile(r"[\w.<>:-]{1,200}")
_KEPT: Final = ("event_id", "timestamp", "platform", "level", "release", "environment", "sdk")
_FRAME: Final = ("module", "function", "filename", "lineno", "in_app")


def report_failures(dsn: str, *, release: str, environment: str) -> None:
    """From now on, what is logged as an error in this process and what ends it is sent to the project of
    this DSN, in a thread of the SDK's. Raises `ValueError`, which repeats nothing, for no DSN.
    """
    import sentry_sdk  # noqa: PLC0415 - off unless wanted
    from sentry_sdk.integrations.atexit import AtexitIntegration  # noqa: PLC0415 - see above
    from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415 - see above
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration  # noqa: PLC0415 - see above
    from sentry_sdk.integrations.logging import LoggingIntegration  # noqa: PLC0415 - see above
    from sentry_sdk.integrations.threading import ThreadingIntegration  # noqa: PLC0415 - see above
    from sentry_sdk.transport import HttpTransport  # noqa: PLC0415 - see above
    from sentry_sdk.utils import BadDsn  # noqa: PLC0415 - see above

    class DirectTransport(HttpTransport):
        """Follows no redirects: what is sent is for the host of the DSN."""

        def _request(self, method: str, endpoint_type: Any, body: Any, headers: Mapping[str, str]) -> Any:
            url = self._auth.get_api_url(endpoint_type)
            return self._pool.request(method, url, body=body, headers=headers, redirect=False, retries=False)

    try:
        sentry_sdk.init(
            dsn=dsn,
            release=release,
            environment=environment,
            transport=DirectTransport,
            before_send=_as_told,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[
                LoggingIntegration(level=None, sentry_logs_level=None),
                ExcepthookIntegration(),
                ThreadingIntegration(propagate_scope=False),
                DedupeIntegration(),
                AtexitIntegration(callback=_end_quietly),
            ],
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            server_name="",
            propagate_traces=False,
            trace_propagation_targets=[],
            auto_session_tracking=False,
            send_client_reports=False,
            enable_metrics=False,
        )
    except BadDsn:
        raise ValueError("a DSN looks like https://<key>@<host>/<project>") from None


def _end_quietly(_pending: int, _timeout: float) -> None:
    """What is left is sent without a word on standard error."""


def _as_told(event: "Event", _hint: "Hint") -> "Event | None":
    """What is sent of an event."""
    given = cast("Mapping[str, Any]", event)
    told: dict[str, Any] = {name: given[name] for name in _KEPT if name in given}
    logger = str(given.get("logger") or "")
    if _NAME.fullmatch(logger):
        told["logger"] = logger
    if logger.partition(".")[0] == _OWN_LOGGERS:
        # The template as it stands in the source. Libraries put values into theirs before they log.
        told["logentry"] = {"message": _inside(given, "logentry").get("message")}
    raised = cast("Sequence[Mapping[str, Any]]", _inside(given, "exception").get("values") or ())
    if raised:
        told["exception"] = {"values": [_exception(each) for each in raised]}
    origin = current_origin()
    if origin is not None:
        told["tags"] = {"request_id": origin.request_id}
    return cast("Event", told)


def _exception(raised: Mapping[str, Any]) -> dict[str, Any]:
    frames = cast("Sequence[Mapping[str, Any]]", _inside(raised, "stacktrace").get("frames") or ())
    return {
        "type": raised.get("type"),
        "module": raised.get("module"),
        "stacktrace": {
            "frames": [{name: frame[name] for name in _FRAME if name in frame} for frame in frames]
        },
    }


def _inside(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", holder.get(name) or {})
