"""What mails say, when they are worth sending, and the links in them."""

import uuid
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiona.mail.model import (
    Kind,
    LinkTokens,
    Mail,
    SealedAddress,
    compose,
    is_pointless,
    lifetime,
    link_path,
    pause_after,
)

ORIGIN = "https://visiona.example"
LINK = f"{ORIGIN}/verify?token=abc"
DETAILS: dict[Kind, dict[str, Any]] = {
    Kind.RECOVERY_CODES_USED: {"left": 2},
    Kind.TRIAL_ENDS: {"date": "2026-12-03", "amount": "$39.00"},
    Kind.PAYMENT_FAILED: {"amount": "$39.00", "next_attempt": "2026-12-05T10:00:00Z"},
    Kind.COST_CAP_REACHED: {"cap": "100", "date": "2026-11-23"},
    Kind.EXPORT_READY: {"day": "2026-12-03"},
    Kind.ERASURE_ASKED: {"receipt": "0193c0de-0000-7000-8000-000000000001", "day": "2026-12-03"},
    Kind.ERASURE_BEGINS: {"receipt": "0193c0de-0000-7000-8000-000000000001"},
}
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Reader(HTMLParser):
    """What a person sees of a page, where its links lead, and what else there is."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.links, self.tags = "", set[str](), set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links.update(value or "" for name, value in attrs if name in {"href", "src"})

    def handle_data(self, data: str) -> None:
        if self.lasttag not in {"style", "title"}:
            self.text += f" {data}"


def composed(kind: Kind, **details: Any) -> tuple[str, str, str]:
    link = LINK if link_path(kind) else None
    return compose(kind, details or DETAILS.get(kind, {}), link, ORIGIN)


@pytest.mark.parametrize("kind", Kind)
def test_text_and_html_say_the_same(kind: Kind) -> None:
    subject, text, html = composed(kind)
    page = Reader()
    page.feed(html)
    seen = " ".join(page.text.split())
    for paragraph in text.removesuffix("\n").split("\n\n"):
        for line in paragraph.splitlines():
            assert line.rstrip(":") in seen or line == "--", line
    assert 10 < len(subject) < 70
    assert page.links == {word for word in text.split() if word.startswith(ORIGIN) and "/" in word[8:]}
    # Nothing is loaded from anywhere, and nothing runs.
    assert page.tags.isdisjoint({"img", "script", "link", "iframe", "form"})


@pytest.mark.parametrize("kind", Kind)
def test_mails_look_after_dark_mode_and_phones(kind: Kind) -> None:
    _, _, html = composed(kind)
    assert '<meta name="color-scheme" content="light dark">' in html
    assert "prefers-color-scheme: dark" in html
    assert "width=device-width" in html


@pytest.mark.parametrize("kind", [kind for kind in Kind if link_path(kind)])
def test_a_link_is_there_and_needed(kind: Kind) -> None:
    _, text, html = composed(kind)
    assert LINK in text
    assert LINK in html
    with pytest.raises(ValueError, match="needs a link"):
        compose(kind, {}, None, ORIGIN)


@pytest.mark.parametrize("kind", DETAILS)
def test_details_are_needed(kind: Kind) -> None:
    with pytest.raises(ValueError, match="lacks details"):
        compose(kind, {}, None, ORIGIN)


@pytest.mark.parametrize(
    "kind",
    sorted(
        set(Kind)
        - {Kind.ACCOUNT_SUSPENDED, Kind.TRIAL_ENDS, Kind.PAYMENT_FAILED, Kind.SUBSCRIPTION_ENDED}
        - {Kind.IMAGE_TAKEN_DOWN, Kind.IMAGE_REPORTED, Kind.COST_CAP_REACHED}
        - {Kind.ERASURE_BEGINS}  # too late to stop; the mail of the asking says what to do
    ),
)
def test_mails_say_what_to_do_if_it_was_somebody_else(kind: Kind) -> None:
    assert "not" in composed(kind)[1].partition("If it was ")[2]


def test_the_facts_are_in_the_words() -> None:
    subject, text, _ = composed(Kind.TRIAL_ENDS)
    assert subject == "Your Visiona trial ends on 3 December 2026"
    assert "3 December 2026" in text
    assert "$39.00" in text
    assert "tried again on 5 December 2026" in composed(Kind.PAYMENT_FAILED)[1]
    assert "not tried again" in composed(Kind.PAYMENT_FAILED, amount="€9.00", next_attempt=None)[1]
    assert "30 minutes" in composed(Kind.RESET_PASSWORD)[1]
    receipt = DETAILS[Kind.ERASURE_ASKED]["receipt"]
    assert "From 3 December 2026 everything is deleted" in composed(Kind.ERASURE_ASKED)[1]
    assert receipt in composed(Kind.ERASURE_ASKED)[1]
    assert f"{ORIGIN}/receipts/{receipt}" in composed(Kind.ERASURE_BEGINS)[1]
    left = [composed(Kind.RECOVERY_CODES_USED, left=number)[1] for number in range(3)]
    assert ["None is left" in left[0], "One is left" in left[1], "2 are left" in left[2]] == [True] * 3


def test_details_cannot_become_html() -> None:
    _, _, html = composed(Kind.TRIAL_ENDS, date="2026-12-03", amount="<script>alert(1)</script>")
    assert "<script>" not in html


# When


def mail(kind: str = Kind.PASSWORD_CHANGED, **changes: Any) -> Mail:
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "user_id": 1,
        "kind": kind,
        "to": SealedAddress("users.email", b"sealed"),
        "user_status": "active",
        "reference": None,
        "details": {},
        "attempts": 2,
        "created_at": NOW,
    }
    return Mail(**values | changes)


@pytest.mark.parametrize("kind", Kind)
def test_who_is_still_written_to(kind: Kind) -> None:
    assert not is_pointless(mail(kind), NOW)
    assert is_pointless(mail(kind, to=None), NOW)
    assert is_pointless(mail(kind, user_status="deleted"), NOW)
    # Somebody who is suspended cannot follow a link, and is told the news.
    assert is_pointless(mail(kind, user_status="suspended"), NOW) == (link_path(kind) is not None)


def test_kinds_of_a_later_release_are_not_guessed() -> None:
    assert is_pointless(mail("something_new"), NOW)


def test_how_long_a_mail_is_tried() -> None:
    day, half_hour = timedelta(hours=24), timedelta(minutes=30)
    assert not is_pointless(mail(), NOW + day - timedelta(seconds=1))
    assert is_pointless(mail(), NOW + day)
    # News are news though no worker ran for days; a link that has expired is none.
    assert not is_pointless(mail(attempts=1), NOW + timedelta(days=3))
    assert is_pointless(mail(Kind.RESET_PASSWORD, attempts=1), NOW + half_hour)
    assert not is_pointless(mail(Kind.RESET_PASSWORD, attempts=1), NOW + half_hour - timedelta(seconds=1))


def test_pauses_grow_to_an_hour() -> None:
    pauses = [pause_after(attempt) for attempt in range(1, 40)]
    assert pauses[:3] == [timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=2)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=1)
    assert (
        20
        < sum(1 for n in range(1, 40) if sum(pauses[:n], timedelta()) < lifetime(Kind.PASSWORD_CHANGED))
        < 40
    )


# Links

TOKENS = LinkTokens(b"a secret of thirty-two bytes....")


@given(st.uuids())
def test_a_token_is_read_back(link_id: uuid.UUID) -> None:
    token = TOKENS.issue(link_id)
    assert len(token) == 48
    assert TOKENS.read(token) == link_id


@given(st.uuids(), st.integers(0, 47), st.characters(codec="utf-8"))
def test_a_token_with_another_character_is_none(link_id: uuid.UUID, place: int, character: str) -> None:
    token = TOKENS.issue(link_id)
    changed = token[:place] + character + token[place + 1 :]
    assert (TOKENS.read(changed) == link_id) == (changed == token)


@given(st.text(max_size=100))
def test_anything_else_is_no_token(text: str) -> None:
    assert TOKENS.read(text) is None


def test_a_token_is_of_its_secret() -> None:
    link_id = uuid.uuid4()
    token = TOKENS.issue(link_id)
    assert LinkTokens(b"another secret, thirty-two bytes").read(token) is None
    for spoilt in (token[:-1], f"{token}=", f" {token}", f"{token}\n", token.swapcase(), token + token):
        assert TOKENS.read(spoilt) is None
    with pytest.raises(ValueError, match="32 bytes"):
        LinkTokens(b"short")
