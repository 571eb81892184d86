"""Codes, secrets and challenges without a database."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pyotp
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from visiona.core.errors import Invalid
from visiona.factors.model import (
    CHALLENGE_TTL,
    RECOVERY_ALPHABET,
    Challenges,
    FactorSettings,
    PasskeyRefused,
    Purpose,
    SecretUnreadable,
    SignCounter,
    matching_step,
    new_recovery_codes,
    new_totp,
    open_secret,
    opened_old,
    passkey_name,
    recovery_hash,
    recovery_symbols,
    seal_secret,
    totp_digits,
    user_handle,
)
from visiona.vault.model import Cipher, new_key

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def test_a_code_is_good_in_its_own_step_and_in_those_beside_it() -> None:
    secret = pyotp.random_base32()
    step = int(NOON.timestamp()) // 30
    digits = pyotp.TOTP(secret).at(NOON)
    assert [
        matching_step(secret, digits, NOON + timedelta(seconds=s)) for s in (-31, -30, 0, 29, 30, 59, 60)
    ] == [None, step, step, step, step, step, None]


def test_codes_are_those_of_rfc_6238() -> None:
    """Its test vector for SHA-1 at 59 s, of which six digits are shown."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert matching_step(secret, "287082", datetime.fromtimestamp(59, UTC)) == 1


@pytest.mark.parametrize(
    ("typed", "digits"),
    [
        ("123456", "123456"),
        (" 123 456\n", "123456"),
        ("123-456", "123456"),
        ("12345", None),
        ("1234567", None),
        ("\N{FULLWIDTH DIGIT ONE}23456", None),
        ("\N{ARABIC-INDIC DIGIT ONE}23456", None),
        ("", None),
        ("12345a", None),
    ],
)
def test_digits_are_read_as_people_type_them(typed: str, digits: str | None) -> None:
    assert totp_digits(typed) == digits


def test_the_qr_code_needs_nothing_but_itself() -> None:
    setup = new_totp("ana+me@example.com", "Visiona")
    assert pyotp.parse_uri(setup.uri).secret == setup.secret
    assert len(setup.secret) == 32
    assert setup.uri.startswith("otpauth://totp/Visiona:ana%2Bme%40example.com?")
    root = ET.fromstring(setup.qr_svg)  # noqa: S314 - written by us
    assert root.tag == f"{SVG}svg"
    assert {element.tag for element in root} == {f"{SVG}path"}
    names = {name for element in root.iter() for name in element.attrib}
    assert names <= {"viewBox", "fill", "stroke", "d"}
    assert setup.secret not in setup.qr_svg


def test_two_set_ups_have_nothing_in_common() -> None:
    assert new_totp("a", "Visiona").secret != new_totp("a", "Visiona").secret


def test_recovery_codes_carry_fifty_bits_in_letters_that_are_not_mistaken() -> None:
    assert len(set(RECOVERY_ALPHABET)) == 32
    assert not set(RECOVERY_ALPHABET) & set("01lo")
    codes = new_recovery_codes()
    assert len(set(codes)) == 10
    assert all(re.fullmatch(f"[{RECOVERY_ALPHABET}]{{5}}-[{RECOVERY_ALPHABET}]{{5}}", code) for code in codes)


@pytest.mark.parametrize("typed", ["abcde-23456", "ABCDE 23456", " abcde23456 ", "ab cd-e2 34-56"])
def test_recovery_codes_are_read_as_people_type_them(typed: str) -> None:
    assert recovery_symbols(typed) == "abcde23456"


@pytest.mark.parametrize("typed", ["", "123456", "abcde-2345", "abcde-234567", "abcde-2345o", "abcde-2345\0"])
def test_what_is_no_recovery_code_is_not_taken_for_one(typed: str) -> None:
    assert recovery_symbols(typed) is None


def test_a_recovery_code_is_hashed_for_its_owner_and_this_server() -> None:
    hashes = {recovery_hash(key, user, "abcde23456") for key in (b"a" * 32, b"b" * 32) for user in (1, 2)}
    assert len(hashes) == 4


def test_a_secret_is_readable_for_its_owner_under_their_key_only() -> None:
    key = new_key()
    cipher = Cipher(7, key)
    sealed = seal_secret(cipher, "SECRET")
    assert b"SECRET" not in sealed
    assert open_secret(cipher, sealed) == "SECRET"
    for other, data in (
        (Cipher(8, key), sealed),
        (Cipher(7, new_key()), sealed),
        (cipher, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (cipher, cipher.seal("passkeys.name", "SECRET")),
    ):
        with pytest.raises(SecretUnreadable):
            open_secret(other, data)


def test_a_secret_from_before_people_had_keys_is_opened_by_the_servers_key() -> None:
    """By an older one of its keys, too; what none of them opens stays marked, and is no secret."""
    key, nonce = b"k" * 32, b"n" * 12
    marked = b"\x01" + nonce + AESGCM(key).encrypt(nonce, b"SECRET", b"visiona totp 7")
    assert opened_old([key], 7, marked) == opened_old([b"x" * 32, key], 7, marked) == b"SECRET"
    assert opened_old([b"x" * 32], 7, marked) == opened_old([key], 8, marked) == marked
    cipher = Cipher(7, new_key())
    with pytest.raises(SecretUnreadable):
        open_secret(cipher, cipher.seal_bytes("totp_secrets.secret", marked))


@pytest.mark.parametrize("keys", [(), (b"c" * 31,), (b"c" * 32, b"c" * 31)])
def test_short_keys_are_refused(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        FactorSettings(keys, "visiona.example", "Visiona", ())


def test_settings_do_not_show_their_keys() -> None:
    assert "eee" not in repr(FactorSettings((b"e" * 32,), "visiona.example", "Visiona", ()))


def test_a_challenge_lives_five_minutes() -> None:
    challenges = Challenges(b"c" * 32)
    challenge = challenges.issue(Purpose.LOG_IN, None, NOON)
    assert challenges.end_of(challenge, Purpose.LOG_IN, None, NOON) == NOON + CHALLENGE_TTL
    last = NOON + CHALLENGE_TTL - timedelta(seconds=1)
    assert challenges.end_of(challenge, Purpose.LOG_IN, None, last) == NOON + CHALLENGE_TTL
    with pytest.raises(PasskeyRefused, match="late"):
        challenges.end_of(challenge, Purpose.LOG_IN, None, NOON + CHALLENGE_TTL)


def test_a_challenge_is_for_one_purpose_one_person_and_this_server() -> None:
    challenges = Challenges(b"c" * 32)
    challenge = challenges.issue(Purpose.CONFIRM, 7, NOON)
    later = challenge[:24] + (2**40).to_bytes(8, "big") + challenge[32:]
    for judge, said, purpose, user_id in (
        (challenges, challenge, Purpose.LOG_IN, 7),
        (challenges, challenge, Purpose.CONFIRM, 8),
        (challenges, challenge, Purpose.CONFIRM, None),
        (Challenges(b"d" * 32), challenge, Purpose.CONFIRM, 7),
        (challenges, later, Purpose.CONFIRM, 7),
        (challenges, challenge[:-1], Purpose.CONFIRM, 7),
        (challenges, challenge + b"\0", Purpose.CONFIRM, 7),
        (challenges, b"", Purpose.CONFIRM, 7),
    ):
        with pytest.raises(PasskeyRefused, match="another challenge"):
            judge.end_of(said, purpose, user_id, NOON)


def test_challenges_are_never_alike() -> None:
    challenges = Challenges(b"c" * 32)
    assert len({challenges.issue(Purpose.LOG_IN, None, NOON) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("stored", "reported", "synced", "back"),
    [
        (0, 0, False, False),
        (0, 1, False, False),
        (5, 6, False, False),
        (5, 9, False, False),
        (5, 5, False, True),
        (5, 4, False, True),
        (5, 0, False, True),
        (5, 4, True, False),
        (5, 0, True, False),
    ],
)
def test_a_counter_that_goes_back_tells_of_a_copy(
    stored: int, reported: int, synced: bool, back: bool
) -> None:
    counter = SignCounter(passkey_id=1, count=stored, synced=synced)
    assert counter.went_back(reported) is back


@pytest.mark.parametrize(
    ("typed", "code"),
    [("", "required"), (" \n", "required"), ("x" * 61, "too_long"), ("a\0b", "invalid_characters")],
)
def test_a_passkeys_name_says_something(typed: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        passkey_name(typed)
    assert [(error.field, error.code) for error in caught.value.errors] == [("name", code)]


def test_a_passkeys_name_is_one_line() -> None:
    assert passkey_name("  Ana's \n phone ") == "Ana's phone"


def test_a_user_handle_tells_nothing_and_stays() -> None:
    assert len(user_handle(1)) == 32
    assert user_handle(1) == user_handle(1) != user_handle(2)
