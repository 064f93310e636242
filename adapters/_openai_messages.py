"""What of a chat caller's messages a provider would refuse, taken out of a body that is otherwise relayed.

Only a body that holds such a thing is looked into; every message that has none keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE, Declarations
from adapters._openai_quirks import EXTENSIONS, Quirks
from adapters._openai_tool_ids import short_ids
from adapters._signatures import MARK, unwrap

_Members = dict[str, msgspec.Raw]

_decode_messages: Final = msgspec.json.Decoder(list[_Members]).decode
_decode_calls: Final = msgspec.json.Decoder(list[_Members]).decode
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode

# One of these stands in every name of `EXTENSIONS`: five searches of a body instead of eight.
_TRACES: Final = (b'"reasoning', b'_blocks"', b'"extra_content"', b'"citations"', b'"images"')
_IDS: Final = b'"tool_call'
_FRAMED: Final = MARK.encode()


class Cleaner:
    """What a provider's quirks ask of the messages that are relayed to it."""

    __slots__ = ("_refused", "_short_ids")

    def __init__(self, quirks: Quirks) -> None:
        refused = frozenset(EXTENSIONS) - frozenset(quirks.replays) if quirks.replays is not None else frozenset()
        self._refused = refused
        self._short_ids = quirks.short_ids

    def concerns(self, body: bytes) -> bool:
        """Says whether a body may hold what the provider refuses."""
        if self._refused:
            for trace in _TRACES:
                if trace in body:
                    return True
        return _FRAMED in body or (self._short_ids and _IDS in body)

    def clean(self, messages: msgspec.Raw, declarations: Declarations) -> msgspec.Raw:
        """Returns the messages as the provider takes them; those that cannot be read are its to refuse."""
        try:
            read = _decode_messages(messages)
            changed = self._strip(read, declarations)
            if _FRAMED in bytes(messages):
                changed = _rename(read, _unframed) or changed
            if self._short_ids:
                changed = _rename(read, short_ids) or changed
        except UNREADABLE:
            return messages
        return msgspec.Raw(_encode(read)) if changed else messages

    def _strip(self, messages: Iterable[_Members], declarations: Declarations) -> bool:
        changed = False
        for message in messages:
            for name in self._refused & message.keys():
                del message[name]
                changed = True
                declarations.declare(f"messages.{name}", "the provider does not take it back, left out")
            if "extra_content" in self._refused and b'"extra_content"' in bytes(message.get("tool_calls", b"")):
                calls = _decode_calls(message["tool_calls"])
                if [call for call in calls if call.pop("extra_content", None) is not None]:
                    message["tool_calls"] = msgspec.Raw(_encode(calls))
                    changed = True
                    declarations.declare(
                        "messages.tool_calls.extra_content", "the provider does not take it back, left out"
                    )
        return changed


def _unframed(ids: Iterable[str]) -> dict[str, str]:
    """Returns each id without the signature that the gateway put inside: it is no provider's to read."""
    return {one: unwrap(one)[0] for one in ids}


def _rename(messages: Iterable[_Members], names: Callable[[Iterable[str]], Mapping[str, str]]) -> bool:
    """Gives every tool call and its result the id that `names` has for theirs; says whether any has changed."""
    calls = {
        number: _decode_calls(message["tool_calls"])
        for number, message in enumerate(messages)
        if bytes(message.get("tool_calls", b"null")) != b"null"
    }
    named = names(_ids(messages, calls))
    if all(one == made for one, made in named.items()):
        return False
    for number, message in enumerate(messages):
        given = _text(message.get("tool_call_id"))
        if given is not None:
            message["tool_call_id"] = msgspec.Raw(_encode(named[given]))
        for call in calls.get(number, ()):
            given = _text(call.get("id"))
            if given is not None:
                call["id"] = msgspec.Raw(_encode(named[given]))
        if number in calls:
            message["tool_calls"] = msgspec.Raw(_encode(calls[number]))
    return True


def _ids(messages: Iterable[_Members], calls: Mapping[int, list[_Members]]) -> Iterator[str]:
    for number, message in enumerate(messages):
        for holder, name in ((message, "tool_call_id"), *((call, "id") for call in calls.get(number, ()))):
            given = _text(holder.get(name))
            if given is not None:
                yield given


def _text(raw: msgspec.Raw | None) -> str | None:
    value = _decode(raw) if raw is not None else None
    return value if isinstance(value, str) else None
