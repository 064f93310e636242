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

# Issuer ranges and lengths (ISO/IEC 7812 as the networks publish them): Luhn alone lets one number in ten through.
_CARD: Final = re.compile(
    r"4\d{12}(?:\d{3}){0,2}"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}"  # Discover
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|62\d{14,17}"  # UnionPay
    r"|(?:50|5[6-9]|6[0-9])\d{10,17}"  # Maestro
)
_SHORTEST_IBAN: Final = 15
_LONGEST_IBAN: Final = 34

# An address that names nobody: what a reference to a version, a decorator or an SSH remote looks like.
_NO_MAILBOX: Final = re.compile(rb"(?i)^git@|\.(?:png|jpe?g|gif|svg|webp|js|ts|css|py|html?)$")

_LEAST_ENTROPY: Final = 2.5  # bits a character: "xxxxxxxx" has 0, "abcabcabc" 1.6, random base 36 above 3.5
_PLACEHOLDER: Final = re.compile(rb"(?i)example|placeholder|your[_-]?|xxxx|\*\*\*|\.\.\.|changeme|<|123456789")


def is_card(candidate: bytes) -> bool:
    """Tells whether digits and separators are a payment card's number: an issuer's range, its length, Luhn."""
    digits = _NOT_DIGITS.sub("", candidate.decode("ascii", "replace"))
    return _CARD.fullmatch(digits) is not None and len(set(digits)) > 2 and luhn.is_valid(digits)


def is_iban(candidate: bytes) -> bool:
    """Tells whether an IBAN begins here: a country's length and structure, mod 97; what follows it is no matter."""
    compact = _NOT_ALPHANUMERIC.sub("", candidate.decode("ascii", "replace").upper())
    return any(
        stdnum_iban.is_valid(compact[:length])
        for length in range(min(len(compact), _LONGEST_IBAN), _SHORTEST_IBAN - 1, -1)
    )


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


def always(candidate: bytes) -> bool:
    """Accepts: the pattern says it all."""
    return True
