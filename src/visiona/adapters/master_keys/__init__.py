"""Master keys: of this installation's own, or in a key management service."""

from urllib.parse import parse_qs

from visiona.adapters.master_keys.aws import AwsMasterKey
from visiona.adapters.master_keys.gcp import GcpMasterKey
from visiona.adapters.master_keys.hashicorp import VaultMasterKey
from visiona.adapters.master_keys.local import LocalMasterKey, new_master_key
from visiona.ports.master_key import MasterKey

__all__ = [
    "AwsMasterKey",
    "GcpMasterKey",
    "LocalMasterKey",
    "VaultMasterKey",
    "new_master_key",
    "open_master_key",
]

_SERVICES = {"aws-kms": AwsMasterKey, "gcp-kms": GcpMasterKey, "vault": VaultMasterKey}


def open_master_key(text: str) -> MasterKey:
    """The master key that `text` is, or is the address of: `vault://transit/keys/visiona`.

    An address may say where the service is: `?endpoint=https://…`. It is not connected to before the first
    use. Raises `ValueError`, which repeats no key.
    """
    scheme, separator, address = text.partition("://")
    if not separator:
        return LocalMasterKey(text)
    if scheme not in _SERVICES:
        raise ValueError(f"a key management service is one of {', '.join(_SERVICES)}")
    name, _, query = address.partition("?")
    options = parse_qs(query)
    if options.keys() - {"endpoint"}:
        raise ValueError("the address of a master key has one option: endpoint")
    return _SERVICES[scheme](name, endpoint=options.get("endpoint", [None])[0])
