"""Authenticator apps: codes of six digits that change every 30 seconds, by real time."""

import binascii

import pyotp
import segno
from pyotp.totp import TOTP

from visiona.sandbox.clerk.store import Obj


def new_secret() -> str:
    return pyotp.random_base32()


def accepts(secret: str, code: str) -> bool:
    """Whether `code` is the present one, the one before or the one after."""
    return TOTP(secret).verify(code.replace(" ", ""), valid_window=1)


def is_secret(text: str) -> bool:
    """Whether an app could work with it."""
    try:
        TOTP(text).byte_secret()
    except (binascii.Error, ValueError):
        return False
    return bool(text)


def enrolment(secret: str, address: str, issuer: str) -> Obj:
    """What an app needs: `secret`, and `picture`, a QR code as a data address."""
    uri = TOTP(secret, name=address, issuer=issuer).provisioning_uri()
    return {"secret": secret, "picture": segno.make(uri, micro=False).svg_data_uri(scale=4, light="white")}
