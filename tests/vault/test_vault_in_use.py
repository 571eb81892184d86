"""The key store under a running Visiona: what comes back from an old copy, and what happens without keys."""

import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from tests.accounts.house import house_settings

from visiona.bootstrap import App, build, finish_restore, prepare_database
from visiona.consents.model import current_text
from visiona.entrypoints.asgi import create_asgi
from visiona.settings import Settings
from visiona.vault import service

ADA = {"email": "ada@example.com", "password": "a quiet blue harbour"}
BEN = {"email": "ben@example.com", "password": "a quiet blue harbour"}


@pytest.fixture
async def settings(own_database_url: str, tmp_path: Path) -> Settings:
    settings = house_settings(own_database_url, tmp_path, None, None)
    await prepare_database(settings)
    return settings


def folder(url: str | None) -> Path:
    assert url is not None
    return Path(urlsplit(url).path)


@asynccontextmanager
async def served(settings: Settings) -> AsyncGenerator[tuple[App, httpx.AsyncClient]]:
    app = build(settings, "app")
    await app.open()
    transport = httpx.ASGITransport(create_asgi(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield app, client
    await app.close()


async def test_the_worker_erases_again_whom_an_image_of_the_disk_brought_back(settings: Settings) -> None:
    """Rows and keys are of before the erasure; only the mirror, elsewhere, knows of it."""
    keys = folder(settings.keys_url)
    async with served(settings) as (app, http):
        people = [(await http.post("/api/auth/signup", json=who)).json()["user"]["id"] for who in (ADA, BEN)]
        image = (keys / f"u{people[0]}.json").read_bytes()
        await app.vault.destroy(people[0])
    (keys / f"u{people[0]}.json").write_bytes(image)
    (keys / f"u{people[0]}.destroyed").unlink()
    async with served(settings) as (_, http):
        assert (await http.post("/api/auth/login", json=ADA)).status_code == 200
    worker = build(settings, "worker")
    await worker.open()
    (bury,) = [job.run for job in worker.jobs() if job.name == "vault.bury"]
    for _ in range(2):
        await bury()
    await worker.close()
    async with served(settings) as (_, http):
        assert (await http.post("/api/auth/login", json=ADA)).status_code == 401
        assert (await http.post("/api/auth/login", json=BEN)).status_code == 200
    assert not (keys / f"u{people[0]}.json").exists()


async def test_a_restored_backup_brings_no_consent_back_that_was_withdrawn(settings: Settings) -> None:
    assert settings.database_url is not None
    async with served(settings) as (_, http):
        signed_up = (await http.post("/api/auth/signup", json=ADA)).json()
        http.headers["authorization"] = f"Bearer {signed_up['access_token']}"
        text = current_text().version
        body = {"version": text, "name": "Ada Lovelace", "adult": True, "agreed": True}
        ids = [(await http.post("/api/consents", json=body)).json()["id"] for _ in range(2)]
        assert (await http.delete(f"/api/consents/{ids[0]}")).status_code == 202
        later = (await http.post("/api/consents", json=body)).json()["id"]
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as owner:
        await owner.execute("set search_path = public, procrastinate")
        await owner.execute("delete from procrastinate_jobs")
        await owner.execute("update consents set state = 'given', withdrawn_at = null")
        await finish_restore(settings)
        cursor = await owner.execute("select id::text, state from consents")
        assert dict(await cursor.fetchall()) == {
            ids[0]: "withdrawn",
            ids[1]: "withdrawn",
            later: "given",
        }
        cursor = await owner.execute(
            """select args ->> 'consent_id' from procrastinate.procrastinate_jobs
               where task_name = 'consents.forget'"""
        )
        assert {row[0] for row in await cursor.fetchall()} == set(ids)
        cursor = await owner.execute(
            "select distinct actor_kind, actor_id from audit_logs where request_id = 'restore'"
        )
        assert await cursor.fetchall() == [("system", "restore")]


async def test_without_its_key_store_it_says_so_and_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CACHE_S", 0.0)
    keys, mirror = folder(settings.keys_url), folder(settings.keys_mirror_url)
    async with served(settings) as (_, http):
        signed_up = (await http.post("/api/auth/signup", json=ADA)).json()
        authorized = {"Authorization": f"Bearer {signed_up['access_token']}"}
        aside = keys.with_name("aside")
        keys.rename(aside)
        keys.write_text("no folder")
        for method, path, body in (
            ("POST", "/api/auth/signup", BEN),
            ("POST", "/api/auth/login", ADA),
            ("GET", "/api/generate", None),
            ("GET", "/api/consents", None),
            ("DELETE", f"/api/consents/{'0' * 32}", None),
        ):
            answer = await http.request(method, path, json=body, headers=authorized)
            assert (answer.status_code, answer.json()["code"]) == (503, "keys_unavailable"), (method, path)
        keys.unlink()
        aside.rename(keys)
        assert (await http.post("/api/auth/login", json=ADA)).status_code == 200
        assert (await http.post("/api/auth/login", json=BEN)).status_code == 401
        assert len(list(keys.glob("u*.json"))) == len(list(mirror.glob("u*.json"))) == 1
        shutil.rmtree(mirror)
        mirror.write_text("no folder")
        answer = await http.post("/api/auth/signup", json=BEN)
        assert (answer.status_code, answer.json()["code"]) == (503, "keys_unavailable")
        assert (await http.post("/api/auth/login", json=ADA)).status_code == 200
        assert len(list(keys.glob("u*.json"))) == 1


def test_no_command_leaves_a_core_file_and_neither_does_what_it_starts() -> None:
    """Where the system would write one: keys and pictures are in it."""
    script = """
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
from visiona.entrypoints.cli import main
try:
    main(["--version"])
except SystemExit:
    sys.stdout.flush()
    subprocess.run(["sh", "-c", "ulimit -H -c"], check=True)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "0"
