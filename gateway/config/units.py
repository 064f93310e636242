"""Values with a unit, as they are written in a config: durations, sizes, money, addresses, URLs and names."""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import ip_network
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_NUMBER: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]+)")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,99}")
_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_USD: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")  # nine decimals are a nano-dollar
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")


def _measure(value: object, units: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match and match[2] in units:
            return float(match[1]) * units[match[2]]
        raise ValueError(f"{value!r} is not a {what}: write a number and one of {', '.join(units)}, such as {example}")
    raise ValueError(f"a {what} is a number with its unit, such as {example}")


def duration(value: object) -> float:
    """Reads "800ms", "5m" or "24h" as seconds; raises ValueError for a number without its unit."""
    return _measure(value, _SECONDS, "duration", "30s")


def size(value: object) -> int:
    """Reads "32MiB" or "10MB" as bytes; raises ValueError for a number without its unit."""
    return int(_measure(value, _BYTES, "size", "32MiB"))


def size_or_zero(value: object) -> int:
    """Reads a size, or 0 for nothing at all."""
    return 0 if value == 0 and not isinstance(value, bool | str) else size(value)


def usd(value: object) -> Decimal:
    """Reads dollars out of text, with at most nine decimals; raises ValueError for a YAML number, which is inexact."""
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str):
        raise ValueError('money is text, so that it stays exact: write it in quotes, such as "0.25"')
    if not _USD.fullmatch(value):
        raise ValueError(f'{value!r} is not an amount of dollars with at most nine decimals, such as "0.25"')
    return Decimal(value)


def name(value: object) -> str:
    """Checks a name that ends up in headers and metrics: letters, digits and `_ . @ : + -`, at most 100."""
    if not isinstance(value, str):
        raise ValueError(f'a name is text: write "{value}" in quotes' if value is not None else "a name is wanted")
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} cannot be a name: use letters, digits and _ . @ : + -, beginning with a letter, digit or _"
        )
    return value


def header(value: object) -> str:
    """Checks a header's name and lowers it."""
    if not isinstance(value, str) or not _HEADER.fullmatch(value.lower()):
        raise ValueError("the name of a header is wanted, such as x-data-sensitivity")
    return value.lower()


def key_hash(value: object) -> str:
    """Checks "sha256:" and 64 hexadecimal digits."""
    if not isinstance(value, str) or not _HASH.fullmatch(value.lower()):
        raise ValueError("a hash is wanted: sha256: and 64 hexadecimal digits, as `headgate keys create` prints it")
    return value.lower()


def http_url(value: object) -> str:
    """Checks an http(s) URL of a server, without credentials, query or fragment; drops a closing slash."""
    if not isinstance(value, str):
        raise ValueError("a URL is wanted, such as https://api.example.com/v1")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("this is not a URL: its host or port cannot be read") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("a URL is wanted that begins with http:// or https:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL must not hold credentials: use api_key or headers")
    if parts.query or parts.fragment:
        raise ValueError("a base URL has neither a query nor a fragment")
    return value.rstrip("/")


def listen(value: object) -> str:
    """Checks "host:port" or "[ipv6]:port"."""
    if isinstance(value, str):
        split_address(value)
        return value
    raise ValueError("an address is wanted, such as 127.0.0.1:8080")


def split_address(value: str) -> tuple[str, int]:
    """Splits "host:port"; raises ValueError where there is no host or no port."""
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is not an address: write host:port, such as 127.0.0.1:8080 or [::1]:8080")
    return host, int(port)


def network(value: object) -> str:
    """Checks a network such as 10.0.0.0/8 or fd00::/8; raises ValueError where bits beyond its length are set."""
    if isinstance(value, str):
        try:
            return str(ip_network(value))
        except ValueError as error:
            raise ValueError(f"{error}: write a network, such as 10.20.0.0/16") from None
    raise ValueError("a network is wanted, such as 10.20.0.0/16")


def several(value: object) -> object:
    """Takes a single word for a list of one."""
    return [value] if isinstance(value, str) else value


def write_duration(seconds: float) -> str:
    """Writes seconds in the largest unit that keeps them whole."""
    milliseconds = round(seconds * 1000)
    for unit, factor in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % factor == 0:
            return f"{milliseconds // factor}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def write_size(count: int) -> str:
    """Writes bytes in the largest binary unit that keeps them whole."""
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{unit}"
    return f"{count}B"


class Unit:
    """Says in a type's metadata what the generated reference calls it, and how it writes a value."""

    def __init__(self, label: str) -> None:
        self.label = label


Duration = Annotated[float, BeforeValidator(duration), Unit("duration")]
Size = Annotated[int, BeforeValidator(size), Unit("size")]
SizeOrZero = Annotated[int, BeforeValidator(size_or_zero), Unit("size")]
Usd = Annotated[Decimal, BeforeValidator(usd), Unit("dollars, as text")]
Name = Annotated[str, BeforeValidator(name), Unit("name")]
HeaderName = Annotated[str, BeforeValidator(header), Unit("header name")]
KeyHash = Annotated[str, BeforeValidator(key_hash), Unit("sha256:…")]
Url = Annotated[str, BeforeValidator(http_url), Unit("URL")]
Address = Annotated[str, BeforeValidator(listen), Unit("host:port")]
Network = Annotated[str, BeforeValidator(network), Unit("network")]
