"""`visiona audit`: the operator's commands, as their own process would run them."""

import json
from pathlib import Path

import psycopg
import pytest
from tests.conftest import ROLE_SECRETS, SECRET_KEY
from tests.factories.keys import key_settings

from visiona.audit.model import AnchorKey
from visiona.db.roles import WORKER_ROLE, url_for_role
from visiona.entrypoints.cli import main


class Commands:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str]:
        """Its status, and what it says."""
        with pytest.raises(SystemExit) as ended:
            main(["audit", *arguments])
        code = ended.value.code
        said = self._capsys.readouterr()
        return (code if isinstance(code, int) else 0), said.out + said.err


@pytest.fixture
def commands(
    own_database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Commands:
    keys = key_settings(own_database_url)
    for name, value in {
        "SECRET_KEY": SECRET_KEY,
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": own_database_url,
        "WORKER_DATABASE_URL": url_for_role(own_database_url, WORKER_ROLE, ROLE_SECRETS.worker),
        "MASTER_KEYS": keys["master_keys"][0],
        "KEYS_URL": keys["keys_url"],
        "KEYS_MIRROR_URL": keys["keys_mirror_url"],
        "BILLING": "off",
    }.items():
        monkeypatch.setenv(f"VISIONA_{name}", value)
    with psycopg.connect(own_database_url, autocommit=True) as owner:
        owner.execute("insert into audit_logs (action) select 'x' from generate_series(1, 9)")
    return Commands(capsys)


def test_a_log_is_verified_and_found_out(commands: Commands, own_database_url: str, tmp_path: Path) -> None:
    assert commands.run("anchor") == (0, "The audit log is anchored.\n")
    status, said = commands.run("verify")
    assert status == 0, said
    assert "Entries   9 in the chain, 0 to come" in said
    assert said.endswith("The audit log is whole.\n")

    status, key = commands.run("key")
    copy = tmp_path / "copy"
    (tmp_path / "anchors").rename(copy)
    assert commands.run("verify", "--anchors", copy.as_uri(), "--key", key)[0] == 0
    status, said = commands.run("verify")
    assert (status, "ANCHOR_MISSING" in said) == (1, True)
    strange = str(AnchorKey(b"x" * 32).public)
    status, said = commands.run("verify", "--anchors", copy.as_uri(), "--key", strange)
    assert (status, "ANCHOR_INVALID" in said) == (1, True)
    assert commands.run("verify", "--key", "no key")[0] != 0
    assert commands.run("verify", "--anchors", "no place")[0] != 0

    with psycopg.connect(own_database_url) as owner:
        owner.execute("set session_replication_role = replica")
        owner.execute("delete from audit_logs where seq > 7")
    status, said = commands.run("verify", "--anchors", copy.as_uri(), "--json")
    report = json.loads(said)
    assert (status, report["ok"], report["entries"]) == (1, False, 7)
    assert [finding["trouble"] for finding in report["findings"]] == ["cut"]
