"""The pages with people and pictures that do not exist, and a reader of their markup."""

from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from visiona.core.clock import FixedClock
from visiona.entrypoints.web.rendering import Flash, Pages, Simulated, StaticTree

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=alert(1)> KATVIS \"'"

USER = {"id": 7, "email": "ana@example.org", "plan": "free", "created_at": "2026-10-01T08:00:00Z"}
QUOTA = {
    "images": {"used": 23, "limit": 30},
    "clones": {"used": 1, "limit": 1},
    "period_end": "2026-12-01T00:00:00Z",
}
LIMITS = {
    "photos_min": 10,
    "photos_max": 40,
    "prompt_max": 1500,
    "upload_max_mb": 25,
    "files_per_request": 100,
}
PHOTO = {
    "id": 1,
    "file_url": "/media/f",
    "thumbnail_url": "/media/t",
    "width": 800,
    "height": 600,
    "warnings": ["no_face", "a_code_from_the_future"],
    "uploaded_at": "2026-11-23T11:00:00Z",
}
IMAGE = {
    "id": 100,
    "model_id": 21,
    "prompt": HOSTILE,
    "enhanced_prompt": None,
    "image_url": "/media/i",
    "thumbnail_url": "/media/it",
    "width": 896,
    "height": 1088,
    "seed": 5,
    "parameters": {},
    "created_at": "2026-11-23T11:59:00Z",
}


def model(status: str, error: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "id": 21,
        "trigger_word": "KATVIS",
        "status": status,
        "progress": 0.42,
        "parameters": {"steps": 1000, "autocaption": True},
        "error": error,
        "photo_count": 12,
        "created_at": "2026-11-23T10:00:00Z",
        "ready_at": None,
    }


def run(status: str, outcome: str, images: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": 71,
        "model_id": 21,
        "status": status,
        "progress": 0.5,
        "prompt": HOSTILE,
        "enhanced_prompt": HOSTILE if outcome == "enhanced" else None,
        "enhancement": {"provider": "openai" if outcome == "enhanced" else None, "outcome": outcome},
        "num_outputs": 2,
        "parameters": {},
        "images": images,
        "error": {"code": "x", "message": HOSTILE} if status == "failed" else None,
        "created_at": "2026-11-23T11:58:00Z",
    }


def studio(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"photos": [], "models": [], "runs": [], "next_cursor": None}
    return {"user": USER, "quota": QUOTA, "limits": LIMITS, **base, **changes}


def gallery(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"images": [], "models": [], "next_cursor": None, "order": "newest"}
    return {"user": USER, "model_id": None, **base, **changes}


_FORM_ERRORS = [{"field": "password", "code": "too_short", "message": "Use at least 10 characters."}]
_PLANS = [
    {"id": "free", "title": "Free", "images": 30, "clones": 1, "price": None},
    {"id": "premium", "title": "Premium", "images": 1000, "clones": 10, "price": None},
]
_RUNS = [
    run("succeeded", "enhanced", [IMAGE]),
    run("running", "pending", []),
    run("failed", "unavailable", []),
    run("canceled", "not_requested", []),
]

# Every page in every state that its template tells apart: (template, path, context).
PAGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "landing": ("landing.html.j2", "/", {"limits": LIMITS, "plans": _PLANS}),
    "landing, signed in": ("landing.html.j2", "/", {"limits": LIMITS, "plans": _PLANS, "user": USER}),
    "sign-up": (
        "signup.html.j2",
        "/signup",
        {"form": {"email": "", "next": ""}, "errors": [], "detail": None},
    ),
    "log-in, refused": (
        "login.html.j2",
        "/login",
        {"form": {"email": HOSTILE, "next": HOSTILE}, "errors": _FORM_ERRORS, "detail": HOSTILE},
    ),
    "studio, new": ("studio.html.j2", "/studio", studio(flashes=[Flash("good", "Welcome.")])),
    "studio, training": (
        "studio.html.j2",
        "/studio",
        studio(photos=[PHOTO] * 12, models=[model("Processing")]),
    ),
    "studio, failed": (
        "studio.html.j2",
        "/studio",
        studio(photos=[PHOTO], models=[model("Failed", {"code": "x", "message": HOSTILE})]),
    ),
    "studio, full": (
        "studio.html.j2",
        "/studio",
        studio(photos=[PHOTO] * 12, models=[model("Ready")], runs=_RUNS, next_cursor="60"),
    ),
    "gallery, new": ("gallery.html.j2", "/gallery", gallery()),
    "gallery, full": (
        "gallery.html.j2",
        "/gallery",
        gallery(images=[IMAGE, IMAGE], models=[model("Ready")], next_cursor="99", model_id=21),
    ),
    "account": ("account.html.j2", "/account", {"user": USER, "quota": QUOTA}),
    "error": (
        "error.html.j2",
        "/nowhere",
        {"status": 404, "title": "Not Found", "detail": HOSTILE, "request_id": None},
    ),
}


class Markup(HTMLParser):
    """The start tags of a page, as (tag, attributes), with the text inside each script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._in_script = True
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]


@pytest.fixture(scope="session")
def static() -> StaticTree:
    return StaticTree()


@pytest.fixture(scope="session")
def pages(static: StaticTree) -> Pages:
    return Pages(static=static, clock=FixedClock(NOW), sandbox=Simulated(images=True, prompts=True))


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, pages: Pages) -> str:
    """The HTML of each page in turn."""
    template, path, context = PAGES[request.param]
    return pages.render(template, path=path, **context)


@pytest.fixture
def read() -> Callable[[str], Markup]:
    return Markup


@pytest.fixture
def full_studio() -> dict[str, Any]:
    """What the studio shows of a person who has done everything."""
    return PAGES["studio, full"][2]
