"""Master keys: of this installation's own, or in a key management service."""

from visiona.adapters.master_keys.local import LocalMasterKey, new_master_key
from visiona.ports.master_key import MasterKey

__all__ = ["LocalMasterKey", "new_master_key", "open_master_key"]


def open_master_key(text: str) -> MasterKey:
    """The master key that `text` is, or is the address of. Raises `ValueError`, which repeats no key."""
    return LocalMasterKey(text)
