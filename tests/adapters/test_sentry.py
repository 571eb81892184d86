"""What Sentry is told of a failure: where it was, and no word of what it was about."""

import os
import subprocess
import sys

import pytest
from tests.factories.canaries import Watch, canary
from tests.factories.sentry import listening

from visiona.adapters.sentry import report_failures

CANARIES = {
    name: canary(name)
    for name in (
        "message",
        "argument",
        "local",
        "extra",
        "cause",
        "library",
        "thread",
        "environment",
        "command",
    )
}

# Fails in every way that is noticed, with words wherever there is room.
FAILING = """
import logging, os, sys, threading
from visiona.adapters.sentry import report_failures
from visiona.core.origin import Origin, coming_from

report_failures(os.environ["DSN"], release="visiona@1", environment="production")
words = dict(item.split("=") for item in os.environ["WORDS"].split(","))

def fail(prompt):
    wish = {"password": prompt}
    try:
        raise KeyError(words["cause"])
    except KeyError as error:
        raise RuntimeError(f"cannot make {words['message']}") from error

ours, theirs = logging.getLogger("visiona.generations.service"), logging.getLogger("library")
ours.info("%s", words["argument"])
with coming_from(Origin(request_id="request-1", via="visitor")):
    try:
        fail(words["local"])
    except RuntimeError as error:
        ours.error("a run failed: %s", words["argument"], exc_info=error, extra={"seen": words["extra"]})
theirs.error("cannot read " + words["library"])
thread = threading.Thread(target=lambda: fail(words["thread"]), name=words["thread"])
thread.start()
thread.join()
fail(words["local"])
"""


def test_what_is_told() -> None:
    words = ",".join(f"{name}={word}" for name, word in CANARIES.items())
    with listening() as sink:
        environment = {**os.environ, "DSN": sink.dsn, "WORDS": words, "SECRET": CANARIES["environment"]}
        ended = subprocess.run(
            [sys.executable, "-c", FAILING, CANARIES["command"]],
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert b"sentry" not in ended.stderr.lower().replace(b"adapters.sentry", b"").replace(b"sentry_sdk", b"")
    events = sink.events()
    watch = Watch(CANARIES)
    assert watch.found(ended.stderr) != set(), "the words were said"
    assert [watch.found(body) for body in sink.bodies] == [set()] * 4
    by_logger = {event.get("logger"): event for event in events[:2]}
    ours = by_logger["visiona.generations.service"]
    assert ours["logentry"] == {"message": "a run failed: %s"}
    assert ours["tags"] == {"request_id": "request-1"}
    assert [each["type"] for each in ours["exception"]["values"]] == ["KeyError", "RuntimeError"]
    frames = ours["exception"]["values"][1]["stacktrace"]["frames"]
    assert [frame["function"] for frame in frames] == ["<module>", "fail"]
    assert all(frame["lineno"] > 0 and "vars" not in frame for frame in frames)
    assert "logentry" not in by_logger["library"]
    assert [event["exception"]["values"][-1]["type"] for event in events[2:]] == ["RuntimeError"] * 2
    allowed = {
        "event_id", "timestamp", "platform", "level", "release", "environment", "sdk", "logger", "logentry",
        "exception", "tags",
    }  # fmt: skip
    assert {name for event in events for name in event} <= allowed


def test_redirects_are_not_followed() -> None:
    program = FAILING.replace(
        'os.environ["WORDS"].split(",")', "[f'{n}=x' for n in " + repr([*CANARIES]) + "]"
    )
    with listening() as sink:
        sink.redirects = True
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "DSN": sink.dsn},
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert (sink.bodies, sink.elsewhere) == ([], [])


@pytest.mark.parametrize("dsn", ["here", "https://sentry.example/1", "ftp://secretkey@sentry.example/1"])
def test_what_is_no_dsn(dsn: str) -> None:
    with pytest.raises(ValueError, match="a DSN looks like") as caught:
        report_failures(dsn, release="1", environment="production")
    assert dsn not in str(caught.value)
