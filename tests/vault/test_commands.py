"""`visiona vault`, as an operator runs it."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from visiona.adapters.master_keys import new_master_key
from visiona.bootstrap import open_vault
from visiona.core.clock import SystemClock
from visiona.entrypoints.cli import main
from visiona.settings import read_settings
from visiona.vault.service import Vault


class Operator:
    """Runs commands with settings of their own; `run` answers (exit status, what was said)."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.environment = {
            "VISIONA_DATA_DIR": str(folder),
            "VISIONA_KEYS_MIRROR_URL": (folder / "mirror").as_uri(),
        }
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str]:
        for name, value in self.environment.items():
            self._monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        said = self._capsys.readouterr()
        return int(exit_.value.code or 0), re.sub(r"\s+", " ", said.out + said.err)

    def use(self, act: Callable[[Vault], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            vault = open_vault(read_settings(self.environment), SystemClock())
            await vault.prepare()
            try:
                return await act(vault)
            finally:
                await vault.aclose()

        return asyncio.run(run())


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(tmp_path, monkeypatch, capsys)


async def make_some(vault: Vault) -> None:
    for user_id in range(1, 41):
        await vault.create(user_id)
    await vault.destroy(7)


def test_a_rotation_goes_on_where_it_was_killed_and_ends_the_old_key(operator: Operator) -> None:
    old, new = new_master_key(), new_master_key()
    operator.environment["VISIONA_MASTER_KEYS"] = old
    operator.use(make_some)
    operator.environment["VISIONA_MASTER_KEYS"] = f"{new},{old}"

    async def killed_midway(vault: Vault) -> int:
        def progress(done: int, _: int) -> None:
            if done == 20:
                raise KeyboardInterrupt

        return await vault.rotate(progress)

    with pytest.raises(KeyboardInterrupt):
        operator.use(killed_midway)
    status, said = operator.run("vault", "check")
    assert status == 0
    counts = sorted(int(count) for count in re.findall(r"(\d+) keys wrapped by local:", said))
    assert sum(counts) == 40
    assert 0 < counts[0] < 40

    status, said = operator.run("vault", "rotate")
    assert status == 0, said
    assert re.search(r"40 keys wrapped by local:\w+, 0 by others", said)
    assert "not needed any more" in said
    operator.environment["VISIONA_MASTER_KEYS"] = new
    status, said = operator.run("vault", "check")
    assert status == 0, said
    assert "1 key destroyed" in said
    operator.environment["VISIONA_MASTER_KEYS"] = old
    status, said = operator.run("vault", "check")
    assert status == 1
    assert "cannot be had" in said
    assert old not in said


def test_what_the_mirror_lacks_is_seen_and_brought_back(operator: Operator) -> None:
    operator.environment["VISIONA_MASTER_KEYS"] = new_master_key()
    operator.use(make_some)
    (operator.folder / "mirror" / "u3.json").unlink()
    (operator.folder / "keys" / "u4.json").unlink()
    (operator.folder / "keys" / "u7.destroyed").unlink()
    status, said = operator.run("vault", "check")
    assert (status, "3 keys in one place only" in said) == (1, True)
    assert operator.run("vault", "sync") == (0, "3 keys put right. ")
    assert operator.run("vault", "check")[0] == 0
    for name in ("u3.json", "u4.json", "u7.destroyed"):
        assert (operator.folder / "keys" / name).read_bytes() == (
            operator.folder / "mirror" / name
        ).read_bytes()


def test_the_recovery_key_is_the_one_in_the_data_folder(operator: Operator) -> None:
    status, said = operator.run("vault", "recovery-key")
    assert status == 2
    assert "VISIONA_MASTER_KEYS is missing" in said
    assert list(operator.folder.iterdir()) == []  # a new one would fit no key
    key = new_master_key()
    (operator.folder / "master.key").write_text(f"{key}\n", encoding="ascii")
    status, said = operator.run("vault", "recovery-key")
    assert status == 0
    assert said.startswith(f"{key} ")
    assert "Keep what follows" in said


def test_a_key_store_that_was_never_prepared(operator: Operator) -> None:
    operator.environment["VISIONA_MASTER_KEYS"] = new_master_key()
    status, said = operator.run("vault", "check")
    assert status == 1
    assert "not a key store" in said
