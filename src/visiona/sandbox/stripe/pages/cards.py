"""The card form: what is typed into it, what is wrong with that, and the test cards to choose from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from visiona.sandbox.stripe.engine.outcomes import Card, Declined
from visiona.sandbox.stripe.pages.countries import COUNTRIES

_EXPIRY: Final = re.compile(r"(\d{1,2})\s*[/.\-\s]\s*(\d{4}|\d{2})|(\d{2})(\d{4}|\d{2})")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

# Which field a refused card's message belongs to; other refusals are about no field in particular.
_FIELD_OF_CODE: Final[Mapping[str, str]] = {
    "incorrect_number": "number",
    "invalid_number": "number",
    "expired_card": "expiry",
    "invalid_expiry_month": "expiry",
    "invalid_expiry_year": "expiry",
    "incorrect_cvc": "cvc",
    "invalid_cvc": "cvc",
}


@dataclass(frozen=True, slots=True)
class SampleCard:
    """A test card that one click types in."""

    key: str
    label: str
    number: str
    expiry: str = "12 / 34"
    cvc: str = "123"
    name: str = "Test Cardholder"


SAMPLES: Final = (
    SampleCard("success", "Succeeds", "4242 4242 4242 4242"),
    SampleCard("declined", "Declined", "4000 0000 0000 0002"),
    SampleCard("insufficient-funds", "Insufficient funds", "4000 0000 0000 9995"),
    SampleCard("challenge", "3-D Secure", "4000 0025 0000 3155"),
    SampleCard("fails-later", "Fails later", "4000 0000 0000 0341"),
    SampleCard("disputed", "Disputed", "4000 0000 0000 0259"),
)


@dataclass(slots=True)
class CardForm:
    """The fields as they were typed."""

    number: str = ""
    expiry: str = ""
    cvc: str = ""
    name: str = ""
    country: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Mistakes:
    """`summary` stands above the form; `fields` holds a sentence for each field that is wrong."""

    summary: str
    fields: Mapping[str, str]


def sample_form(key: str, country: str) -> CardForm:
    """The form with a test card typed in, or empty for a key that names none."""
    for sample in SAMPLES:
        if sample.key == key:
            return CardForm(sample.number, sample.expiry, sample.cvc, sample.name, country)
    return CardForm(country=country)


def read_card(form: CardForm, *, needs_email: bool = False) -> Card | Mistakes:
    """The card that was typed in; whether the bank takes it is the engine's to say."""
    number = re.sub(r"[\s-]", "", form.number)
    month, year = _month_and_year(form.expiry)
    wrong = {
        "email": _mistake_in_email(form.email) if needs_email else "",
        "number": _mistake_in_number(number),
        "expiry": _mistake_in_expiry(form.expiry, month),
        "cvc": _mistake_in_cvc(form.cvc.strip()),
        "name": "" if form.name.strip() else "Enter the name on the card.",
        "country": "" if form.country in COUNTRIES else "Choose a country from the list.",
    }
    fields = {field: sentence for field, sentence in wrong.items() if sentence}
    if fields:
        return Mistakes("Check the fields that are marked below.", fields)
    return Card(number, month, year, form.cvc.strip(), form.name.strip())


def mistakes_of(declined: Declined) -> Mistakes:
    """A refusal by the bank, beside the field that it is about where there is one."""
    field = _FIELD_OF_CODE.get(declined.code)
    return Mistakes(declined.message, {field: declined.message} if field else {})


def _month_and_year(expiry: str) -> tuple[int, int]:
    """Zeros where the text is no month and year."""
    found = _EXPIRY.fullmatch(expiry.strip())
    if found is None:
        return 0, 0
    year = int(found[2] or found[4])
    return int(found[1] or found[3]), year if year > 99 else 2000 + year


def _mistake_in_email(email: str) -> str:
    return "" if _EMAIL.fullmatch(email.strip()) else "Enter your e-mail address."


def _mistake_in_number(number: str) -> str:
    if not number:
        return "Enter the card number."
    if not number.isascii() or not number.isdigit():
        return "A card number has digits only."
    return "" if 12 <= len(number) <= 19 else "This card number is not complete."


def _mistake_in_expiry(expiry: str, month: int) -> str:
    if not expiry.strip():
        return "Enter the expiry date."
    return "" if 1 <= month <= 12 else "Enter month and year, like 12 / 34."


def _mistake_in_cvc(cvc: str) -> str:
    if not cvc:
        return "Enter the security code."
    return "" if cvc.isascii() and cvc.isdigit() and len(cvc) in {3, 4} else "This has three or four digits."
