"""The endpoints that ask a model: reads the request, hands it to the pipeline, writes what comes back."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from gateway.core.dialect import Dialect, FormDialect
from gateway.core.errors import CallError, ClientGone
from gateway.core.types import Headers
from gateway.door.app import Handler, Receive, Send, answer_error, read_body
from gateway.door.exchange import PUSH, Message, RawHeaders
from gateway.door.guard import OpenGuard
from gateway.door.uploads import CallersForm, Held
from gateway.pipeline import Ask, Pipeline


class Reply:
    """The caller's side of one answer, as the pipeline writes it."""

    __slots__ = ("_call_id", "_dialect", "_last", "_more", "_push", "_send", "push", "started")

    def __init__(
        self, send: Send, dialect: Dialect, push: Callable[[bytes], bool] | None, call_id: str, more: RawHeaders
    ) -> None:
        self._send = send
        self.push = push
        self._last = b""  # the newest piece, where the dialect numbers its events
        if push is not None and dialect.numbered:
            self._push = push
            self.push = self._push_last
        self._dialect = dialect
        self._call_id = call_id
        self._more = more
        self.started = False

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Begins the answer; its head leaves with the first piece of its body."""
        self.started = True
        if self._more:
            headers = [*headers, *self._more]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def write(self, data: bytes) -> Awaitable[None]:
        """Writes a piece; waits while the caller reads too slowly."""
        self._last = data
        return self._send({"type": "http.response.body", "body": data, "more_body": True})

    def _push_last(self, data: bytes) -> bool:
        self._last = data
        return self._push(data)

    def finish(self, data: bytes) -> Awaitable[None]:
        """Writes the last piece."""
        return self._send({"type": "http.response.body", "body": data})

    async def break_off(self, error: CallError) -> None:
        """Ends what has begun with an error in the caller's dialect.

        Where that has no words for it, the answer is left undone: its connection is then broken off, for all to see.
        """
        error.request_id = self._call_id
        event = self._dialect.error_event(error, self._last)
        if event:
            await self.finish(event)


def handler(
    pipeline: Pipeline, dialect: Dialect, guard: OpenGuard, max_body_bytes: int, id_header: bytes | None = None
) -> Handler:
    """Returns the handler of one dialect's endpoint; `id_header` names the call where its clients look for that."""

    async def handle(scope: Message, receive: Receive, send: Send) -> None:
        arrived_at = time.monotonic()
        call_id = pipeline.next_id()
        named: RawHeaders = [(id_header, call_id.encode())] if id_header is not None else []
        reply = Reply(send, dialect, scope.get(PUSH), call_id, named)
        headers: Headers = scope["headers"]
        decided: RawHeaders = [*named]
        try:
            if pipeline.snapshot.open_door:
                guard.check(headers, "POST")
            principal = pipeline.authenticate(headers)
            body = await read_body(scope, receive, max_body_bytes)
            decided.append((b"x-headgate-decision", call_id.encode()))  # from here on it has a receipt
            await pipeline.answer(Ask(call_id, dialect, headers, body, principal, arrived_at), reply)
        except CallError as error:
            error.request_id = call_id
            await answer_error(send, error, dialect.error(error), call_id, decided)
        except ClientGone:
            return

    return handle


def form_handler(
    pipeline: Pipeline, dialect: FormDialect, guard: OpenGuard, max_body_bytes: int, held: Held, other: Handler
) -> Handler:
    """Returns the handler of an endpoint that takes forms; what comes as JSON goes to the `other`."""

    async def handle(scope: Message, receive: Receive, send: Send) -> None:
        headers: Headers = scope["headers"]
        if _is_json(headers):
            await other(scope, receive, send)
            return
        arrived_at = time.monotonic()
        call_id = pipeline.next_id()
        reply = Reply(send, dialect, scope.get(PUSH), call_id, [])
        decided: RawHeaders = []
        form: CallersForm | None = None
        try:
            if pipeline.snapshot.open_door:
                guard.check(headers, "POST", form=True)
            principal = pipeline.authenticate(headers)
            form = CallersForm(scope, receive, max_body_bytes, held)
            await form.open()
            decided.append((b"x-headgate-decision", call_id.encode()))  # from here on it has a receipt
            await pipeline.answer(Ask(call_id, dialect.of(form), headers, b"", principal, arrived_at), reply)
        except CallError as error:
            await answer_error(send, error, dialect.error(error), call_id, decided)
        except ClientGone:
            return
        finally:
            if form is not None:
                form.close()

    return handle


def _is_json(headers: Headers) -> bool:
    given = next((value for name, value in headers if name == b"content-type"), b"")
    return given.partition(b";")[0].strip().lower() == b"application/json"
