"""The calls of a sequence, and the sequence once it is over: all that is known of it from outside the gateway."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.storms.callers import Caller
from tests.storms.places import Heard
from tests.storms.steps import Ask

_LABELS: Final = ("internal", "confidential", "restricted")
_WORDS: Final = {"number": " My number is 536-90-4399.", "term": " It is about Project Falcon."}


class Asked:
    """One call: what was asked, and what its caller got."""

    def __init__(self, number: int, ask: Ask, revision: int) -> None:
        self.number = number
        self.ask = ask
        self.caller = Caller(ask.pace, ask.leave)
        self.first_revision = revision  # the config's, as it was sent
        self.last_revision = revision  # and as it was over

    @property
    def user(self) -> str:
        """Whom it names as its user: nobody else does, and no cache looks at it."""
        return f"user-{self.number}"

    def request(self, sequence: int) -> bytes:
        """Returns the bytes of its request; twins ask the same."""
        ask = self.ask
        subject = f"call {self.number}" if ask.twin is None else f"twins {ask.twin}"
        words = f"Sequence {sequence}, {subject}.{_WORDS.get(ask.level, '')}{' .' * (ask.filler_bytes // 2)}"
        body: dict[str, Any] = {
            "model": ask.model,
            "messages": [{"role": "user", "content": words}],
            "stream": ask.stream,
            "user": self.user,
            "max_tokens": ask.tokens,
            "temperature": 1 if ask.twin is None else 0,
        }
        if ask.usage:
            body["stream_options"] = {"include_usage": True}
        written = json.dumps(body).encode()
        head = [
            "POST /v1/chat/completions HTTP/1.1",
            "host: gateway",
            "content-type: application/json",
            f"content-length: {len(written)}",
            f"authorization: Bearer hg-{ask.key}",
            f"traceparent: 00-{self.number:032x}-00000000000000ff-00",  # goes upstream as it came
        ]
        if ask.level in _LABELS:
            head.append(f"x-data-sensitivity: {ask.level}")
        if ask.timeout_s is not None:
            head.append(f"x-headgate-timeout: {ask.timeout_s}")
        return "\r\n".join([*head, "", ""]).encode() + written


class Past:
    """A sequence that is over."""

    def __init__(self, heard: list[Heard], answers: dict[tuple[str, str], list[Heard]]) -> None:
        self.heard = heard
        self.answers = answers
        self.calls: list[Asked] = []
        self.receipts: list[dict[str, Any]] = []
        self.fallen: set[str] = set()  # places that were gone at some time
        self.shut: dict[str, int] = {}  # places that are forced open, with the first call that was made since
        self.killed = False  # the gateway's process, in the midst of it
        self.held_up = False  # the machine let nothing of it run for as long as a caller may read nothing
