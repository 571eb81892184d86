"""Where outputs may be fetched from, and how they reach the disk.

An output URL comes from a provider's answer, so it is a stranger's wish that our server connect
somewhere. It is followed only to hosts that the operator listed.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

import httpx

from visiona.core.ids import opaque_id

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
_ENDPOINT = re.compile(rf"{_LABEL}(?:\.{_LABEL})*:[1-9][0-9]{{0,4}}")
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?:[/?#].*)?", re.IGNORECASE)
_PRINTABLE = re.compile(r"[!-~]{1,8192}")
_DATA_URL = re.compile(r"data:[^,]{0,200}?(?P<base64>;base64)?,", re.IGNORECASE)


class DeliveryRefusedError(Exception):
    """This URL is not fetched. The text is a slug."""


class DeliveryHosts:
    """The allow-list. Names without a port include their subdomains, over HTTPS only; `host:port`
    is exact and may be plain HTTP.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self._endpoints = frozenset(host for host in hosts if ":" in host)
        self._domains = tuple(host for host in hosts if ":" not in host)
        if not all(_ENDPOINT.fullmatch(host) for host in self._endpoints) or not all(
            _DOMAIN.fullmatch(host) for host in self._domains
        ):
            raise ValueError("a delivery host is a lower-case domain name, or host:port")

    def accept(self, url: str) -> httpx.URL:
        """The URL as it will be requested. Raises `DeliveryRefusedError`.

        The authority is compared as it stands, before any library repairs it: user names, escapes,
        other alphabets, other spellings of an address and trailing dots are no part of any entry.
        """
        match = _URL.fullmatch(url) if _PRINTABLE.fullmatch(url) else None
        if match is None:
            raise DeliveryRefusedError("url_not_allowed")
        authority = match["authority"].lower()
        if authority not in self._endpoints and not (
            match["scheme"].lower() == "https" and self._in_domains(authority)
        ):
            raise DeliveryRefusedError("host_not_allowed")
        return _parsed(url, authority)

    def _in_domains(self, authority: str) -> bool:
        return _DOMAIN.fullmatch(authority) is not None and any(
            authority == domain or authority.endswith(f".{domain}") for domain in self._domains
        )


def _parsed(url: str, authority: str) -> httpx.URL:
    """What the HTTP library makes of the URL must name the host that was compared."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise DeliveryRefusedError("url_not_allowed") from None
    if parsed.netloc.decode() not in {
        authority,
        authority.removesuffix(":80"),
        authority.removesuffix(":443"),
    }:
        raise DeliveryRefusedError("host_not_allowed")
    return parsed


def is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def data_url_content(url: str, limit: int) -> bytes:
    """The bytes inside a data URL. Raises `DeliveryRefusedError` past `limit` bytes or if malformed."""
    match = _DATA_URL.match(url)
    if match is None:
        raise DeliveryRefusedError("malformed_output")
    payload = url[match.end() :]
    if len(payload) > limit * 3:  # every byte escaped is the longest form
        raise DeliveryRefusedError("output_too_large")
    try:
        content = unquote_to_bytes(payload)
        if match["base64"]:
            content = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise DeliveryRefusedError("malformed_output") from None
    if len(content) > limit:
        raise DeliveryRefusedError("output_too_large")
    return content


@asynccontextmanager
async def atomic_file(target: Path) -> AsyncGenerator[BinaryIO]:
    """A file that becomes `target` when the block ends well, and leaves nothing behind otherwise."""
    part = target.with_name(f".{target.name}.{opaque_id()}.part")
    file = await asyncio.to_thread(part.open, "xb")
    try:
        yield file
        await asyncio.to_thread(file.close)
        await asyncio.to_thread(part.replace, target)
    finally:
        file.close()
        part.unlink(missing_ok=True)
