"""What goes wrong with which request: as a test has written it, or as the request itself asks for."""

from __future__ import annotations

from collections import deque

import msgspec

from gateway.core.blocks import Json
from gateway.simulator.connection import Seen
from gateway.simulator.faults import Fault
from gateway.simulator.play import Refused


class Orders:
    """Faults that are still to come. None is a fine answer.

    `script` holds what the next requests for an answer get, in order; `faults` the same by model, or by path.
    """

    def __init__(self) -> None:
        self.script: deque[Fault | None] = deque()
        self.faults: dict[str, list[Fault | None]] = {}
        self._struck: dict[str, int] = {}

    def clear(self) -> None:
        """Forgets them all."""
        self.script.clear()
        self.faults.clear()
        self._struck.clear()

    def early(self, headers: list[tuple[bytes, bytes]]) -> Fault | None:
        """Takes the fault that does not wait for the request's body."""
        if self.script and self.script[0] is not None and self.script[0].kind == "early":
            return _taken(self.script)
        named = dict(headers).get(b"x-simulate", b"").decode("latin-1")
        return Fault.parse(named) if named.startswith("early") else None

    def at(self, path: str) -> Fault | None:
        """Takes the next fault of a path."""
        planned = self.faults.get(path)
        return _taken(planned) if planned else None

    def take(self, seen: Seen, body: dict[str, Json]) -> Fault | None:
        """Returns what goes wrong with this request, and takes the fault's name out of the model's."""
        model, _, named = str(body.get("model") or "").partition("!")
        if named:
            body["model"] = model
        if self.script:
            return _taken(self.script)
        if self.faults.get(model):
            return _taken(self.faults[model])
        header = seen.header(b"x-simulate")
        text = header.decode("latin-1") if header else named
        if not text:
            return None
        try:
            fault = Fault.parse(text)
        except (ValueError, msgspec.ValidationError) as error:
            raise Refused(400, str(error), param="model") from None
        if fault.times is not None:
            strike = self._struck.get(f"{model}!{text}", 0)
            if strike >= fault.times:
                return None
            self._struck[f"{model}!{text}"] = strike + 1
        return fault


def _taken(plan: deque[Fault | None] | list[Fault | None]) -> Fault | None:
    """Takes the next of a plan; one with `times` stays for as many requests."""
    fault = plan[0]
    if fault is not None and fault.times is not None and fault.times > 1:
        plan[0] = msgspec.structs.replace(fault, times=fault.times - 1)
    else:
        del plan[0]
    return fault
