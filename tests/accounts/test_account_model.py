"""What is accepted as an address and a password, and who counts as one guesser."""

import pytest

from visiona.accounts.model import AccountSettings, attempt_limits
from visiona.core.client import ClientInfo
from visiona.core.errors import Invalid
from visiona.passwords.model import (
    COMMON_PASSWORDS,
    PASSWORD_MIN_LENGTH,
    new_credentials,
    normalized_email,
    presented_credentials,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada@example.com", "ada@example.com"),
        ("  Ada.Lovelace+clone@Example.COM \n", "ada.lovelace+clone@example.com"),
        ("o'neil@example.co.uk", "o'neil@example.co.uk"),
        ("ada@localhost", "ada@localhost"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@BU\u0308CHER.example", "ada@xn--bcher-kva.example"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
    ],
)
def test_address_is_normalized(text: str, expected: str) -> None:
    assert normalized_email(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@example",
        "ada@@example.com",
        "ada@b@example.com",
        "ada lovelace@example.com",
        "ada@exa mple.com",
        "ada\n@example.com",
        "ada\x00@example.com",
        "ada@example.com\r\nBcc: x@example.com",
        ".ada@example.com",
        "ada.@example.com",
        "a..da@example.com",
        "ädä@example.com",
        "ada@.example.com",
        "ada@example.com.",
        "ada@example..com",
        "ada@-example.com",
        "ada@exa_mple.com",
        "ada@127.0.0.1",
        "ada@[127.0.0.1]",
        "ada@faß.example",  # would silently become fass.example
        "ada@\uff45xample.com",
        "ada@\ud800.com",
        "ada@" + "ü" * 80 + ".com",
        "a" * 65 + "@example.com",
        "ada@" + "a" * 64 + ".com",
        "ada@" + "abcdefg." * 31 + "com",
    ],
)
def test_address_is_refused(text: str) -> None:
    assert normalized_email(text) is None


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "too_short"),
        ("ninechars", "too_short"),
        ("e\u0301" * 9, "too_short"),
        ("x" * 201, "too_long"),
        ("password123", "too_common"),
        ("PassWord123", "too_common"),
        ("ada.lovelace@example.com", "same_as_email"),
        ("Ada.Lovelace", "same_as_email"),
        ("lone surrogate \ud800", "invalid_characters"),
    ],
)
def test_new_password_is_refused(password: str, code: str) -> None:
    with pytest.raises(Invalid) as raised:
        new_credentials("Ada.Lovelace@example.com", password)
    assert raised.value.code == "invalid_input"
    assert [(e.field, e.code) for e in raised.value.errors] == [("password", code)]
    assert not password or password not in str(raised.value.errors)


@pytest.mark.parametrize("password", ["ten chars!", "x" * 200, "  spaces count  ", "пароль из слов"])
def test_new_password_is_accepted_as_it_is(password: str) -> None:
    assert new_credentials("ada@example.com", password).password == password


def test_equivalent_spellings_of_a_password_are_one() -> None:
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
    one, other = (presented_credentials("ada@example.com", p) for p in (composed, decomposed))
    assert one == other
    assert presented_credentials("ada@example.com", "\u2460 caf\u00e9").password == "\u2460 café"


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(Invalid) as raised:
        new_credentials("nobody", "short")
    assert [(e.field, e.code) for e in raised.value.errors] == [
        ("email", "invalid_email"),
        ("password", "too_short"),
    ]


def test_logging_in_does_not_apply_the_rules_for_new_passwords() -> None:
    assert presented_credentials("ada@example.com", "old").password == "old"
    for password in ("", "x" * 201, "\ud800"):
        with pytest.raises(Invalid):
            presented_credentials("ada@example.com", password)


def test_common_passwords_are_those_that_would_pass_otherwise() -> None:
    assert all(len(p) >= PASSWORD_MIN_LENGTH and p == p.casefold() for p in COMMON_PASSWORDS)
    assert len(COMMON_PASSWORDS) > 90


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_neighbours_share_a_network(address: str, network: str) -> None:
    assert ClientInfo(address, "").network == network


def test_limits_tell_pairs_networks_and_addresses_apart() -> None:
    def keys(address: str, email: str, secret: bytes = b"secret") -> list[bytes]:
        return [limit.key for limit in attempt_limits(secret, ClientInfo(address, ""), email)]

    pair, network, email = keys("192.0.2.1", "ada@example.com")
    assert len({pair, network, email}) == 3
    assert keys("192.0.2.9", "ada@example.com") == [pair, network, email]
    assert keys("192.0.2.1", "bob@example.com")[1] == network
    assert keys("198.51.100.1", "ada@example.com")[2] == email
    assert not set(keys("198.51.100.1", "bob@example.com")) & {pair, network, email}
    assert not set(keys("192.0.2.1", "ada@example.com", b"other")) & {pair, network, email}


def test_a_browsers_name_is_made_safe_to_store() -> None:
    assert ClientInfo("", "Moz\x00illa\r\n\ud800" + "x" * 300).label == "Mozilla" + "x" * 193


def test_settings_keep_their_secrets() -> None:
    settings = AccountSettings(("-----BEGIN PRIVATE KEY-----",), "issuer", b"throttle secret")
    assert "PRIVATE" not in repr(settings)
    assert "throttle secret" not in repr(settings)
