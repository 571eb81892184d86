"""Master keys: of this installation's own, or in a key management service."""

from visiona.adapters.master_keys.local import LocalMasterKey, new_master_key

__all__ = ["LocalMasterKey", "new_master_key"]
