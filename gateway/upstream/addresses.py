"""Which addresses a URL that a caller names may lead to: the public internet's, and what a config allows beside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What Python's `is_global` lets through, or has let through in some version, and is no host on the internet
# (https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry, 2026-11).
_SPECIAL: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocol assignments; Oracle's metadata is at 192.0.0.192
            "192.88.99.0/24",  # relays of 6to4
            "198.18.0.0/15",  # benchmarks
            "240.0.0.0/4",
            "::/96",  # IPv4-compatible
            "::ffff:0:0/96",  # IPv4-mapped: an IPv4 address in disguise
            "64:ff9b::/96",  # NAT64: leads to any IPv4 address
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/23",  # Teredo among them, which wraps IPv4 addresses
            "2002::/16",  # 6to4, which does as well
            "3fff::/20",
            "5f00::/16",
            "fec0::/10",  # site-local, once
        ),
    )
)

# Where clouds tell a machine its own credentials: never, whatever a config allows. 168.63.129.16 is Azure's, and public
# by its number (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16, 2026-11).
_METADATA: Final = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
        ),
    )
)

_DOTTED: Final = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


def forbidden(address: Address, allowed: Sequence[Network]) -> str | None:
    """Says what is wrong with an address, or None; `allowed` are the config's own exceptions."""
    if address in _METADATA or (isinstance(address, IPv6Address) and address.ipv4_mapped in _METADATA):
        return "a metadata service"
    if any(address.version == network.version and address in network for network in allowed):
        return None
    if address.is_loopback:
        return "this machine"
    if address.is_multicast:
        return "a multicast group"
    if address.is_link_local:
        return "a link-local address"
    if not address.is_global or any(address.version == network.version and address in network for network in _SPECIAL):
        return "a private or reserved address"
    return None


def literal(host: str) -> Address | None:
    """Reads a host that is an address; None for a name.

    Raises ValueError for a number in any other form (decimal, hexadecimal, octal, short): C libraries read `127.1` and
    `0x7f.1` and `2130706433` as addresses (WHATWG URL, 3.5, ends-in-a-number checker), and no server of media has such
    a name.
    """
    if ":" in host:
        if "%" in host:
            raise ValueError("an address with a zone leads nowhere from here")
        return IPv6Address(host)
    if _DOTTED.fullmatch(host):
        return IPv4Address(host)
    last = host.rstrip(".").rpartition(".")[2]
    if _NUMBER.fullmatch(last):
        raise ValueError("its host is a number that is no dotted address")
    return None
