"""The renderer itself: versions of static files, times, and contexts that lack something."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from visiona.core.clock import FixedClock
from visiona.entrypoints.web import rendering
from visiona.entrypoints.web.rendering import Pages, Simulated, StaticTree

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_static_addresses_change_with_any_content(tmp_path: Path) -> None:
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "a.js").write_text("1")
    first = StaticTree(tmp_path)
    assert first.url("js/a.js") == f"/static/{first.version}/js/a.js"
    assert StaticTree(tmp_path).version == first.version
    (tmp_path / "js" / "a.js").write_text("2")
    changed = StaticTree(tmp_path)
    assert changed.version != first.version
    (tmp_path / "js" / "a.js").rename(tmp_path / "js" / "b.js")
    assert StaticTree(tmp_path).version != changed.version


def test_a_static_file_that_does_not_exist_fails_at_rendering(static: StaticTree) -> None:
    with pytest.raises(LookupError):
        static.url("js/nothing.js")


def test_modules_import_files_that_exist(static: StaticTree) -> None:
    modules = list((static.root / "js").glob("*.js"))
    imports = [(m, name) for m in modules for name in re.findall(r'from "(.+?)"', m.read_text())]
    assert imports
    assert [(m.name, name) for m, name in imports if not (m.parent / name).is_file()] == []


def test_modules_use_templates_and_slots_that_exist(static: StaticTree) -> None:
    markup = "".join(path.read_text() for path in rendering.TEMPLATE_ROOT.glob("*.j2"))
    scripts = "".join(path.read_text() for path in (static.root / "js").glob("*.js"))
    for name in re.findall(r'fromTemplate\("(\w+)"\)', scripts):
        assert f'id="{name}-template"' in markup
    for name in re.findall(r'(?:setText|showSlot|slot)\([\w.#]+, "([\w-]+)"', scripts):
        assert f'data-slot="{name}"' in markup, name


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=59, seconds=59), "59 minutes ago"),
        (timedelta(hours=23), "23 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=8), "15 November 2026"),
    ],
)
def test_relative_times(ago: timedelta, words: str) -> None:
    assert rendering.relative_time(NOW - ago, NOW) == words
    assert rendering.relative_time((NOW - ago).isoformat().replace("+00:00", "Z"), NOW) == words


def test_times_are_shown_in_utc() -> None:
    assert rendering.format_datetime("2026-11-23T01:30:00+02:00") == "22 Nov 2026, 23:30 UTC"


@pytest.mark.parametrize(
    ("share", "words"), [(0, "0%"), (0.999, "99%"), (1, "100%"), (1.2, "100%"), (-0.1, "0%")]
)
def test_percent_is_never_early(share: float, words: str) -> None:
    assert rendering.percent(share) == words


def test_thumbnail_width_follows_the_longer_side() -> None:
    assert rendering.thumbnail_width({"width": 896, "height": 1088}) == 395
    assert rendering.thumbnail_width({"width": 200, "height": 100}) == 200


def test_a_missing_value_is_an_error_and_not_an_empty_place(pages: Pages) -> None:
    with pytest.raises(UndefinedError):
        pages.render("account.html.j2", path="/account")


def test_a_visitor_is_not_offered_what_needs_an_account(pages: Pages) -> None:
    html = pages.render("landing.html.j2", path="/", limits={"photos_min": 10, "photos_max": 40}, plans=[])
    assert 'href="/signup"' in html
    assert 'href="/gallery"' not in html


def test_the_sandbox_says_so_and_production_does_not(static: StaticTree, pages: Pages) -> None:
    context = {"status": 404, "title": "Not Found", "detail": "", "request_id": None}
    production = Pages(static=static, clock=FixedClock(NOW), sandbox=Simulated(), sells=True)
    assert "Sandbox mode" in pages.render("error.html.j2", path="/x", **context)
    assert "Sandbox mode" not in production.render("error.html.j2", path="/x", **context)


def test_the_sandbox_does_not_sign_with_the_name_of_a_provider(
    static: StaticTree, pages: Pages, full_studio: dict[str, Any]
) -> None:
    production = Pages(static=static, clock=FixedClock(NOW), sandbox=Simulated(), sells=True)
    assert " by OpenAI</span>" in production.render("studio.html.j2", path="/studio", **full_studio)
    sandboxed = pages.render("studio.html.j2", path="/studio", **full_studio)
    assert " by the sandbox</span>" in sandboxed
    assert "OpenAI" not in sandboxed
