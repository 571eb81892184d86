"""What holds for every page in every state: it runs under the strict policy, escapes, and is operable."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from visiona.entrypoints.web.rendering import StaticTree

Read = Callable[[str], Any]


def test_nothing_is_inline(page: str, read: Read) -> None:
    markup = read(page)
    handlers = [name for _, attributes in markup.tags for name in attributes if name.startswith("on")]
    assert handlers == []
    assert markup.values("style") == []
    assert "style" not in [tag for tag, _ in markup.tags]
    assert [
        text for attributes, text in markup.scripts if attributes.get("type") != "application/json" and text
    ] == []


def test_nothing_comes_from_elsewhere(page: str, read: Read, static: StaticTree) -> None:
    markup = read(page)
    addresses = (
        markup.values("src") + markup.values("href") + markup.values("srcset") + markup.values("action")
    )
    assert [address for address in addresses if not address.startswith(("/", "#"))] == []
    assert [address for address in addresses if address.startswith("//")] == []
    for address in addresses:
        if address.startswith("/static/"):
            assert (static.root / address.removeprefix(f"{static.mount}/")).is_file()


def test_what_people_wrote_stays_text(page: str, read: Read) -> None:
    assert "<img src=x" not in page
    for attributes, text in read(page).scripts:
        if attributes.get("type") == "application/json":
            assert json.loads(text)


def test_one_heading_and_the_landmarks(page: str, read: Read) -> None:
    count = Counter(tag for tag, _ in read(page).tags)
    assert count["h1"] == 1
    assert count["main"] == 1
    assert count["header"] == 1
    assert count["footer"] == 1


def test_ids_are_unique_and_references_lead_somewhere(page: str, read: Read) -> None:
    markup = read(page)
    ids = Counter(markup.values("id"))
    assert [name for name, times in ids.items() if times > 1] == []
    references = markup.values("for")
    for attribute in ("aria-describedby", "aria-labelledby", "aria-controls"):
        references += [name for value in markup.values(attribute) for name in value.split()]
    assert [name for name in references if name not in ids] == []


def test_every_picture_has_words_and_every_input_a_name(page: str, read: Read) -> None:
    markup = read(page)
    assert [attributes for tag, attributes in markup.tags if tag == "img" and "alt" not in attributes] == []
    labelled = set(markup.values("for"))
    for tag, attributes in markup.tags:
        if tag in ("textarea", "select") or (tag == "input" and "id" in attributes):
            assert attributes["id"] in labelled or attributes.get("role") == "switch"


def test_no_input_has_the_name_of_another_as_its_id(page: str, read: Read) -> None:
    """`form.elements` finds by id as well as by name: one input of each gives a list of both."""
    fields = [attributes for tag, attributes in read(page).tags if tag in ("input", "select", "textarea")]
    names = {field["name"] for field in fields if "name" in field}
    assert [f for f in fields if f.get("id") in names and f["id"] != f.get("name")] == []
