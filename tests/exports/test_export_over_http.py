"""Asking for a copy, seeing how far it is and downloading it, as a browser does."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.accounts.house import House, open_house
from tests.conftest import copied_database
from tests.exports.conftest import rows_of, unpacked
from tests.factories.keys import key_settings
from typer.testing import CliRunner

from visiona.entrypoints.cli import build_app

ASK, ALL = "/api/account/export", "/api/account/exports"


@pytest.fixture(scope="module")
async def house(
    postgres: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[House]:
    with copied_database(postgres, migrated_template) as url:
        async with open_house(url, tmp_path_factory.mktemp("house")) as opened:
            yield opened


async def person(house: House) -> tuple[httpx.AsyncClient, str]:
    email = f"{uuid.uuid4().hex}@example.com"
    return await house.sign_up(email), email


async def made(house: House, browser: httpx.AsyncClient) -> dict[str, Any]:
    asked = await browser.post(ASK)
    assert asked.status_code == 202, asked.text
    await house.run_jobs()
    return (await browser.get(f"{ALL}/{asked.json()['id']}")).json()


async def test_a_copy_is_asked_for_downloaded_and_deleted(house: House) -> None:
    browser, email = await person(house)
    first, again = [(await browser.post(ASK)).json() for _ in range(2)]
    assert first == again
    assert (first["state"], first["progress"], first["size"], first["error"]) == ("queued", 0, None, None)
    one = f"{ALL}/{first['id']}"
    early = await browser.post(f"{one}/link")
    assert (early.status_code, early.json()["code"]) == (409, "export_not_ready")
    await house.run_jobs()
    shown = (await browser.get(one)).json()
    assert (shown["state"], shown["progress"]) == ("ready", 100)
    assert (await browser.get(ALL)).json() == {"exports": [shown]}

    url = (await browser.post(f"{one}/link")).json()["url"]
    whole = await house.web.get(url)  # the link is all that it takes
    day = shown["finished_at"][:10]
    assert whole.headers["content-disposition"] == f'attachment; filename="visiona-export-{day}.zip"'
    assert (whole.headers["content-type"], whole.headers["cache-control"]) == ("application/zip", "no-store")
    assert (len(whole.content), hashlib.sha256(whole.content).hexdigest()) == (shown["size"], shown["sha256"])
    [account] = rows_of(unpacked(whole.content), "users")
    assert account["email"] == email
    head = await house.web.head(url)
    assert (head.headers["content-length"], head.content) == (str(shown["size"]), b"")
    middle = await house.web.get(url, headers={"range": "bytes=100-199", "if-range": whole.headers["etag"]})
    assert (middle.status_code, middle.content) == (206, whole.content[100:200])
    assert middle.headers["content-range"] == f"bytes 100-199/{shown['size']}"

    assert (await browser.delete(one)).status_code == 204
    assert (await browser.get(one)).json()["code"] == "export_not_found"
    ended = await house.web.get(url)  # before any worker has deleted the object
    assert (ended.status_code, ended.json()["code"]) == (404, "export_not_found")
    await house.run_jobs()
    assert (await house.web.get(url)).status_code == 404
    [(user_id,)] = await house.rows("select id from users where email_index = %s", house.index(email))
    assert [name for name in await house.actions(user_id) if name.startswith("export.")] == [
        "export.asked",
        "export.ready",
        "export.opened",
        "export.removed",
    ]


async def test_nobody_else_and_no_stale_session_gets_it(house: House) -> None:
    browser, _ = await person(house)
    other, _ = await person(house)
    export = await made(house, browser)
    one = f"{ALL}/{export['id']}"
    url = (await browser.post(f"{one}/link")).json()["url"]
    for method, path in (("GET", one), ("POST", f"{one}/link"), ("DELETE", one)):
        refused = await other.request(method, path)
        assert (refused.status_code, refused.json()["code"]) == (404, "export_not_found")
        assert (await house.web.request(method, path)).status_code == 401
    assert (await house.web.get(url[:-1] + ("0" if url[-1] != "0" else "1"))).status_code == 404

    house.clock.shift += timedelta(hours=1)
    try:
        assert (await house.web.get(url)).status_code == 404
        for path in (ASK, f"{one}/link"):
            stale = await browser.post(path)
            assert (stale.status_code, stale.json()["code"]) == (403, "confirmation_required")
        assert (await browser.get(one)).status_code == 200
    finally:
        house.clock.shift -= timedelta(hours=1)


async def test_whoever_leaves_still_gets_one(house: House) -> None:
    browser, _ = await person(house)
    assert (await browser.delete("/api/account")).status_code == 202
    assert (await made(house, browser))["state"] == "ready"


async def test_a_day_has_its_limit(house: House) -> None:
    browser, _ = await person(house)
    answers = [await browser.post(ASK) for _ in range(11)]
    assert [one.status_code for one in answers] == [202] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_the_operator_writes_one(house: House, tmp_path: Path) -> None:
    _, email = await person(house)
    target = tmp_path / "theirs.zip"
    settings = house.app.settings
    keys: Any = key_settings(settings.database_url or "")
    environment = {
        "VISIONA_DATA_DIR": str(settings.data_dir),
        "VISIONA_DATABASE_URL": settings.database_url,
        "VISIONA_APP_DATABASE_URL": settings.app_database_url,
        "VISIONA_WORKER_DATABASE_URL": settings.worker_database_url,
        "VISIONA_SECRET_KEY": settings.secret_key,
        "VISIONA_MASTER_KEYS": ",".join(keys["master_keys"]),
        "VISIONA_KEYS_URL": keys["keys_url"],
        "VISIONA_KEYS_MIRROR_URL": keys["keys_mirror_url"],
    }

    async def export(address: str, to: Path) -> tuple[int, str]:
        command = ["privacy", "export", address, "--to", str(to)]
        done = await asyncio.to_thread(CliRunner().invoke, build_app(), command, env=environment)
        return done.exit_code, done.output + str(done.exception or "")

    assert (await export(email, target))[0] == 0
    [account] = rows_of(unpacked(await asyncio.to_thread(target.read_bytes)), "users")
    assert account["email"] == email
    for address, to, why in (
        (email, target, "is there already"),
        (email, tmp_path / "nowhere" / "theirs.zip", "is no folder"),
        ("nobody@example.com", tmp_path / "other.zip", "no account with this address"),
    ):
        status, said = await export(address, to)
        assert (status, why in said) == (1, True), said
    [(user_id,)] = await house.rows("select id from users where email_index = %s", house.index(email))
    await house.worker.vault.destroy(user_id)
    status, said = await export(email, tmp_path / "other.zip")
    assert (status, "key is gone" in said) == (1, True), said
    assert await asyncio.to_thread(os.listdir, tmp_path) == ["theirs.zip"]


def test_an_operator_who_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    """By whatever: a terminal that is closed, or a limit on time, would leave pictures behind."""
    target = tmp_path / "copy.zip"
    program = f"""
import os, signal, sys, time
from pathlib import Path
from visiona.entrypoints.cli.privacy import ends_in_order
from visiona.exports.service import unfinished
with ends_in_order(), unfinished(Path({str(target)!r})) as part:
    part.write_bytes(b"pictures")
    os.kill(os.getpid(), int(sys.argv[1]))
    time.sleep(30)
"""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        done = subprocess.run(
            [sys.executable, "-c", program, str(number.value)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "KeyboardInterrupt" in done.stderr
        assert list(tmp_path.iterdir()) == []
