"""What the tests of Anthropic's Messages share: an own reading of its streams, and its SDK's types as the judge."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def events(stream: bytes) -> list[dict[str, Any]]:
    """Reads a stream; each event's name is that of its data."""
    assert stream.endswith(b"\n\n")
    read = []
    for block in stream[:-2].split(b"\n\n"):
        name, data = block.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        read.append(event)
    return read


def ordered(read: Iterable[dict[str, Any]]) -> None:
    """Asserts the order that Anthropic's streams have: a start, whole blocks one after the other, a delta, a stop."""
    kinds = [(event["type"], event.get("index")) for event in read if event["type"] != "ping"]
    assert kinds[0] == ("message_start", None)
    assert kinds[-2:] == [("message_delta", None), ("message_stop", None)]
    block, is_open = -1, False
    for kind, index in kinds[1:-2]:
        if kind == "content_block_start":
            assert not is_open
            block, is_open = block + 1, True
        elif kind == "content_block_stop":
            assert is_open
            is_open = False
        else:
            assert kind == "content_block_delta"
            assert is_open
        assert index == block
    assert not is_open


def put_together(read: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the message that the official SDK makes of a stream's events, each valid to its types."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in read:
        parsed = _EVENT.validate_json(json.dumps(event), strict=True)
        snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)
    put: dict[str, Any] = snapshot.to_dict()
    return put


def valid(message: dict[str, Any]) -> dict[str, Any]:
    """Asserts that the official SDK takes a message strictly; returns it."""
    Message.model_validate_json(json.dumps(message), strict=True)
    return message
