"""People who say things wherever Visiona lets them, and reading what it has kept of that with their keys."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psycopg
import pyotp
from PIL import ExifTags, Image
from psycopg import sql
from tests.factories import consents
from tests.factories.authenticator import Authenticator
from tests.factories.canaries import canary
from tests.factories.photos import snapshot
from tests.journeys.conftest import PASSWORD, Person, Stack, wait_until

from visiona.adapters.objects import open_store
from visiona.bootstrap import open_vault
from visiona.core.clock import SystemClock
from visiona.privacy.catalogue import CATALOGUE, PLACES
from visiona.settings import Settings, read_settings
from visiona.vault.model import Cipher

# Bytes of a file that nothing else has.
PIECE = 32

SIZE = (576, 768)
PHOTOS = 10
"""As many as a clone needs."""


class Speaker(Person):
    """Somebody whose every word is one of a kind. At Clerk, if that keeps the accounts."""

    def __init__(self, stack: Stack, kept: dict[str, str | bytes]) -> None:  # it signs up in ways of its own
        self.stack = stack
        self.email = f"{kept['address']}@example.com"
        self.http = httpx.Client(base_url=stack.url, timeout=60)
        self.http.headers["User-Agent"] = str(kept["browser"])
        self.http.headers["X-Forwarded-For"] = str(kept["network address"])
        token = self._at_clerk() if stack.hosted else self._here()
        self.http.cookies.clear()  # the token alone from here on
        self.http.headers["Authorization"] = f"Bearer {token}"

    def _here(self) -> str:
        answer = self.http.post("/api/auth/signup", json={"email": self.email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return answer.json()["access_token"]

    def _at_clerk(self) -> str:
        user = self.stack.clerk("/v1/users", json={"email_address": [self.email], "password": PASSWORD})
        session = self.stack.clerk("/v1/sessions", json={"user_id": user["id"]})
        return self.stack.clerk(f"/v1/sessions/{session['id']}/tokens", json={"expires_in_seconds": 3600})[
            "jwt"
        ]

    def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self.http.request(method, path, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.content else None

    def piece(self, link: str) -> bytes:
        data = httpx.get(self.stack.url + link, timeout=60).raise_for_status().content
        return data[len(data) // 2 :][:PIECE]


@dataclass
class Planted:
    """`kept` is what Visiona keeps of somebody, sealed; `passing` what it must never keep. `names` are what
    they and their things are called, here and by other firms: random, and in the clear.
    """

    person: Speaker
    user_id: int
    kept: dict[str, str | bytes]
    passing: dict[str, str | bytes]
    names: dict[str, str] = field(default_factory=dict[str, str])

    def words(self, *, of: str = "kept") -> dict[str, str | bytes]:
        return {f"{self.user_id}: {name}": word for name, word in getattr(self, of).items()}


NOT_COPIED = frozenset({"secret of codes", "small photo", "small image"})
"""What is kept of somebody and in no copy for them: what proves something, and what is made of the rest."""


def plant(stack: Stack, shared: list[Path], *, buys: bool = False, copies: bool = False) -> Planted:
    """Somebody who does everything once, by the application's own ways; who `buys` pays for a plan, who
    `copies` has a copy of it all made at last.
    """
    said = ("address", "browser", "signature", "somebody else's name", "trigger word", "caption", "prompt",
            "prompt to rework")  # fmt: skip
    secured = () if stack.hosted else ("name of a key", "name of a passkey", "address to come")
    kept: dict[str, str | bytes] = {name: _word() for name in (*said, *secured)}
    kept["network address"] = _network_address()
    passing: dict[str, str | bytes] = {
        name: _word()
        for name in ("file name", "comment in a photo", "refused prompt", "wrong password", "name on a card")
    }
    person = Speaker(stack, kept)
    consents.give(person.http, str(kept["signature"]))
    person.ask("POST", "/api/consents/requests", json={"label": kept["somebody else's name"]})
    names = _photograph(person, shared, kept, passing)
    names |= _create(person, kept, passing)
    if not stack.hosted:  # an identity service has these on its own pages
        _secure(person, kept, passing)
    wish = {"plan": "premium", "interval": "month"}
    checkout = person.ask("POST", "/api/payment/subscribe", json=wish)["checkout_url"]
    if buys:
        card = {
            "number": "4242424242424242",
            "expiry": "12/34",
            "cvc": "123",
            "name": passing["name on a card"],
        }
        paid = httpx.post(checkout, data=card | {"country": "DE", "email": ""}, timeout=60)
        assert paid.status_code == 303, paid.text
    user_id, subject = stack.rows(
        "select id, clerk_id from users where id = (select user_id from photos where id = %s)",
        names.pop("photo"),
    )[0]
    if buys:
        wait_until(lambda: stack.rows("select 1 from invoices where user_id = %s", user_id), 30)
    if copies:
        names["object of a copy"] = _copy(person)
    return Planted(person, user_id, kept, passing, names | {"subject": subject} | _elsewhere(stack, user_id))


def _word() -> str:
    """Which differs from others from its first letters on, so that looking for many is fast."""
    return canary(secrets.choice("bcdfghjk") + secrets.token_hex(3))


def shared_photos(folder: Path) -> list[Path]:
    """All but one of those that a clone takes."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.jpg" for number in range(PHOTOS - 1)]
    for number, path in enumerate(paths):
        snapshot("grace", number).resize(SIZE).save(path, "JPEG", quality=80)
    return paths


def _network_address() -> str:
    groups = [f"{secrets.randbelow(0xE000) + 0x1000:x}" for _ in range(6)]
    return f"2001:db8:{':'.join(groups)}"


def _photograph(
    person: Speaker, shared: list[Path], kept: dict[str, str | bytes], passing: dict[str, str | bytes]
) -> dict[str, Any]:
    pixels = np.asarray(snapshot("grace", PHOTOS).resize(SIZE)).astype(np.int16)
    noise = np.random.default_rng(secrets.randbits(64)).integers(-9, 10, pixels.shape)
    picture = BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = passing["comment in a photo"]
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(
        picture, "JPEG", quality=80, exif=exif
    )
    passing["uploaded photo"] = picture.getvalue()[len(picture.getvalue()) // 2 :][:PIECE]
    files = [("photos", (f"{passing['file name']}.jpg", picture.getvalue()))]
    answer = person.ask("POST", "/api/photos/upload", files=files)
    (photo,) = answer["photos"]
    person.upload(shared)
    kept["photo"] = person.piece(photo["file_url"])
    kept["small photo"] = person.piece(photo["thumbnail_url"])
    return {"photo": photo["id"], "object of a photo": _key(photo["file_url"])}


def _create(person: Speaker, kept: dict[str, str | bytes], passing: dict[str, str | bytes]) -> dict[str, str]:
    caption = {"autocaption_prefix": kept["caption"]}
    model = person.trained(person.train(str(kept["trigger word"]), parameters=caption)["id"], 240)
    assert model["status"] == "Ready", model
    runs = [
        person.generate(model["id"], f"{kept['prompt']} by the sea", megapixels="0.25"),
        person.generate(model["id"], f"{kept['prompt to rework']} at sea", enhance=True, megapixels="0.25"),
    ]
    ended = [person.finished(run["id"], 240) for run in runs]
    assert [run["status"] for run in ended] == ["succeeded", "succeeded"], ended
    assert kept["prompt to rework"] in ended[1]["enhanced_prompt"]
    kept["what was made of a prompt"] = ended[1]["enhanced_prompt"][:60]
    refused = {"model_id": model["id"], "prompt": f"{passing['refused prompt']}, a naked child"}
    assert person.http.post("/api/generate", json=refused).status_code == 422
    image = person.gallery()[0]
    kept["image"] = person.piece(image["image_url"])
    kept["small image"] = person.piece(image["thumbnail_url"])
    return {"object of an image": _key(image["image_url"])}


def _secure(person: Speaker, kept: dict[str, str | bytes], passing: dict[str, str | bytes]) -> None:
    key = {"name": kept["name of a key"], "scopes": ["photos:read"], "expires_in_days": 1}
    person.ask("POST", "/api/keys", json=key)
    browser = Authenticator(person.stack.url.replace("127.0.0.1", "localhost"))
    options = person.ask("POST", "/api/account/passkeys/options")
    credential = browser.create(options.get("publicKey", options))
    person.ask(
        "POST", "/api/account/passkeys", json={"credential": credential, "name": kept["name of a passkey"]}
    )
    kept["secret of codes"] = person.ask("POST", "/api/account/totp")["secret"]
    code = pyotp.TOTP(str(kept["secret of codes"])).now()
    person.ask("POST", "/api/account/totp/confirm", json={"code": code})
    person.ask("POST", "/api/account/email", json={"email": f"{kept['address to come']}@example.com"})
    wrong = {"email": person.email, "password": passing["wrong password"]}
    assert httpx.post(f"{person.stack.url}/api/auth/login", json=wrong).status_code == 401


def _copy(person: Speaker) -> str:
    """The key of the object."""
    export = person.ask("POST", "/api/account/export")
    path = f"/api/account/exports/{export['id']}"
    wait_until(lambda: person.ask("GET", path)["state"] == "ready", 60)
    return _key(person.ask("POST", f"{path}/link")["url"])


def _key(link: str) -> str:
    return urlsplit(link).path.removeprefix("/media/")


def _elsewhere(stack: Stack, user_id: int) -> dict[str, str]:
    """What other firms call them and their things."""
    row = stack.rows(
        """select (select customer_id from payment_customers c where c.user_id = u.id), m.version,
             t.archive_id, t.provider_id, (select max(provider_id) from runs r where r.user_id = u.id)
           from users u join models m on m.user_id = u.id join trainings t on t.user_id = u.id
           where u.id = %s""",
        user_id,
    )[0]
    kinds = ("customer", "version", "archive", "training", "prediction")
    return {kind: name for kind, name in zip(kinds, row, strict=True) if name}


def settings_of(stack: Stack, **others: str) -> Settings:
    given = {name: text for name, text in stack.environment.items() if name.startswith("VISIONA_")}
    return read_settings(given | others)


async def opened(settings: Settings) -> AsyncIterator[tuple[str, bytes]]:
    """(place, what it says) of everything that there is a key for, in the database and among the objects."""
    vault = open_vault(settings, SystemClock())
    try:
        for place, owner, sealed in _sealed(settings.database_url or ""):
            if cipher := (await vault.ciphers([owner])).get(owner):
                yield place, cipher.open_bytes(place, sealed)
        store = open_store(settings.objects_url)
        for key in await store.list_keys(""):
            owner = int(key.partition("/")[0].removeprefix("u"))
            if cipher := (await vault.ciphers([owner])).get(owner):
                yield key, await asyncio.to_thread(_opened, cipher, key, settings.data_dir / "objects" / key)
    finally:
        await vault.aclose()


def _opened(cipher: Cipher, key: str, path: Path) -> bytes:
    with TemporaryDirectory() as folder:
        plain = Path(folder, "plain")
        cipher.open_file(key, path, plain)
        return plain.read_bytes()


def _sealed(url: str) -> list[tuple[str, int, bytes]]:
    """(place, whose, sealed)"""
    owners = {table.name: table.owner for table in CATALOGUE}
    found: list[tuple[str, int, bytes]] = []
    with psycopg.connect(url) as connection:
        for (table, column), place in PLACES.items():
            owner = owners[table]
            assert owner is not None
            query = sql.SQL("select {owner}, {column} from {table} where num_nulls({owner}, {column}) = 0")
            names = {"owner": owner, "column": column, "table": table}
            rows = connection.execute(
                query.format(**{k: sql.Identifier(v) for k, v in names.items()})
            ).fetchall()
            found += [(place, owner, sealed) for owner, sealed in rows]
    return found
