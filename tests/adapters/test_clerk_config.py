"""What the operator may say, and what follows from it."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.adapters.clerk_instance import pem_of

from visiona.adapters.clerk import ClerkConfig


def publishable(host: str, mode: str = "test") -> str:
    return f"pk_{mode}_" + base64.b64encode(f"{host}$".encode()).decode()


def config(**changes: Any) -> ClerkConfig:
    values: dict[str, Any] = {
        "secret_key": "sk_test_abc",
        "publishable_key": publishable("bright-newt-8.clerk.accounts.dev"),
        "authorized_parties": ("https://visiona.example",),
    }
    return ClerkConfig(**(values | changes))


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("host", "mode", "frontend", "accounts"),
    [
        (
            "bright-newt-8.clerk.accounts.dev",
            "test",
            "https://bright-newt-8.clerk.accounts.dev",
            "https://bright-newt-8.accounts.dev",
        ),
        (
            "clerk.visiona.example",
            "live",
            "https://clerk.visiona.example",
            "https://accounts.visiona.example",
        ),
        (
            "clerk.eu.visiona.example",
            "live",
            "https://clerk.eu.visiona.example",
            "https://accounts.eu.visiona.example",
        ),
        ("127.0.0.1:4011", "test", "http://127.0.0.1:4011", "http://127.0.0.1:4011"),
        ("localhost:4011", "test", "http://localhost:4011", "http://localhost:4011"),
    ],
)
def test_the_hosts_follow_from_the_publishable_key(
    host: str, mode: str, frontend: str, accounts: str
) -> None:
    made = config(publishable_key=publishable(host, mode), secret_key=f"sk_{mode}_abc")

    assert (made.frontend, made.accounts) == (frontend, accounts)
    assert made.development == (mode == "test")


def test_a_key_without_padding_is_read_too() -> None:
    assert config(publishable_key=publishable("a.clerk.accounts.dev").rstrip("=")).frontend.endswith("dev")


def test_given_addresses_win() -> None:
    made = config(frontend_url="https://id.visiona.example/", accounts_url="https://portal.visiona.example/")

    assert (made.frontend, made.accounts) == ("https://id.visiona.example", "https://portal.visiona.example")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"secret_key": ""}, "secret key must be"),
        ({"secret_key": "pk_test_abc"}, "secret key must be"),
        ({"secret_key": "sk_test_a b"}, "secret key must be"),
        ({"secret_key": "sk_test_abc\n"}, "secret key must be"),
        ({"secret_key": "sk_live_abc"}, "not of the same instance"),
        ({"publishable_key": ""}, "publishable key must be"),
        ({"publishable_key": "sk_test_abc"}, "publishable key must be"),
        ({"publishable_key": "pk_test_AAAA"}, "names no host"),
        ({"publishable_key": "pk_test_A"}, "names no host"),
        ({"publishable_key": "pk_test_" + base64.b64encode(b"clerk.x.example").decode()}, "names no host"),
        ({"publishable_key": publishable("evil.example/?")}, "names no host"),
        ({"publishable_key": publishable("")}, "names no host"),
        ({"publishable_key": publishable("id.visiona.example")}, "accounts URL does not follow"),
        ({"authorized_parties": ()}, "authorized parties"),
        ({"authorized_parties": ("https://visiona.example/",)}, "authorized parties"),
        ({"authorized_parties": ("*",)}, "authorized parties"),
        ({"base_url": "api.clerk.com"}, "base URL must be an http"),
        ({"base_url": "https://api.clerk.com/v1?x=1"}, "base URL must be an http"),
        ({"base_url": "http://api.clerk.com/v1"}, "base URL must be https"),
        ({"frontend_url": "http://clerk.visiona.example"}, "frontend URL must be https"),
        ({"frontend_url": "http://127.0.0.1.evil.example"}, "frontend URL must be https"),
        ({"accounts_url": "https://user@accounts.example"}, "accounts URL must be an http"),
        ({"jwt_key": ""}, "JWT key must be"),
        ({"jwt_key": "whatever"}, "JWT key must be"),
        ({"jwt_key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}, "JWT key must be"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        config(**changes)
    assert "sk_test_abc" not in str(caught.value)


def test_a_pem_is_mended(key: rsa.RSAPrivateKey) -> None:
    pem = pem_of(key)
    broken = [
        pem,
        pem.replace("\n", "\\n"),
        pem.replace("\n", "\r\n"),
        pem.replace("\n", "\\r\\n"),
        pem.replace("\n", " "),
        pem.replace("\n", ""),
        f'"{pem}"',
    ]

    for text in broken:
        found = config(jwt_key=text).public_key()
        assert found is not None
        assert found.public_numbers() == key.public_key().public_numbers()
    assert config().public_key() is None


@pytest.mark.parametrize("kind", ["small", "elliptic", "low"])
def test_a_weak_key_is_refused(kind: str) -> None:
    weak = {
        "small": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - weak on purpose
        "elliptic": lambda: ec.generate_private_key(ec.SECP256R1()),
        "low": lambda: rsa.generate_private_key(3, 2048),
    }[kind]()
    pem = weak.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    with pytest.raises(ValueError, match="at least 2048 bits"):
        config(jwt_key=pem)


def test_secrets_do_not_show() -> None:
    assert "sk_test_abc" not in repr(config())
