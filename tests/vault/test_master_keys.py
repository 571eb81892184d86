"""Master keys, whoever keeps them, over HTTP where that is a service."""

import base64
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
from tests.vault import kms_servers
from tests.vault.kms_servers import ARN, PATH, RESOURCE, Kms, served

from visiona.adapters.master_keys import LocalMasterKey, managed, new_master_key, open_master_key
from visiona.ports.errors import ProviderRejected, ProviderUnavailable
from visiona.ports.master_key import MasterKey

KEY = bytes(range(100, 132))
ADDRESSES = {"aws": f"aws-kms://{ARN}", "gcp": f"gcp-kms://{RESOURCE}", "vault": f"vault://{PATH}"}
OVERLOADED = {
    "aws": (400, {"__type": "ThrottlingException"}),
    "gcp": (503, {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}),
    "vault": (503, {"errors": ["Vault is sealed"]}),
}
DENIED = {
    "aws": (400, {"__type": "AccessDeniedException", "message": "User arn:secret is not authorized"}),
    "gcp": (403, {"error": {"code": 403, "message": "arn:secret", "status": "PERMISSION_DENIED"}}),
    "vault": (403, {"errors": ["arn:secret"]}),
}


@dataclass
class Service:
    name: str
    kms: Kms
    key: MasterKey


@pytest.fixture(params=["aws", "gcp", "vault"])
async def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Service]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", kms_servers.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", kms_servers.SECRET_KEY)
    monkeypatch.setenv("VAULT_TOKEN", kms_servers.TOKEN)
    monkeypatch.setattr(managed, "_BUDGET_S", 0.4)
    with served(request.param) as kms:
        key = open_master_key(f"{ADDRESSES[request.param]}?endpoint={kms.base}")
        yield Service(request.param, kms, key)
        await key.aclose()


async def test_a_service_unwraps_what_it_wrapped_for_the_same_purpose_only(service: Service) -> None:
    assert service.key.name == ADDRESSES[service.name]
    wrapped = await service.key.wrap(KEY, "visiona:u1")
    assert KEY not in wrapped
    assert await service.key.wrap(KEY, "visiona:u1") != wrapped
    assert await service.key.unwrap(wrapped, "visiona:u1") == KEY
    with pytest.raises(ProviderRejected):
        await service.key.unwrap(wrapped, "visiona:u2")
    assert len(service.kms.asked) == 4


async def test_a_service_that_is_overloaded_is_asked_again(service: Service) -> None:
    service.kms.failures = [OVERLOADED[service.name]] * 2
    wrapped = await service.key.wrap(KEY, "visiona:u1")
    assert len(service.kms.asked) == 3
    service.kms.failures = [OVERLOADED[service.name]] * 9
    with pytest.raises(ProviderUnavailable):
        await service.key.unwrap(wrapped, "visiona:u1")


async def test_a_service_that_says_no_is_not_asked_again(service: Service) -> None:
    service.kms.failures = [DENIED[service.name]]
    with pytest.raises(ProviderRejected) as failure:
        await service.key.wrap(KEY, "visiona:u1")
    assert len(service.kms.asked) == 1
    assert "secret" not in str(failure.value)
    assert base64.b64encode(KEY).decode() not in str(failure.value)


@pytest.mark.parametrize("status", [307, 308])
async def test_a_service_leads_to_no_other(service: Service, status: int) -> None:
    """What is to be wrapped, and the token, would come along."""
    with served(service.name) as other:
        service.kms.failures = [(status, f"{other.base}/")] * 9
        with pytest.raises((ProviderRejected, ProviderUnavailable)):
            await service.key.wrap(KEY, "visiona:u1")
        assert len(service.kms.asked) >= 1
        assert other.asked == []


async def test_a_service_that_cannot_be_reached(service: Service) -> None:
    key = open_master_key(f"{ADDRESSES[service.name]}?endpoint=http://127.0.0.1:1")
    with pytest.raises(ProviderUnavailable, match="unreachable"):
        await key.wrap(KEY, "visiona:u1")
    await key.aclose()


async def test_a_local_key_unwraps_what_it_wrapped_for_the_same_purpose_only() -> None:
    text = new_master_key()
    key = LocalMasterKey(text)
    wrapped = await key.wrap(KEY, "visiona:u1")
    assert await LocalMasterKey(text).unwrap(wrapped, "visiona:u1") == KEY
    for bad, context in ((wrapped, "visiona:u2"), (wrapped[:-1], "visiona:u1"), (b"", "visiona:u1")):
        with pytest.raises(ProviderRejected):
            await key.unwrap(bad, context)
    with pytest.raises(ProviderRejected):
        await LocalMasterKey(new_master_key()).unwrap(wrapped, "visiona:u1")
    assert text[:8] not in repr(key)
    assert LocalMasterKey(base64.urlsafe_b64encode(base64.b64decode(text)).decode()).name == key.name


@pytest.mark.parametrize(
    "text",
    [
        "secret-words-of-a-founder",
        base64.b64encode(bytes(range(31))).decode(),
        "",
        "aws-kms://alias/secret",
        "gcp-kms://projects/secret",
        "vault://secret",
        "azure://secret",
        f"vault://{PATH}?token=secret",
    ],
)
def test_what_is_no_master_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"32 random bytes|is named|is one of|one option") as failure:
        open_master_key(text)
    assert "secret" not in str(failure.value)
    assert not text or text not in str(failure.value)
