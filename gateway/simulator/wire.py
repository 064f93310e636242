"""What a wire of the simulator must do: read a request, write an answer, write an error."""

from __future__ import annotations

from typing import Protocol

from gateway.core.blocks import Json
from gateway.simulator.answers import Answer, Ask
from gateway.simulator.play import Refused, Reply


class Wire(Protocol):
    """A provider's wire, seen from its own side."""

    def read(self, body: dict[str, Json]) -> Ask:
        """Reads a request; raises Refused as the provider would."""
        ...

    def reply(self, ask: Ask, answers: list[Answer], cached_tokens: int, serial: int) -> Reply:
        """Writes the answers of one call, streamed as it asks; `serial` makes ids unique."""
        ...

    def failure(self, refused: Refused) -> bytes:
        """Writes an error's body."""
        ...


def members(body: dict[str, Json], name: str) -> list[dict[str, Json]]:
    """Returns a field that must hold a list of objects; absent and null are empty; raises Refused."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refused(400, f"Invalid type for '{name}': expected an array of objects.", param=name)
    return value


def text_of(content: Json) -> str:
    """Returns the text of a message's content: a string, or parts that hold text; what is not text is left out."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(_part(part) for part in content)


def _part(part: Json) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return ""
    for name in ("text", "thinking", "content"):
        if name in part:
            return text_of(part[name])
    return ""


def positive(body: dict[str, Json], name: str) -> int | None:
    """Returns a field that must be a whole number above zero where it is given; raises Refused."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Refused(400, f"Invalid '{name}': expected an integer above 0.", param=name)
    return value
