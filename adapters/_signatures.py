"""A provider's signature inside an id, so that clients which keep ids and drop what they do not know bring it back.

Gemini 3 refuses a history whose first function call of a step comes without its thought signature
(https://ai.google.dev/gemini-api/docs/thought-signatures, 2026-11), and neither OpenAI's chat nor Anthropic's Messages
has a field for it. What is written here is read by us alone: an id is unwrapped before it goes to any provider.

The form is `<id>__signed__<provider>-<kind><text>`, all of it in `[a-zA-Z0-9_-]`, the alphabet that Anthropic holds ids
to. The kinds: `b` is base64 in the URL's alphabet (nearly every signature is base64 already, and grows by nothing), `t`
any other text in base64, `x` the text in hexadecimal, where base64 would spell the mark.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

MARK: Final = "__signed__"  # what a body without any wrapped id does not hold: one search tells

# Claude's signatures hold wherever Claude runs: Anthropic says that one made on its API, on Bedrock or on Google Cloud
# works on the others (https://platform.claude.com/docs/en/build-with-claude/extended-thinking, "Thinking encryption",
# 2026-11). Vertex carries Anthropic's own name, for its wire is Anthropic's. It says so of signatures alone: redacted
# thinking goes back to the place that it is from. Of no other maker's signatures is anything like it written down, and
# Google's are refused at another of its places ("Corrupted thought signature", recorded 2026-08).
_CLAUDES: Final = frozenset({"anthropic", "bedrock_anthropic"})

_WRAPPED: Final = re.compile(rf"(.*){MARK}([a-z0-9_]*)-([btx])([A-Za-z0-9_-]*)", re.DOTALL)


def holds(provider: str | None, at: str) -> bool:
    """Says whether a provider's signature is worth anything at another; one that nobody claims is taken on trust."""
    return provider is None or provider == at or (provider in _CLAUDES and at in _CLAUDES)


def wrap(id: str, signature: str | None, provider: str | None) -> str:
    """Returns the id with the signature inside; as it is where there is none, or where the id holds one already.

    `id` may be empty: a signature that stands alone is framed with its provider's name. `provider` is a name in
    lower case, digits and underscores.
    """
    if signature is None or unwrap(id)[1] is not None:
        return id
    kind, text = "b", signature.translate(_TO_URL).rstrip("=")
    if not _ALPHABET.fullmatch(text) or _from_base64(text) != signature:
        kind, text = "t", urlsafe_b64encode(signature.encode()).decode().rstrip("=")
    if MARK in text:
        kind, text = "x", signature.encode().hex()
    return f"{id}{MARK}{provider or ''}-{kind}{text}"


def unwrap(id: str) -> tuple[str, str | None, str | None]:
    """Returns the id without what `wrap` put in, the signature and the provider; (id, None, None) where it did not."""
    if MARK not in id or (match := _WRAPPED.fullmatch(id)) is None:
        return id, None, None
    kind, text = match[3], match[4]
    try:
        if kind == "b":
            signature = _from_base64(text)
        elif kind == "t":
            signature = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        else:
            signature = bytes.fromhex(text).decode()
    except (binascii.Error, ValueError):
        return id, None, None
    return match[1], signature, match[2] or None


_ALPHABET: Final = re.compile("[A-Za-z0-9_-]*")
_TO_URL: Final = str.maketrans("+/", "-_")
_FROM_URL: Final = str.maketrans("-_", "+/")


def _from_base64(text: str) -> str:
    """Returns base64 of the URL's alphabet, unpadded, as base64 of the standard alphabet, padded."""
    return text.translate(_FROM_URL) + "=" * (-len(text) % 4)
