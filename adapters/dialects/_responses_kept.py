"""Responses that the gateway keeps: taken apart, put together, listed, and spliced into the calls that go on from them.

Source: https://platform.openai.com/docs/api-reference/responses, …/input-items and …/guides/conversation-state
(2026-11). Items are spliced as the bytes that they came in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from adapters.dialects import _responses_replay
from adapters.dialects._responses_envelope import MARK, is_minted, minted
from gateway.core.blocks import Json
from gateway.core.errors import BadRequest
from gateway.core.keeping import Parts

_PAGE: Final = 20
_PAGE_MAX: Final = 100
_LARGE: Final = 200  # bytes from which a member is worth being shared
_REFERENCE: Final = b"item_reference"
_ID_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}
_WITH_STATUS: Final = frozenset({"function_call", "function_call_output"})  # where OpenAI's schema demands one


class _Item(msgspec.Struct, gc=False):
    type: str | None = None
    id: str | None = None


_decode: Final = msgspec.json.Decoder().decode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_item: Final = msgspec.json.Decoder(_Item).decode
_encode: Final = msgspec.json.Encoder().encode
_text: Final = msgspec.json.Decoder(str).decode


class ResponsesWire:
    """What keeping takes of this wire."""

    def minted(self, id: str) -> bool:
        """Says whether an id is of an answer that no provider keeps."""
        return is_minted(id)

    def parts(self, request: bytes, answer: bytes) -> Parts:
        """Takes a request and its answer apart."""
        members = _members(answer)
        output = [bytes(raw) for raw in _items(members.pop("output"))]
        large = [(name, value) for name, raw in members.items() if len(value := bytes(raw)) >= _LARGE]
        id = _text(members["id"])
        for name, _ in large:
            del members[name]
        return Parts(
            id,
            tuple(_given(_members(request).get("input"))),
            tuple([(_item(raw).id or "", raw) for raw in output]),
            tuple(large),
            _encode(members),
        )

    def resumed(self, request: bytes, found: Mapping[str, Sequence[bytes]]) -> bytes:
        """Writes a request that goes on from what was found as one that holds it.

        An item stands once in a conversation: a client that refers to a message by each of its parts refers to it
        several times (`@ai-sdk/openai` 3).
        """
        members = _members(request)
        items: list[bytes] = []
        previous = members.get("previous_response_id")
        if previous is not None and (name := _decode(previous)) in found:
            items += found[name]
            del members["previous_response_id"]
        seen: set[str] = set()
        for raw in _given(members.get("input")):
            read = _item(raw) if _REFERENCE in raw else None
            name = read.id if read is not None and read.type == "item_reference" else None
            if name is None or name not in found:
                items.append(raw)
            elif name not in seen:
                seen.add(name)
                items += found[name]
        members["input"] = msgspec.Raw(_listed(items))
        return _encode(members)

    def answer(self, rest: bytes, large: Sequence[tuple[str, bytes]], output: Sequence[bytes]) -> bytes:
        """Puts an answer together again."""
        whole = _members(rest)
        whole.update({name: msgspec.Raw(raw) for name, raw in large})
        whole["output"] = msgspec.Raw(_listed(output))
        return _encode(whole)

    def streamed(self, answer: bytes) -> bytes:
        """Tells an answer as a stream."""
        return _responses_replay.told(_decode(answer))

    def page(self, id: str, given: Sequence[bytes], query: Mapping[str, str]) -> bytes:
        """Lists the items that an answer was made of: those of the answers that it goes on from as well.

        Newest first unless `order` is asc, as OpenAI has it.
        """
        items = [_shown(_decode(raw), id, number) for number, raw in enumerate(given)]
        if _among(query, "order", ("asc", "desc"), "desc") == "desc":
            items.reverse()
        limit = query.get("limit", str(_PAGE))
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= _PAGE_MAX):
            raise BadRequest(f"limit is a number from 1 to {_PAGE_MAX}", param="limit")
        after = query.get("after")
        if after is not None:
            place = next((place for place, item in enumerate(items) if item["id"] == after), None)
            if place is None:
                raise BadRequest(f"after: there is no item {after[:80]!r}", param="after")
            items = items[place + 1 :]
        page = items[: int(limit)]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return _encode({"object": "list", "data": page, **ends, "has_more": len(items) > len(page)})

    def deleted(self, id: str) -> bytes:
        """Says that an answer is gone."""
        return _encode({"id": id, "object": "response", "deleted": True})


def _given(given: msgspec.Raw | None) -> list[bytes]:
    """Returns the items of `input`; a text is a message."""
    if given is None:
        return []
    try:
        return [bytes(raw) for raw in _items(given)]
    except msgspec.ValidationError:
        content = {"type": "input_text", "text": _decode(given)}
        return [_encode({"type": "message", "role": "user", "content": [content]})]


def _listed(items: Sequence[bytes]) -> bytes:
    return b"[%b]" % b",".join(items)


def _shown(item: dict[str, Json], id: str, number: int) -> dict[str, Json]:
    """Writes an item of a request as OpenAI lists it: with an id, its content in parts."""
    kind = item.get("type") or "message"
    call_id = id.partition(MARK)[2]
    shown: dict[str, Json] = {"type": kind, **item}
    if not isinstance(item.get("id"), str):  # an `i` before the number: none of the answer's own items has it
        shown["id"] = minted(_ID_PREFIXES.get(kind, "item"), f"{call_id}i", number)
    if kind == "message" and isinstance(item.get("content"), str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        more: dict[str, Json] = {"annotations": []} if part == "output_text" else {}
        shown["content"] = [{"type": part, "text": item["content"], **more}]
    if kind in _WITH_STATUS or (kind == "message" and item.get("role") == "assistant"):
        shown.setdefault("status", "completed")
    return shown


def _among(query: Mapping[str, str], name: str, words: tuple[str, ...], usual: str) -> str:
    word = query.get(name, usual)
    if word not in words:
        raise BadRequest(f"{name} is one of {', '.join(words)}", param=name)
    return word
