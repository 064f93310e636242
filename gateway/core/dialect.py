"""The interface of a caller's wire: reading requests, writing answers and errors, replaying cached answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.core.blocks import Conversation, Event
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import CallError
from gateway.core.forms import Form
from gateway.core.money import Usage
from gateway.core.types import Call, Headers


class Writer(Protocol):
    """Turns a provider's events into the caller's bytes: pieces of a stream, or one body at the end."""

    def write(self, event: Event) -> bytes:
        """Returns what goes to the caller for this event; empty for a unary answer until `end`."""
        ...

    def end(self) -> bytes:
        """Returns the rest: a stream's last events and sentinel, or the whole unary body."""
        ...


class Dialect(Protocol):
    """A caller's wire."""

    name: str  # "chat"
    numbered: bool  # its events have numbers: an error's follows from what was told before it
    endpoint: str  # the family it asks for: "chat", "completions", "embeddings"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with `param` for a body that cannot be one.

        `received_at` is seconds since the epoch.
        """
        ...

    def conversation(self, call: Call) -> Conversation:
        """Reads the whole request into blocks, for translators; raises BadRequest naming the field."""
        ...

    def embedding_request(self, call: Call) -> EmbeddingRequest:
        """Reads what is to be embedded, for translators; raises BadRequest naming the field, or where none is asked."""
        ...

    def fields(self, call: Call, names: Sequence[str]) -> Sequence[str]:
        """Returns the caller's own name for each field that a translator names as the conversation has it.

        Any other name stays as it is, such as one that reading the request, or relaying it, came upon.
        """
        ...

    def writer(self, call: Call, model: str) -> Writer:
        """Returns a writer for one answer, streamed as the call asks."""
        ...

    def error(self, error: CallError) -> bytes:
        """Writes an error as a body."""
        ...

    def error_event(self, error: CallError, after: bytes = b"") -> bytes:
        """Writes an error in-band, as the end of a stream that has begun; `after` is the piece that left before it."""
        ...

    def replay(self, body: bytes, streamed: bool, call: Call, usage: Usage | None = None) -> bytes:
        """Rewrites a kept answer (`streamed` says in which form it was kept) into the form that `call` asks for.

        `usage` is what it used: whoever asks for it is shown it, also where the answer was kept without.
        """
        ...


class FormDialect(Dialect, Protocol):
    """A caller's wire whose requests are forms."""

    def of(self, form: Form) -> Dialect:
        """Returns the dialect of one request: its `parse` reads this form, and no body."""
        ...
