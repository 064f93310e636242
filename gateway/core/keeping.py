"""Answers that the gateway keeps itself: where a writer leaves one, and what of a caller's wire keeping takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Keeping(msgspec.Struct):
    """Where the writer of a translated answer leaves it, to be kept once it has ended.

    Request and answer may take `max_bytes` together; 0 keeps none. `previous` names what the call goes on from.
    """

    max_bytes: int = 0
    previous: str | None = None
    answer: bytes | None = None


class Parts(msgspec.Struct, frozen=True):
    """A request and its answer, in the pieces that the next turns repeat.

    `output` are the items that were answered, by their ids; `large` those other members of the answer that the next
    one may have as well (tools, instructions); `rest` is the answer without all of these.
    """

    id: str
    given: tuple[bytes, ...]
    output: tuple[tuple[str, bytes], ...]
    large: tuple[tuple[str, bytes], ...]
    rest: bytes


class KeptWire(Protocol):
    """How a caller's wire writes what is kept of it; pure."""

    def minted(self, id: str) -> bool:
        """Says whether an id is of an answer that no provider keeps."""
        ...

    def parts(self, request: bytes, answer: bytes) -> Parts:
        """Takes a request and its answer apart."""
        ...

    def resumed(self, request: bytes, found: Mapping[str, Sequence[bytes]]) -> bytes:
        """Writes a request that goes on from what was `found`, by id, as one that holds it."""
        ...

    def answer(self, rest: bytes, large: Sequence[tuple[str, bytes]], output: Sequence[bytes]) -> bytes:
        """Puts an answer together again."""
        ...

    def streamed(self, answer: bytes) -> bytes:
        """Tells an answer as a stream."""
        ...

    def page(self, id: str, given: Sequence[bytes], query: Mapping[str, str]) -> bytes:
        """Lists the items that an answer was made of; raises BadRequest naming the parameter."""
        ...

    def deleted(self, id: str) -> bytes:
        """Says that an answer is gone."""
        ...
