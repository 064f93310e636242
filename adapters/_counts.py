"""The count of a prompt's tokens that a provider gives in its own words, written in the caller's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from gateway.core.blocks import Json, Metered
from gateway.core.dialect import Writer
from gateway.core.errors import Reason, UpstreamError
from gateway.core.money import Usage

_decode: Final = msgspec.json.Decoder(dict[str, Json]).decode


class CountDecoder:
    """Gathers a body that holds a count under `field`; nothing was used, and nothing is paid."""

    __slots__ = (
        "_field",
        "_pieces",
        "_writer",
        "complete",
        "dropped",
        "finish",
        "output_bytes",
        "progress",
        "started",
        "usage",
    )

    def __init__(self, writer: Writer, field: str) -> None:
        self.started = False
        self.progress = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.output_bytes = 0
        self.dropped = 0
        self.complete = False
        self._writer = writer
        self._field = field
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the body; raises UpstreamError where it holds no count."""
        try:
            count = _decode(b"".join(self._pieces)).get(self._field)
        except UNREADABLE:
            count = None
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no count of tokens")
        self.started = self.complete = True
        self.progress = 1
        return (self._writer.write(Metered(Usage(fresh_input=count))) + self._writer.end(),)
