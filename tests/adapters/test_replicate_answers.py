"""Replicate's answers, in the ports' words."""

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiona.adapters.replicate.answers import (
    Job,
    UnusableAnswerError,
    read_input_schema,
    read_prediction,
    read_training,
    state_of,
)
from visiona.ports.remote import PredictionReport, RemoteState, TrainingReport

HASH = "ab" * 32
PREDICTION: dict[str, Any] = {
    "id": "gm3qorzdhgbfurvjtvhg6dckhu",
    "model": "visiona/visiona-00",
    "version": HASH,
    "input": {"prompt": "a wizard"},
    "output": ["https://replicate.delivery/xezq/out-0.webp", "https://a.replicate.delivery/out-1.webp"],
    "data_removed": False,
    "error": None,
    "status": "succeeded",
    "created_at": "2026-09-08T16:19:34.765994Z",
    "started_at": "2026-09-08T16:19:34.779176Z",
    "completed_at": "2026-09-08T16:19:39.791859Z",
    "urls": {"get": "https://api.replicate.com/v1/predictions/gm3q"},
    "logs": None,
    "metrics": {"predict_time": 5, "total_time": 5.2, "image_count": 2},
    "something_new": {"deep": [1, 2, 3]},
}
TRAINING: dict[str, Any] = PREDICTION | {
    "input": {"input_images": "https://api.replicate.com/v1/files/abc"},
    "output": {
        "version": f"visiona/visiona-00:{HASH}",
        "weights": "https://replicate.delivery/xezq/trained_model.tar",
    },
    "logs": "flux_train_replicate: 100%|##########| 1000/1000 [26:00<00:00]",
    "metrics": {"predict_time": 1674.25},
}


def body(job: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(job | changes).encode()


def test_a_prediction_that_succeeded() -> None:
    assert read_prediction(body(PREDICTION)) == PredictionReport(
        id="gm3qorzdhgbfurvjtvhg6dckhu",
        state=RemoteState.SUCCEEDED,
        progress=1.0,
        outputs=tuple(PREDICTION["output"]),
        completed_at=datetime(2026, 9, 8, 16, 19, 39, 791859, tzinfo=UTC),
        predict_seconds=5.0,
    )


def test_a_training_that_succeeded() -> None:
    assert read_training(body(TRAINING)) == TrainingReport(
        id="gm3qorzdhgbfurvjtvhg6dckhu",
        state=RemoteState.SUCCEEDED,
        progress=1.0,
        version=f"visiona/visiona-00:{HASH}",
        predict_seconds=1674.25,
    )


def test_the_least_that_an_answer_may_say() -> None:
    least = {"id": "abc", "status": "starting"}

    assert read_training(body(least)) == TrainingReport("abc", RemoteState.STARTING)
    assert read_prediction(body(least)) == PredictionReport("abc", RemoteState.STARTING)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("starting", RemoteState.STARTING),
        ("processing", RemoteState.PROCESSING),
        ("succeeded", RemoteState.SUCCEEDED),
        ("failed", RemoteState.FAILED),
        ("canceled", RemoteState.CANCELED),
        ("aborted", RemoteState.CANCELED),
        ("Succeeded", RemoteState.PROCESSING),
        ("", RemoteState.PROCESSING),
    ],
)
def test_statuses(status: str, state: RemoteState) -> None:
    assert read_training(body(TRAINING, status=status)).state is state
    assert read_prediction(body(PREDICTION, status=status)).state is state


def test_an_unknown_status_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        states = {state_of("pondering") for _ in range(3)}

    assert states == {RemoteState.PROCESSING}
    assert caplog.text.count("pondering") == 1


@pytest.mark.parametrize(
    ("logs", "progress"),
    [
        (None, 0.0),
        ("", 0.0),
        ("Using seed: 42\n", 0.0),
        ("  0%|          | 0/28 [00:00<?, ?it/s]", 0.0),
        (" 50%|#####     | 14/28 [00:03<00:03,  4.2it/s]", 0.5),
        ("flux_train_replicate:  25%|##5       | 250/1000 [06:00<18:00,  1.4s/it, lr: 4.0e-04]", 0.25),
        (" 50%|█████     | 14/28 [..]\r 75%|███████▌  | 21/28 [..]\nsaving\n", 0.75),
        ("100%|##########| 12/12 [captions]\n  1%|1         | 10/1000 [steps]", 0.01),
        ("model.safetensors:  10%|# | 1.2G/12.0G [00:10<01:40]", 0.0),
        ("  0%|          | 0/0 [00:00<?]", 0.0),
        ("120%|##########| 12/10 [00:00<?]", 1.0),
        (" 50%|#####     | 14/28 [..]" + "x" * 10_000, 0.5),
        (" 50%|#####     | 14/" + "9" * 5000, 0.0),
    ],
)
def test_progress_is_read_from_the_last_bar(logs: str | None, progress: float) -> None:
    running = {"status": "processing", "output": None, "logs": logs}

    assert read_training(body(TRAINING, **running)).progress == progress
    assert read_prediction(body(PREDICTION, **running)).progress == progress


@pytest.mark.parametrize(
    ("output", "outputs"),
    [
        (None, ()),
        ([], ()),
        ("https://replicate.delivery/a", ("https://replicate.delivery/a",)),
        (["data:image/webp;base64,AAAA"], ("data:image/webp;base64,AAAA",)),
    ],
)
def test_outputs_in_every_form(output: Any, outputs: Sequence[str]) -> None:
    assert read_prediction(body(PREDICTION, output=output)).outputs == outputs


def test_outputs_that_were_removed_are_said_to_be_gone() -> None:
    report = read_prediction(body(PREDICTION, output=None, data_removed=True))

    assert report.outputs_gone
    assert report.outputs == ()


def test_a_failure_carries_its_text() -> None:
    text = "All generated images contained NSFW content."

    report = read_prediction(body(PREDICTION, status="failed", output=None, error=text))

    assert (report.state, report.error) == (RemoteState.FAILED, text)


def test_a_training_that_was_canceled_has_no_version() -> None:
    assert read_training(body(TRAINING, status="canceled")).version is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-09-08T16:19:39Z", datetime(2026, 9, 8, 16, 19, 39, tzinfo=UTC)),
        ("2026-09-08T16:19:39.5", datetime(2026, 9, 8, 16, 19, 39, 500_000, tzinfo=UTC)),
        ("2026-09-08T18:19:39+02:00", datetime(2026, 9, 8, 16, 19, 39, tzinfo=UTC)),
        ("", None),
        (None, None),
    ],
)
def test_times(text: str | None, moment: datetime | None) -> None:
    completed = read_prediction(body(PREDICTION, completed_at=text)).completed_at

    assert completed == moment


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": 7},
        {"id": ""},
        {"id": "a/b"},
        {"id": ".."},
        {"id": "a" * 129},
        {"status": None},
        {"status": ["succeeded"]},
        {"error": {"code": 1}},
        {"logs": ["a"]},
        {"metrics": "fast"},
        {"metrics": {"predict_time": "5"}},
        {"data_removed": "no"},
        {"output": 5},
        {"output": {"version": "latest"}},
        {"output": {"version": f"../x:{HASH}"}},
        {"output": {"version": HASH}},
        {"output": {"version": f"visiona/visiona-00:{HASH}/trainings"}},
        {"output": [1]},
        {"input": []},
    ],
)
def test_wrong_types_make_an_answer_unusable(changes: dict[str, Any]) -> None:
    for read, job in ((read_training, TRAINING), (read_prediction, PREDICTION)):
        with pytest.raises(UnusableAnswerError) as caught:
            read(body(job, **changes))
        assert "wizard" not in str(caught.value)


@pytest.mark.parametrize("completed_at", ["yesterday", "2026-13-01T00:00:00Z"])
def test_a_time_that_is_none_makes_an_answer_unusable(completed_at: str) -> None:
    with pytest.raises(UnusableAnswerError):
        read_prediction(body(PREDICTION, completed_at=completed_at))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(changes=st.dictionaries(st.sampled_from(Job.__struct_fields__), JSON, max_size=4))
def test_any_json_is_read_or_refused_as_unusable(changes: dict[str, Any]) -> None:
    for read, job in ((read_training, TRAINING), (read_prediction, PREDICTION)):
        try:
            report = read(body(job, **changes))
        except UnusableAnswerError:
            continue
        assert report.id
        assert 0.0 <= report.progress <= 1.0


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_unusable(content: bytes) -> None:
    for read in (read_training, read_prediction, read_input_schema):
        with pytest.raises(UnusableAnswerError):
            read(content)


def test_the_schemas_of_a_version() -> None:
    schemas = {"Input": {"type": "object", "properties": {"prompt": {"type": "string"}}}, "Output": {}}

    assert read_input_schema(body({"openapi_schema": {"components": {"schemas": schemas}}})) == schemas


@pytest.mark.parametrize(
    "document", [None, {}, {"components": None}, {"components": {}}, {"components": {"schemas": []}}, []]
)
def test_a_version_without_schemas_is_unusable(document: Any) -> None:
    with pytest.raises(UnusableAnswerError):
        read_input_schema(body({"openapi_schema": document}))
