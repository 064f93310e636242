"""Tool calls of a history, as providers hold it to: arguments are an object, and every call is answered at once."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from adapters._blocks import UNREADABLE
from gateway.core.blocks import Json, ToolCall
from gateway.core.errors import BadRequest

Sent = TypeVar("Sent")


def arguments_of(call: ToolCall, where: str) -> dict[str, Json]:
    """Returns a call's arguments, empty where there are none; raises BadRequest where they are no object."""
    try:
        arguments = msgspec.json.decode(call.arguments) if call.arguments.strip() else {}
    except UNREADABLE:
        arguments = None
    if not isinstance(arguments, dict):
        field = f"{where}.function.arguments"
        raise BadRequest(f"{field} must be a JSON object as text", param=field)
    return arguments


class OpenCalls(Generic[Sent]):
    """The calls that nothing has answered yet, each with what it was sent as; ids may repeat."""

    def __init__(self) -> None:
        self._open: dict[str, list[Sent]] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, call_id: str, sent: Sent) -> None:
        """Opens a call."""
        self._open.setdefault(call_id, []).append(sent)

    def answer(self, call_id: str, where: str) -> Sent:
        """Closes the first call of this id; raises BadRequest where none is open."""
        waiting = self._open.get(call_id)
        if not waiting:
            field = f"{where}.tool_call_id"
            raise BadRequest(f"{field}: {call_id!r} answers no tool call of the turn before", param=field)
        sent = waiting.pop(0)
        if not waiting:
            del self._open[call_id]
        return sent

    def close(self, turn: int) -> None:
        """Ends the step; raises BadRequest naming the turn of the calls where one is still open."""
        for call_id in self._open:
            field = f"messages.{turn}.tool_calls"
            raise BadRequest(f"{field}: no tool message answers the call {call_id!r}", param=field)
