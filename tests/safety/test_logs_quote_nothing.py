"""What a failure repeats of what it failed at is in no line of the log; what failed, and where, is."""

import asyncio
import gc
import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psycopg
import pytest

from visiona.db.pool import Connection
from visiona.entrypoints.logs import QuietFormatter
from visiona.safety.model import LimitSettingError

WORD = "kanarie7391"


@contextmanager
def written() -> Iterator[io.StringIO]:
    text, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(text)
    handler.setFormatter(QuietFormatter())
    root.addHandler(handler)
    try:
        yield text
    finally:
        root.removeHandler(handler)


def _chained() -> None:
    try:
        int(WORD)
    except ValueError as error:
        raise RuntimeError(f"cannot read {WORD}") from error


def _while_handling() -> None:
    try:
        {}[WORD]
    except KeyError:
        raise json.JSONDecodeError(WORD, WORD, 0)  # noqa: B904 - what is left to Python is told, too


def _several() -> None:
    raise ExceptionGroup(WORD, [ValueError(WORD), OSError(2, "No such file", WORD)])


def _noted() -> None:
    error = ValueError(WORD)
    error.add_note(WORD)
    raise error


@pytest.mark.parametrize(
    ("fails", "types"),
    [
        (_chained, ["ValueError", "RuntimeError"]),
        (_while_handling, ["KeyError", "json.decoder.JSONDecodeError"]),
        (_several, ["ExceptionGroup", "ValueError", "FileNotFoundError: No such file"]),
        (_noted, ["ValueError"]),
        (lambda: httpx.URL(f"http://u:{WORD}@h:{WORD}"), ["httpx.InvalidURL"]),
    ],
)
def test_a_failure_is_told_by_its_type_and_place(fails: Callable[[], object], types: list[str]) -> None:
    with written() as text:
        try:
            fails()
        except Exception:
            logging.getLogger("anybody's").exception("it failed")
    lines = text.getvalue().splitlines()
    assert WORD not in text.getvalue()
    assert [line for line in lines if line in types] == types
    assert "it failed" in lines[0]
    assert any("test_logs_quote_nothing.py" in line for line in lines)


async def test_a_task_that_nobody_waits_for_is_told_without_what_it_said() -> None:
    async def fail() -> None:
        raise ValueError(WORD)

    with written() as text:
        task = asyncio.create_task(fail(), name=WORD)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        gc.collect()
    assert "Task exception was never retrieved" in text.getvalue()
    assert "in fail" in text.getvalue()
    assert WORD not in text.getvalue()


def test_our_own_words_and_the_databases_are_told() -> None:
    """They say how to mend it; what the database adds of rows is gone before."""
    for error in (LimitSettingError("write 3/hour"), psycopg.OperationalError("connection refused")):
        with written() as text:
            logging.getLogger("visiona").error("no", exc_info=error)
        assert str(error) in text.getvalue()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (f"select '{WORD}'::integer", "InvalidTextRepresentation: 22P02"),
        (f"insert into t values ('{WORD}')", "CheckViolation: 23514 new row for relation"),
    ],
)
async def test_rows_and_values_are_not_told(owner: Connection, statement: str, told: str) -> None:
    with written() as text:
        await owner.execute("create temporary table t (words text check (length(words) < 3))")
        with pytest.raises(psycopg.Error, match=WORD) as refused:
            await owner.execute(statement)  # type: ignore[arg-type] # one of those above
        logging.getLogger("visiona").error("no", exc_info=refused.value)
        await owner.execute("drop table t")
    assert told in text.getvalue()
    assert WORD not in text.getvalue()


def test_a_failure_that_is_its_own_cause_ends() -> None:
    first, second = ValueError(WORD), RuntimeError(WORD)
    first.__cause__, second.__cause__ = second, first
    with written() as text:
        logging.getLogger("visiona").error("no", exc_info=first)
    assert text.getvalue().count("ValueError") == 1


def test_nobody_writes_a_line_of_their_own() -> None:
    with written() as text:
        logging.getLogger("visiona").error("in %s", "/api/x\r\n2026-11-24 ERROR visiona \x1b[31mforged\u2028")
    (line,) = text.getvalue().splitlines()
    assert line.endswith(r"in /api/x\r\n2026-11-24 ERROR visiona \x1b[31mforged\u2028")
