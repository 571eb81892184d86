"""Who is at the other end of a request, and how often they may try."""

import ipaddress
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Where a request comes from: the address of the peer (or of its proxy's client) and its browser."""

    address: str = field(repr=False)
    user_agent: str

    @property
    def label(self) -> str:
        """What a person may see beside their session, safe to store."""
        return "".join(c for c in self.user_agent if c.isprintable())[:200]

    @property
    def network(self) -> str:
        """The /24 or /64 that one party usually controls as a whole."""
        try:
            address = ipaddress.ip_address(self.address)
        except ValueError:
            return self.address
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        prefix = 24 if address.version == 4 else 64
        return str(ipaddress.ip_network((address.packed, prefix), strict=False))


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """How often one party may guess before it has to wait, at most `ceiling_s` seconds each time.

    `shared` ones belong to many people: a success takes back its own attempt, not everybody's.
    """

    key: bytes
    free: int
    ceiling_s: int
    shared: bool
