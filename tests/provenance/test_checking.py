"""Anybody checks an image: over the API, on the page without scripts, and only so often."""

# ruff: noqa: ASYNC240 - small files, and nothing else waits for the loop

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.conftest import SECRET_KEY
from tests.factories.keys import MASTER_KEY, key_settings
from tests.factories.people import MakeUser
from tests.factories.safety import EVERYBODY_SIGNS_UP

from visiona.adapters.imaging import ChildImageProcessor
from visiona.adapters.provenance import development_kit
from visiona.bootstrap import App, build
from visiona.entrypoints.asgi import create_asgi
from visiona.objects.model import Kind, new_key
from visiona.provenance import model
from visiona.settings import Settings, SettingsError, read_settings

ORIGIN = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
async def app(owner_url: str, app_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[App]:
    app = build(
        Settings(
            secret_key=SECRET_KEY,
            **key_settings(owner_url),
            limits=EVERYBODY_SIGNS_UP,
            data_dir=Path(tmp_path_factory.mktemp("check")),
            database_url=owner_url,
            app_database_url=app_url,
            replicate_api_token="r8_test",
            billing=False,
        ),
        "app",
    )
    await app.open()
    yield app
    await app.close()


@pytest.fixture(scope="module")
async def stranger(app: App) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_asgi(app), raise_app_exceptions=False, client=("203.0.113.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield client


@pytest.fixture(scope="module")
async def image(
    app: App, portrait: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[bytes]:
    """Made with the certificate of this server's data folder, by another process as it were."""
    worker = ChildImageProcessor(lambda: development_kit(app.settings.data_dir))
    made = await worker.process_generated(portrait["webp"], tmp_path_factory.mktemp("made"))
    yield made.master.read_bytes()
    await worker.aclose()


async def test_the_api_tells_what_an_image_says(
    stranger: httpx.AsyncClient,
    image: bytes,
    portrait: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    answer = await stranger.post("/api/provenance/check", files={"image": ("x.webp", image)})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "made_with_ai": True,
        "credentials": "valid",
        "signer": "ours",
        "signer_name": "Visiona development Content Credentials",
        "generator": "Visiona",
        "signed_as_ai": True,
        "labelled_as_ai": True,
        "watermarked": True,
    }
    answer = await stranger.post("/api/provenance/check", files={"image": portrait["png"].read_bytes()})
    assert answer.json()["made_with_ai"] is False
    assert answer.json()["credentials"] == "none"
    assert list(tmp_path.iterdir()) == []  # nothing is kept


@pytest.mark.parametrize(
    ("files", "status", "code"),
    [
        ({"image": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}, 422, "unsupported_format"),
        ({"image": b"no picture"}, 422, "not_an_image"),
        ({"image": b""}, 422, "file_empty"),
        ({"photo": b"no picture"}, 422, "invalid_input"),
        ({"image": b"x" * (model.MAX_FILE_BYTES + 1)}, 413, "file_too_large"),
        ({"image": b"x" * (model.MAX_FILE_BYTES + 100_000)}, 413, "body_too_large"),
    ],
)
async def test_what_is_no_image_is_refused(
    stranger: httpx.AsyncClient, files: dict[str, bytes], status: int, code: str
) -> None:
    answer = await stranger.post("/api/provenance/check", files=files)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    page = await stranger.post("/check", files=files, headers={"origin": ORIGIN})
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")


async def test_the_page_works_without_scripts(
    stranger: httpx.AsyncClient, image: bytes, portrait: dict[str, Path]
) -> None:
    empty = await stranger.get("/check")
    assert empty.status_code == 200
    assert 'enctype="multipart/form-data"' in empty.text
    assert "check-result" not in empty.text
    found = await stranger.post("/check", files={"image": image}, headers={"origin": ORIGIN})
    assert "Made with AI, by Visiona" in found.text
    assert "Signed by this Visiona, and unchanged" in found.text
    nothing = await stranger.post(
        "/check", files={"image": portrait["jpeg"].read_bytes()}, headers={"origin": ORIGIN}
    )
    assert "Nothing says that it was made with AI" in nothing.text
    assert "That does not prove that it was not." in nothing.text


async def test_one_network_checks_only_so_often(app: App) -> None:
    transport = httpx.ASGITransport(create_asgi(app), raise_app_exceptions=False, client=("198.51.100.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        answers = [
            await client.post("/api/provenance/check", files={"image": b"no picture"}) for _ in range(61)
        ]
        assert {answer.status_code for answer in answers[:60]} == {422}
        assert answers[60].status_code == 429
        assert int(answers[60].headers["retry-after"]) >= 1
        read = 0

        async def file() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(100):
                read += 1
                yield bytes(65536)

        headers = {"content-type": "multipart/form-data; boundary=x"}
        refused = await client.post("/api/provenance/check", content=file(), headers=headers)
        assert refused.status_code == 429
        assert read <= 1  # nothing is taken in of what is not looked at


async def test_what_a_person_downloads_is_signed_to_the_byte(
    app: App, stranger: httpx.AsyncClient, make_user: MakeUser, image: bytes, tmp_path: Path
) -> None:
    """Sealed when it is stored, opened when it is sent: the signature holds at the end."""
    person = await make_user()
    stored = tmp_path / "image.webp"
    stored.write_bytes(image)
    key = new_key(person.user_id, Kind.IMAGE, "image/webp")
    await app.objects.put(person, {key: stored})
    answer = await stranger.get(await app.objects.link(key))
    assert answer.status_code == 200
    assert answer.content == image
    checked = await stranger.post("/api/provenance/check", files={"image": answer.content})
    assert (checked.json()["credentials"], checked.json()["signer"]) == ("valid", "ours")


def test_production_signs_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    given = {
        "VISIONA_ENVIRONMENT": "production",
        "VISIONA_PUBLIC_URL": "https://visiona.example",
        "VISIONA_SECRET_KEY": SECRET_KEY,
        "VISIONA_MASTER_KEYS": MASTER_KEY,
        "VISIONA_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "VISIONA_SMTP_URL": "smtp://mail.example",
        "VISIONA_MAIL_FROM": "hello@visiona.example",
        "VISIONA_DATA_DIR": str(tmp_path),
        "VISIONA_BILLING": "off",
        "VISIONA_REPLICATE_API_TOKEN": "unused",
    }
    settings = read_settings(given)
    for role in ("app", "worker"):
        with pytest.raises(SettingsError, match="VISIONA_C2PA_CERTIFICATE"):
            build(settings, role)
    with pytest.raises(SettingsError, match="cannot be used: it is not in PEM"):
        build(replace(settings, c2pa_certificate="none", c2pa_private_key="none"), "worker")
    with pytest.raises(SettingsError, match="belong together"):
        read_settings(given | {"VISIONA_C2PA_CERTIFICATE": "x"})
    assert list(tmp_path.iterdir()) == []
