"""`visiona privacy`: what the operator sees of erasures, and may say of them."""

import asyncio
import json
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.factories.keys import key_settings
from tests.privacy.conftest import World
from typer.testing import CliRunner

from visiona.db.jobs import RetryLater
from visiona.entrypoints.cli import build_app
from visiona.entrypoints.web.receipt_words import receipt_words


async def visiona(world: World, *arguments: str) -> tuple[int, str]:
    """Exit code and what it said, as the operator of this Visiona."""
    settings = world.app.settings
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
    done = await asyncio.to_thread(CliRunner().invoke, build_app(), ["privacy", *arguments], env=environment)
    return done.exit_code, done.output or str(done.exception)


async def test_an_operator_reads_confirms_and_keeps_receipts(world: World, tmp_path: Path) -> None:
    known = await world.join()
    await world.rows("update payment_customers set customer_id = 'cus_lost' where user_id = %s", known.id)
    erasure_id = (await world.app.privacy.ask(known.actor)).id
    code = str(erasure_id)
    with pytest.raises(RetryLater):
        await world.privacy.erase(erasure_id)
    _, listed = await visiona(world, "list")
    [line] = [line for line in listed.splitlines() if line.startswith(code)]
    assert "never had this customer" in line
    failed, said = await visiona(world, "receipt", code)
    assert failed
    assert "is not over. It is held up by payments: " in said
    for wrong in ((code, "rows"), (code, "training of dogs"), (str(uuid.uuid4()), "payments")):
        failed, said = await visiona(world, "confirm", "--yes", *wrong)
        assert (bool(failed), "waits for that" in said) == (True, True)
    assert (await visiona(world, "confirm", "--yes", code, "payments"))[0] == 0
    with suppress(RetryLater):
        await world.privacy.erase(erasure_id)

    done, text = await visiona(world, "receipt", code)
    assert done == 0
    facts = json.loads(text)
    assert facts["receipt"] == code
    [step] = [step for step in receipt_words(facts).steps if step.name == "payments"]
    assert "they deleted it there themselves" in step.text
    file = tmp_path / "receipt.json"
    await asyncio.to_thread(file.write_text, text)
    assert (await visiona(world, "verify-receipt", str(file)))[0] == 0
    await asyncio.to_thread(file.write_text, text.replace('"by_hand": true', '"by_hand": false'))
    failed, said = await visiona(world, "verify-receipt", str(file))
    assert (bool(failed), "It does not count" in said) == (True, True)
    assert (await visiona(world, "receipt", str(uuid.uuid4())))[0] != 0
