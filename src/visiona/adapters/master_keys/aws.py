"""A master key in AWS KMS.

Credentials and signatures are the affair of AWS's own runtime library (`awscrt`): it finds them as all
of AWS's tools do, in the environment, profiles, containers and instances. The call itself is one POST.
"""

import asyncio
import base64
import io
import re
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import msgspec

from visiona.adapters.egress import Destinations
from visiona.adapters.http import (
    RATE_LIMITED,
    SERVER_ERROR,
    UNUSABLE_ANSWER,
    from_transport,
    make_http_client,
)
from visiona.adapters.master_keys.managed import CALL_TIMEOUT_S, ManagedMasterKey, require

_ARN = re.compile(r"arn:(aws[a-z-]*):kms:([a-z0-9-]+):\d{12}:(key|alias)/[A-Za-z0-9/_-]+")
_DOMAINS = {"aws": "amazonaws.com", "aws-cn": "amazonaws.com.cn", "aws-us-gov": "amazonaws.com"}
_KIND = re.compile(r"[A-Za-z]{1,64}")
_THROTTLED = {"ThrottlingException", "LimitExceededException", "RequestLimitExceeded"}
_PASSING = {"KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException"}


class AwsMasterKey(ManagedMasterKey):
    """`arn` names the key or an alias of it. Raises `ValueError` for what is no such name."""

    provider = "aws-kms"

    def __init__(self, arn: str, *, endpoint: str | None = None) -> None:
        found = _ARN.fullmatch(arn)
        if found is None or found[1] not in _DOMAINS:
            raise ValueError("a key in AWS KMS is named aws-kms://arn:aws:kms:<region>:<account>:key/<id>")
        require("awscrt", "aws-kms")
        super().__init__(f"aws-kms://{arn}")
        self._arn = arn
        self._region = found[2]
        self._endpoint = endpoint or f"https://kms.{self._region}.{_DOMAINS[found[1]]}"
        self._http = make_http_client(Destinations.of([self._endpoint]))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _encrypt(self, key: bytes, context: str) -> bytes:
        answer = await self._ask("Encrypt", context, Plaintext=base64.b64encode(key).decode())
        return self._bytes(answer.get("CiphertextBlob"))

    async def _decrypt(self, wrapped: bytes, context: str) -> bytes:
        answer = await self._ask("Decrypt", context, CiphertextBlob=base64.b64encode(wrapped).decode())
        return self._bytes(answer.get("Plaintext"))

    async def _ask(self, action: str, context: str, **values: str) -> dict[str, Any]:
        body = msgspec.json.encode({"KeyId": self._arn, "EncryptionContext": {"visiona": context}, **values})
        headers = await asyncio.to_thread(self._signed, action, body)
        try:
            answer = await self._http.post(f"{self._endpoint}/", content=body, headers=headers)
        except httpx.RequestError as error:
            raise from_transport(self.provider, error, repeatable=True) from error
        try:
            found = msgspec.json.decode(answer.content, type=dict[str, Any])
        except msgspec.DecodeError:
            found = {}
        if answer.status_code == 200:
            return found
        kind = str(found.get("__type", "")).rpartition("#")[2]
        if kind in _THROTTLED or answer.status_code == 429:
            raise self._unavailable(RATE_LIMITED)
        if kind in _PASSING or answer.status_code >= 500:
            raise self._unavailable(SERVER_ERROR)
        raise self._rejected(kind if _KIND.fullmatch(kind) else f"status {answer.status_code}")

    def _bytes(self, text: Any) -> bytes:
        if not isinstance(text, str):
            raise self._unavailable(UNUSABLE_ANSWER)
        return base64.b64decode(text)

    def _signed(self, action: str, body: bytes) -> dict[str, str]:
        """The headers of a call, by Signature Version 4. Blocking, where credentials have to be fetched."""
        from awscrt import auth, http  # noqa: PLC0415 - loaded when first used

        headers = http.HttpHeaders(
            [
                ("Host", urlsplit(self._endpoint).netloc),
                ("Content-Type", "application/x-amz-json-1.1"),
                ("X-Amz-Target", f"TrentService.{action}"),
            ]
        )
        request = http.HttpRequest("POST", "/", headers, io.BytesIO(body))
        config = auth.AwsSigningConfig(
            credentials_provider=self._credentials,
            region=self._region,
            service="kms",
            date=datetime.now(UTC),
        )
        sign = cast("Any", auth.aws_sign_request)  # it does not say of what its future is
        try:
            signed = sign(request, config).result(CALL_TIMEOUT_S)
        except Exception as error:
            # The library knows one kind of failure only, and its sentence may name a profile or an address.
            raise self._rejected("no credentials") from error
        return dict(signed.headers)

    @cached_property
    def _credentials(self) -> Any:
        from awscrt.auth import AwsCredentialsProvider  # noqa: PLC0415 - loaded when first used

        return AwsCredentialsProvider.new_default_chain()
