"""The main job by the `visiona` command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.journeys.conftest import PASSWORD, Stack

pytestmark = pytest.mark.journey


def test_the_whole_job(stack: Stack, tmp_path: Path, grace: list[Path]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "VISIONA_SERVER": stack.url,
        "COLUMNS": "120",
    }

    def visiona(*arguments: str, stdin: str = "", status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "visiona", *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    visiona("photos", "list", status=3)
    visiona("signup", "--email", "grace@example.com", "--password-stdin", stdin=PASSWORD)
    visiona("login", "--email", "grace@example.com", "--password-stdin", stdin="not the password", status=1)
    visiona("login", "--email", "grace@example.com", "--password-stdin", stdin=PASSWORD)
    assert "grace@example.com" in visiona("me")

    unsigned = visiona("photos", "upload", str(grace[0].parent), status=1)
    assert "consent_needed" in unsigned
    visiona("consent", "give", "--name", "Grace Hopper", "--i-am-18-and-agree")
    assert "12" in visiona("photos", "upload", str(grace[0].parent))
    assert "Ready" in visiona("train", "GRACE", "--steps", "300") + visiona("models", "list")
    out = tmp_path / "images"
    visiona("generate", "GRACE as a painter", "-n", "2", "--aspect", "3:2", "--enhance", "--out", str(out))
    pictures = list(out.iterdir())
    assert len(pictures) == 2
    assert all(picture.stat().st_size > 10_000 for picture in pictures)

    visiona("gallery", "download", "--out", str(tmp_path / "all"))
    assert len(list((tmp_path / "all").iterdir())) == 2
    image_id = pictures[0].stem.removeprefix("visiona-")
    visiona("gallery", "delete", image_id, "--yes")
    left = [image["id"] for image in json.loads(visiona("gallery", "list", "--json"))["items"]]
    assert len(left) == 1
    assert int(image_id) not in left
    visiona("logout")
    visiona("me", status=3)


def test_the_operator_puts_somebody_on_a_plan(stack: Stack, new_person) -> None:  # noqa: ANN001 - see conftest
    person = new_person(stack, "ada@example.com")

    def operate(*arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "visiona", "user", *arguments],
            env=stack.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "ada@example.com\tfree" in operate("list")
    assert operate("list").endswith("\tmember\tunconfirmed\n")
    operate("plan", "Ada@example.com", "premium")
    shown = operate("show", "ada@example.com")
    assert "not confirmed yet" in shown
    assert "Plan      premium" in shown
    assert person.quota()["images"]["limit"] == 1000
    assert "no plan" in operate("plan", "ada@example.com", "gold", status=1)
    assert "no account" in operate("plan", "nobody@example.com", "free", status=1)
