"""Addresses and passwords as people type them: what is accepted, and in which form. Pure."""

import re
import unicodedata
from dataclasses import dataclass, field

from visiona.core.errors import FieldError, Invalid

PASSWORD_MIN_LENGTH = 10
PASSWORD_MAX_LENGTH = 200

# The most used passwords among those that are long enough to pass otherwise.
COMMON_PASSWORDS = frozenset(
    """
    0000000000 0123456789 0987654321 1111111111 1122334455 1212121212 1231231231 123123123123
    1234512345 12345678910 1234567890 123456789a 123456789q 12345678900 123456789123 1234554321
    12345qwert 123654789a 123qweasdzxc 147258369a 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc 1qazxsw23edc
    2222222222 5555555555 7777777777 8888888888 987654321a 9876543210 9999999999 a123456789
    a1b2c3d4e5 aa12345678 aaaaaaaaaa abc1234567 abcd123456 abcdefghij administrator asdasdasdasd
    asdfghjkl1 asdfghjkl123 asdfghjkl; baseball123 basketball changeme123 chocolate1 dragon12345
    football123 iloveyou12 iloveyou123 iloveyou1234 letmein123 letmein1234 lovelovelove manchester
    master12345 michelle123 monkey12345 p@ssw0rd123 p@ssword123 passw0rd123 password01 password10
    password11 password12 password123 password123! password1234 password12345 password123456
    password1! password2024 password2025 passwordpassword princess123 q1w2e3r4t5 q1w2e3r4t5y6
    qazwsxedcrfv qwe123qwe123 qweasdzxc123 qwer123456 qwerty1234 qwerty12345 qwerty123456 qwertyqwerty
    qwertyuiop qwertyuiop1 qwertyuiop123 sunshine123 superman123 trustno1234 unbelievable welcome123
    welcome123! welcome1234 zaq12wsxcde3 zxcvbnm123 zxcvbnm1234
    """.split()  # noqa: SIM905 - a hundred quoted strings on as many lines would hide the list
)

_LOCAL_PART = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    user_id: int
    subject: str
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A normalized address, and a password in normal form C."""

    email: str = field(repr=False)
    password: str = field(repr=False)


def new_credentials(email: str, password: str) -> Credentials:
    """What somebody wants to sign up with. Raises `Invalid` naming everything that is wrong."""
    address = normalized_email(email)
    text = unicodedata.normalize("NFC", password)
    return _credentials(address, text, _password_error(text) or _guessable(text, address))


def new_password(password: str, email: str) -> str:
    """What somebody with this address wants as their password. Raises `Invalid`."""
    text = unicodedata.normalize("NFC", password)
    error = _password_error(text) or _guessable(text, email)
    if error is not None:
        raise Invalid("invalid_input", "Check the fields that are marked.", errors=[error])
    return text


def presented_credentials(email: str, password: str) -> Credentials:
    """What somebody logs in with: only what can be nobody's is refused."""
    address = normalized_email(email)
    text = unicodedata.normalize("NFC", password)
    return _credentials(address, text, _password_error(text, min_length=1))


def presented_password(password: str) -> str | None:
    """What somebody shows to be their password, in normal form C; None for what can be nobody's."""
    text = unicodedata.normalize("NFC", password)
    return None if _password_error(text, min_length=1) else text


def _credentials(address: str | None, password: str, password_error: FieldError | None) -> Credentials:
    errors: list[FieldError] = []
    if address is None:
        errors.append(FieldError("email", "invalid_email", "Enter an e-mail address, like name@example.com."))
    if password_error is not None:
        errors.append(password_error)
    if address is None or errors:
        raise Invalid("invalid_input", "Check the fields that are marked.", errors=errors)
    return Credentials(address, password)


def normalized_email(text: str) -> str | None:
    """Lower-case, the domain as IDNA ASCII; None for what mail would not be delivered to."""
    local, separator, domain = unicodedata.normalize("NFC", text.strip()).lower().rpartition("@")
    ascii_domain = _ascii_domain(domain)
    if not separator or ascii_domain is None or len(local) > 64 or not _LOCAL_PART.fullmatch(local):
        return None
    address = f"{local}@{ascii_domain}"
    return address if len(address) <= 254 else None


def stand_in(user_id: int) -> str:
    """What is shown, and reaches nobody, for an address that a person has no more."""
    return f"{user_id}@replaced.invalid"


def _ascii_domain(domain: str) -> str | None:
    if not domain.isascii():
        try:
            encoded = domain.encode("idna")
            # IDNA 2003 silently turns some letters into others, and so one domain into another.
            if encoded.decode("idna") != domain:
                return None
        except UnicodeError:
            return None
        domain = encoded.decode("ascii")
    labels = domain.split(".")
    if not all(_DOMAIN_LABEL.fullmatch(label) for label in labels) or labels[-1].isdecimal():
        return None
    return domain if len(labels) > 1 or domain == "localhost" else None


def _password_error(password: str, *, min_length: int = PASSWORD_MIN_LENGTH) -> FieldError | None:
    if len(password) < min_length:
        return FieldError("password", "too_short", f"Use at least {min_length} characters.")
    if len(password) > PASSWORD_MAX_LENGTH:
        return FieldError("password", "too_long", f"Use at most {PASSWORD_MAX_LENGTH} characters.")
    if any(unicodedata.category(character) == "Cs" for character in password):
        return FieldError("password", "invalid_characters", "The password is not valid text.")
    return None


def _guessable(password: str, email: str | None) -> FieldError | None:
    folded = password.casefold()
    if email is not None and folded in {email, email.partition("@")[0]}:
        return FieldError("password", "same_as_email", "Choose a password that is not your address.")
    if folded in COMMON_PASSWORDS:
        return FieldError("password", "too_common", "Many people use this password. Choose another.")
    return None
