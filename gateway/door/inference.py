"""The endpoints that ask a model: reads the request, hands it to the pipeline, writes what comes back."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from gateway.core.dialect import Dialect
from gateway.core.errors import CallError, ClientGone
from gateway.core.types import Headers
from gateway.door.app import Handler, Receive, Send, answer_error, read_body
from gateway.door.exchange import PUSH, Message, RawHeaders
from gateway.door.guard import OpenGuard
from gateway.pipeline import Ask, Pipeline


class Reply:
    """The caller's side of one answer, as the pipeline writes it."""

    __slots__ = ("_dialect", "_send", "push", "started")

    def __init__(self, send: Send, dialect: Dialect, push: Callable[[bytes], bool] | None) -> None:
        self._send = send
        self.push = push
        self._dialect = dialect
        self.started = False

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Begins the answer; its head leaves with the first piece of its body."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def write(self, data: bytes) -> Awaitable[None]:
        """Writes a piece; waits while the caller reads too slowly."""
        return self._send({"type": "http.response.body", "body": data, "more_body": True})

    def finish(self, data: bytes) -> Awaitable[None]:
        """Writes the last piece."""
        return self._send({"type": "http.response.body", "body": data})

    async def break_off(self, error: CallError) -> None:
        """Ends a stream that has begun with an error in the caller's dialect."""
        await self.finish(self._dialect.error_event(error))


def handler(pipeline: Pipeline, dialect: Dialect, guard: OpenGuard, max_body_bytes: int) -> Handler:
    """Returns the handler of one dialect's endpoint."""

    async def handle(scope: Message, receive: Receive, send: Send) -> None:
        arrived_at = time.monotonic()
        call_id = pipeline.next_id()
        reply = Reply(send, dialect, scope.get(PUSH))
        headers: Headers = scope["headers"]
        decided: RawHeaders = []
        try:
            if pipeline.snapshot.open_door:
                guard.check(headers, "POST")
            principal = pipeline.authenticate(headers)
            body = await read_body(scope, receive, max_body_bytes)
            decided.append((b"x-headgate-decision", call_id.encode()))  # from here on it has a receipt
            await pipeline.answer(Ask(call_id, dialect, headers, body, principal, arrived_at), reply)
        except CallError as error:
            await answer_error(send, error, dialect.error(error), call_id, decided)
        except ClientGone:
            return

    return handle
