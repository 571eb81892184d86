"""The pages with people and pictures that do not exist, and a reader of their markup."""

from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from tests.web import records, signing_in
from tests.web.plans import (
    CATALOGUE,
    DEAR_CATALOGUE,
    UNPAID,
    invoice,
    ledger,
    overview,
    quota_of,
    reader,
    subscription,
    view,
)

from visiona.core.clock import FixedClock
from visiona.entrypoints.api.payment import invoice_view
from visiona.entrypoints.api.privacy import erasure_view
from visiona.entrypoints.web.history import history
from visiona.entrypoints.web.offers import cards, has_choice, most_saved, with_a_way_up
from visiona.entrypoints.web.passkey_place import PasskeyPlace
from visiona.entrypoints.web.privacy_pages import CAUSE_WORDS, STEP_WORDS
from visiona.entrypoints.web.receipt_words import ReceiptWords
from visiona.entrypoints.web.rendering import Flash, Pages, Simulated, StaticTree
from visiona.entrypoints.web.standing import standing
from visiona.ports.payments import InvoiceStatus, SubscriptionStatus
from visiona.ports.provenance import Credentials, Finding, Signer
from visiona.privacy.model import STEPS

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=alert(1)> KATVIS \"'"

FINDINGS = [
    Finding(
        credentials=credentials,
        signer=signer,
        signer_name=HOSTILE if signer else "",
        generator=HOSTILE if signer else "",
        signed_as_ai=signer is not None,
        labelled_as_ai=credentials is Credentials.CHANGED,
        watermarked=signer is Signer.OURS,
    )
    for credentials, signer in (
        *((Credentials.VALID, signer) for signer in Signer),
        *((state, None) for state in Credentials if state is not Credentials.VALID),
    )
]
USER = {"id": 7, "email": "ana@example.org", "plan": "free", "created_at": "2026-10-01T08:00:00Z"}
QUOTA = {
    "images": {"used": 23, "limit": 1030},
    "clones": {"used": 1, "limit": 1},
    "period_end": "2026-12-01T00:00:00Z",
}
SIGNED_IN: dict[str, Any] = {
    "user": USER,
    "quota": QUOTA,
    "plan_title": "Free",
    "upgradable": with_a_way_up(CATALOGUE),
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
    base |= {"consented": True, "others": [{"id": "c1", "label": HOSTILE}]}
    return {**SIGNED_IN, "limits": LIMITS, **base, **changes}


def gallery(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"images": [], "models": [], "next_cursor": None, "order": "newest"}
    return {**SIGNED_IN, "model_id": None, **base, **changes}


def pricing(who: Any = None, **changes: Any) -> dict[str, Any]:
    """For a visitor, or for a reader who is signed in."""
    shown = cards(view(), who, CATALOGUE)
    base: dict[str, Any] = {
        "plans": shown,
        "choice": has_choice(shown),
        "saving": most_saved(shown),
        "interval": "month",
        "left": False,
        "problem": None,
        "unlisted": None,
        "subscribed": who is not None and who.subscription is not None,
    }
    return {**(SIGNED_IN if who else {}), **base, **changes}


def billing(found: Any, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "standing": standing(found, quota_of("free"), CATALOGUE, sells=True),
        "problem": found.problem,
        "customer": found.is_customer,
        "invoices": [],
        "earlier": None,
        "paged": False,
        "history": [],
        "arrival": None,
        "tried": 0,
    }
    return {**SIGNED_IN, **base, **changes}


def support(**changes: Any) -> dict[str, Any]:
    return {"until": None, "hours": (1, 8, 24, 72), "administrator": False, **changes}


def people(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"people": [], "earlier": 12, "paged": True, "q": "", "list": "newest"}
    return {**SIGNED_IN, **base, **changes}


def person(record: Any, *, fresh: bool = True) -> dict[str, Any]:
    return {**SIGNED_IN, **records.person_page(record, fresh=fresh)}


def copy_of(state: str, **changes: Any) -> dict[str, Any]:
    """A copy of somebody's data, as in the API."""
    base = {"id": 3, "state": state, "progress": 0, "size": None, "sha256": None, "expires_at": None}
    return {**base, "created_at": "2026-11-23T11:00:00Z", "finished_at": None, **changes}


READY = {"size": 52_400_000, "finished_at": "2026-11-23T11:05:00Z", "expires_at": "2026-11-30T11:05:00Z"}
COPIES = {
    "being made": [copy_of("queued")],
    "half made, ready and failed": [
        copy_of("running", progress=47),
        copy_of("ready", progress=100, **READY),
        copy_of("failed", finished_at="2026-11-23T11:05:00Z", expires_at="2026-11-30T11:05:00Z"),
    ],
}


def privacy(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "erasure": None,
        "exports": [],
        "export_days": 7,
        "grace_days": 7,
        "invoice_years": 10,
    }
    return {**SIGNED_IN, **base, **changes}


def erasures(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "running": records.ERASURES,
        "over": records.ENDED,
        "steps": STEPS,
        "step_words": STEP_WORDS,
        "cause_words": CAUSE_WORDS,
        "now": NOW,
        "earlier": 4,
        "paged": False,
    }
    return {**SIGNED_IN, **base, **changes}


def said(words: ReceiptWords, *, valid: bool) -> dict[str, Any]:
    return {"code": "6f1d", "over": True, "words": words, "valid": valid}


_FORM_ERRORS = [{"field": "password", "code": "too_short", "message": "Use at least 10 characters."}]
_PLANS = cards(view(), None, CATALOGUE)
_INVOICES = [invoice_view(invoice(InvoiceStatus.OPEN, number=None)), invoice_view(invoice(number=HOSTILE))]
_LEAVING = subscription(cancel_at=datetime(2026, 12, 10, tzinfo=UTC))
_RUNS = [
    run("succeeded", "enhanced", [IMAGE]),
    run("running", "pending", []),
    run("failed", "unavailable", []),
    run("canceled", "not_requested", []),
]

# Every page in every state that its template tells apart: (template, path, context).
PAGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "landing": ("landing.html.j2", "/", {"limits": LIMITS, "plans": _PLANS}),
    "landing, signed in": ("landing.html.j2", "/", {"limits": LIMITS, "plans": _PLANS, **SIGNED_IN}),
    "sign-up": (
        "signup.html.j2",
        "/signup",
        {"form": {"email": "", "next": ""}, "errors": [], "detail": None},
    ),
    **signing_in.pages(SIGNED_IN),
    "log-in, refused": (
        "login.html.j2",
        "/login",
        {
            "form": {"email": HOSTILE, "next": HOSTILE},
            "errors": _FORM_ERRORS,
            "detail": HOSTILE,
            "notice": Flash("good", HOSTILE),
            "passkeys": PasskeyPlace(usable=True),
        },
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
    "account": ("account.html.j2", "/account", {**SIGNED_IN, **signing_in.OVERVIEW, "support": support()}),
    "account, hosted": (
        "account.html.j2",
        "/account",
        {**SIGNED_IN, **signing_in.HOSTED_OVERVIEW, "support": support()},
    ),
    "account, support allowed": (
        "account.html.j2",
        "/account",
        {**SIGNED_IN, **signing_in.FULL_OVERVIEW, "support": support(until=NOW, administrator=True)},
    ),
    "account, history": (
        "account_history.html.j2",
        "/account/history",
        {**SIGNED_IN, "lines": records.LINES, "earlier": 1, "paged": True},
    ),
    "account, empty history": (
        "account_history.html.j2",
        "/account/history",
        {**SIGNED_IN, "lines": [], "earlier": None, "paged": False},
    ),
    "admin, people": (
        "admin/people.html.j2",
        "/admin",
        people(people=[records.line(one) for one in (records.FULL, records.SUSPENDED, records.COLLEAGUE)]),
    ),
    "admin, nobody": ("admin/people.html.j2", "/admin", people(q=HOSTILE, list="", earlier=None)),
    "admin, acts": (
        "admin/acts.html.j2",
        "/admin/acts",
        {
            **SIGNED_IN,
            "lines": records.ACTS,
            "chosen": {"who": records.HOSTILE, "action": "admin.", "since": "2026-01-01", "until": ""},
            "query": "action=admin.&since=2026-01-01",
            "actions": [("", "Everything"), ("admin.", "What administrators did and saw")],
            "earlier": 1,
            "paged": True,
        },
    ),
    "admin, full person": ("admin/person.html.j2", "/admin/users/12", person(records.FULL)),
    "admin, new person": ("admin/person.html.j2", "/admin/users/12", person(records.BARE)),
    "admin, suspended person": ("admin/person.html.j2", "/admin/users/13", person(records.SUSPENDED)),
    "admin, colleague": ("admin/person.html.j2", "/admin/users/14", person(records.COLLEAGUE)),
    "admin, to confirm": ("admin/person.html.j2", "/admin/users/12", person(records.FULL, fresh=False)),
    "admin, content": (
        "admin/content.html.j2",
        "/admin/users/12/content",
        {**SIGNED_IN, "person": records.FULL, "content": records.CONTENT, "earlier": 70, "paged": True},
    ),
    "admin, no content": (
        "admin/content.html.j2",
        "/admin/users/12/content",
        {**SIGNED_IN, "person": records.FULL, "content": [], "earlier": None, "paged": False},
    ),
    "admin, erasures": ("admin/erasures.html.j2", "/admin/erasures", erasures(paged=True)),
    "admin, no erasures": ("admin/erasures.html.j2", "/admin/erasures", erasures(running=[], over=[])),
    "privacy": ("privacy.html.j2", "/account/privacy", privacy()),
    **{
        f"privacy, copies, {name}": ("privacy.html.j2", "/account/privacy", privacy(exports=exports))
        for name, exports in COPIES.items()
    },
    "privacy, no grace": ("privacy.html.j2", "/account/privacy", privacy(grace_days=0)),
    **{
        f"privacy, {one.state}": (
            "privacy.html.j2",
            "/account/privacy",
            privacy(erasure=msgspec.to_builtins(erasure_view(one)), leaving=one),
        )
        for one in records.ERASURES[:2]
    },
    **{
        f"account, history, {one.state}": (
            "account_history.html.j2",
            "/account/history",
            {**SIGNED_IN, "lines": [], "earlier": None, "paged": False, "leaving": one},
        )
        for one in records.ERASURES[:2]
    },
    "receipt": ("receipt.html.j2", "/receipts/x", said(records.RECEIPT, valid=True)),
    "receipt, odd": ("receipt.html.j2", "/receipts/x", said(records.ODD_RECEIPT, valid=False)),
    "receipt, waiting": ("receipt.html.j2", "/receipts/x", {"code": "x", "over": False}),
    "check, empty": ("check.html.j2", "/check", {"found": None, "detail": None, "max_mb": 25}),
    "check, refused": ("check.html.j2", "/check", {"found": None, "detail": HOSTILE, "max_mb": 25}),
    **{
        f"check, {found.credentials}, {found.signer}": (
            "check.html.j2",
            "/check",
            {**SIGNED_IN, "found": found, "detail": None, "max_mb": 25},
        )
        for found in FINDINGS
    },
    "pricing, visitor": ("pricing.html.j2", "/pricing", pricing()),
    "pricing, free": ("pricing.html.j2", "/pricing", pricing(reader(), left=True)),
    "pricing, subscribed": (
        "pricing.html.j2",
        "/pricing",
        pricing(reader(subscription(next_plan="premium")), problem=UNPAID, unlisted=HOSTILE),
    ),
    "pricing, one way to pay": (
        "pricing.html.j2",
        "/pricing",
        pricing(plans=cards(view(DEAR_CATALOGUE), reader(), DEAR_CATALOGUE), choice=False, saving=0),
    ),
    "billing, new": ("billing.html.j2", "/billing", billing(overview())),
    "billing, subscribed": (
        "billing.html.j2",
        "/billing",
        billing(
            overview(subscription()),
            invoices=_INVOICES,
            earlier=HOSTILE,
            paged=True,
            history=history(ledger(), CATALOGUE, NOW, 20),
            arrival="ready",
        ),
    ),
    "billing, waiting": ("billing.html.j2", "/billing", billing(overview(customer=True), arrival="waiting")),
    "billing, slow": ("billing.html.j2", "/billing", billing(overview(customer=True), arrival="slow")),
    "billing, leaving": ("billing.html.j2", "/billing", billing(overview(_LEAVING), arrival="changed")),
    "billing, past due": (
        "billing.html.j2",
        "/billing",
        billing(overview(subscription(SubscriptionStatus.PAST_DUE), problem=UNPAID)),
    ),
    "error": (
        "error.html.j2",
        "/nowhere",
        {"status": 404, "title": "Not Found", "detail": HOSTILE, "request_id": None},
    ),
}


VOID = {"area", "br", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Markup(HTMLParser):
    """The start tags of a page, as (tag, attributes), with the text inside each script and inside each
    element that tests know by name.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.named: list[tuple[str, list[str]]] = []
        self._in_script = False
        self._open: list[tuple[str, list[str] | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        name = dict(attrs).get("data-testid")
        texts: list[str] | None = None
        if name is not None and "template" not in [other for other, _ in self._open]:
            texts = []
            self.named.append((name, texts))
        if tag not in VOID:
            self._open.append((tag, texts))
        if tag == "script":
            self._in_script = True
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        while tag not in VOID and self._open and self._open.pop()[0] != tag:
            continue
        if tag == "script":
            self._in_script = False

    def handle_data(self, data: str) -> None:
        for _, texts in self._open:
            if texts is not None:
                texts.append(data)
        if self._in_script:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)

    def text(self, name: str) -> str:
        """What the only element of this name says, in one line."""
        found = [" ".join("".join(texts).split()) for other, texts in self.named if other == name]
        assert len(found) == 1, (name, found)
        return found[0]

    def has(self, name: str) -> bool:
        return any(other == name for other, _ in self.named)

    def element(self, name: str) -> dict[str, str | None]:
        """The attributes of the only element of this name."""
        (found,) = [attributes for _, attributes in self.tags if attributes.get("data-testid") == name]
        return found

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]


@pytest.fixture(scope="session")
def static() -> StaticTree:
    return StaticTree()


@pytest.fixture(scope="session")
def pages(static: StaticTree) -> Pages:
    sandbox = Simulated(images=True, prompts=True, payments=True)
    return Pages(static=static, clock=FixedClock(NOW), sandbox=sandbox, sells=True)


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
