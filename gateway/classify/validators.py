"""What a candidate must satisfy before it counts: checksums, numbering plans, entropy. Bytes in, a verdict out."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Final

import phonenumbers
from stdnum import iban as stdnum_iban
from stdnum import luhn
from stdnum.us import ssn as stdnum_ssn

_NOT_DIGITS: Final = re.compile(r"\D+")
_NOT_ALPHANUMERIC: Final = re.compile(r"[^A-Z0-9]+")

_DOTTED_CARD: Final = re.compile(rb"\d{4}(?:\.\d{4,7}){2,4}")

# Issuer ranges and lengths (ISO/IEC 7812 as the networks publish them): Luhn alone lets one number in ten through.
_CARD: Final = re.compile(
    r"4\d{12}(?:\d{3}){0,2}"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}"  # Discover
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|35\d{14}|(?:1800|2131)\d{11}"  # JCB, with its older ranges
    r"|62\d{14,17}"  # UnionPay
    r"|(?:50|5[6-9]|6[0-9])\d{10,17}"  # Maestro
)
# Total lengths by country, from the SWIFT IBAN registry (https://www.swift.com/standards/data-standards/iban).
_IBAN_LENGTHS: Final = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}

# An address that names nobody: what a reference to a version, a decorator or an SSH remote looks like.
_NO_MAILBOX: Final = re.compile(rb"(?i)^git@|\.(?:png|jpe?g|gif|svg|webp|js|ts|css|py|html?)$")

_KEY_MATERIAL: Final = re.compile(rb"[A-Za-z0-9+/]{24}")
_LEAST_ENTROPY: Final = 2.5  # bits a character: "xxxxxxxx" has 0, "abcabcabc" 1.6, random base 36 above 3.5
_PLACEHOLDER: Final = re.compile(rb"(?i)example|placeholder|your[_-]?|xxxx|\*\*\*|\.\.\.|changeme|<|123456789")


def is_card(candidate: bytes) -> bool:
    """Tells whether digits and separators are a payment card's number: an issuer's range, its length, Luhn."""
    if b"." in candidate and _DOTTED_CARD.fullmatch(candidate) is None:
        return False  # decimals in a row: coordinates, a path of a drawing
    digits = _NOT_DIGITS.sub("", candidate.decode("ascii", "replace"))
    return _CARD.fullmatch(digits) is not None and len(set(digits)) > 1 and luhn.is_valid(digits)


def is_iban(candidate: bytes) -> bool:
    """Tells whether an IBAN begins here: its country's length, mod 97, its country's structure."""
    compact = _NOT_ALPHANUMERIC.sub("", candidate.decode("ascii", "replace").upper())
    length = _IBAN_LENGTHS.get(compact[:2])
    if length is None or len(compact) < length:
        return False
    number = compact[:length]  # what follows may be the next word
    return int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1 and stdnum_iban.is_valid(number)


def is_ssn(candidate: bytes) -> bool:
    """Tells whether nine digits are a US social security number that may have been issued."""
    digits = _NOT_DIGITS.sub("", candidate.decode("ascii", "replace"))[-9:]
    return stdnum_ssn.is_valid(digits)


def is_phone(candidate: bytes) -> bool:
    """Tells whether a numbering plan knows the number: any country's after a plus sign, else North America's."""
    text = candidate.decode("ascii", "replace")
    start = next((at for at, character in enumerate(text) if character in "+(" or character.isdigit()), len(text))
    try:
        number = phonenumbers.parse(text[start:], "US")
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number)


def is_mailbox(candidate: bytes) -> bool:
    """Tells whether an address is a mailbox rather than a file, a remote or a package's version."""
    return _NO_MAILBOX.search(candidate) is None


def is_secret(candidate: bytes) -> bool:
    """Tells whether a token looks drawn rather than written: enough entropy, no placeholder's words."""
    return _PLACEHOLDER.search(candidate) is None and entropy(candidate) >= _LEAST_ENTROPY


def entropy(text: bytes) -> float:
    """Returns Shannon's entropy in bits per character."""
    total = len(text)
    return -sum(n / total * math.log2(n / total) for n in Counter(text).values()) if total else 0.0


def is_password(candidate: bytes) -> bool:
    """Tells whether a URL's password is one, rather than the name of a variable or a row of marks."""
    return not candidate.startswith((b"$", b"%", b"*", b"[")) and _PLACEHOLDER.search(candidate) is None


def is_private_key(candidate: bytes) -> bool:
    """Tells whether a key follows its first line, rather than prose about such lines."""
    return _KEY_MATERIAL.search(candidate) is not None


def always(candidate: bytes) -> bool:
    """Accepts: the pattern says it all."""
    return True
