"""The playground: a call by the real pipeline, as a key that its visitor may use, without that key's plain text.

Guarantees, limits, receipts and money are those of any call with that key. Nothing that is said is kept.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.admin.access import Visitor, confined
from gateway.auth import principal_of
from gateway.core.errors import BadRequest, CallError, ClientGone, Forbidden
from gateway.core.types import Principal
from gateway.door.app import Receive, Send, answer_error
from gateway.door.exchange import Message, RawHeaders
from gateway.door.inference import Reply
from gateway.pipeline import Ask
from gateway.state.protocols import KeyRow
from gateway.wiring.compile import teams_of, written_keys
from gateway.wiring.kinds import DIALECTS
from gateway.wiring.runtime import Runtime

ADMIN: Final = "playground"  # what receipts name as the key of an admin who plays as nobody

Played = Callable[[Message, Receive, Send], Awaitable[None]]


class Playground:
    """Plays calls. An admin plays as any key, or as none; an owner as his team's keys; a viewer not at all."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def keys(self, visitor: Visitor) -> list[KeyRow]:
        """Returns the keys that somebody may play as; raises Forbidden for a viewer."""
        if visitor.role == "viewer":
            raise Forbidden(f"{visitor.name} may look, and calls cost money", code="role_forbidden")
        return [row for row in self._rows() if row.enabled and visitor.team in (None, row.team)]

    def models(self, visitor: Visitor, key: str | None) -> list[str]:
        """Returns the names that a key may ask for."""
        return list(self._runtime.pipeline.snapshot.routing.usable(self._principal(visitor, key)))

    def play(self, visitor: Visitor, key: str | None, body: bytes) -> Played:
        """Returns the call as an application to run; raises Forbidden, and BadRequest for a key that there is not."""
        principal, arrived_at = self._principal(visitor, key), time.monotonic()
        pipeline, dialect = self._runtime.pipeline, DIALECTS["chat"]

        async def answer(scope: Message, receive: Receive, send: Send) -> None:
            call_id = pipeline.next_id()
            decided: RawHeaders = [(b"x-headgate-decision", call_id.encode())]
            reply = Reply(send, dialect, None, call_id, [])
            try:
                await pipeline.answer(Ask(call_id, dialect, (_JSON,), body, principal, arrived_at), reply)
            except CallError as error:
                error.request_id = call_id
                await answer_error(send, error, dialect.error(error), call_id, decided)
            except ClientGone:
                return

        return answer

    def _principal(self, visitor: Visitor, key: str | None) -> Principal:
        config = self._runtime.loaded.config
        if key is None:
            if visitor.role != "admin":
                raise Forbidden("name one of your team's keys to play as", code="role_forbidden", param="key")
            row = KeyRow(hash="", name=ADMIN)
        else:
            found = next((each for each in self._rows() if each.name == key), None)
            if found is not None or visitor.team is not None:  # who is confined is not told what others have
                confined(visitor, None if found is None else found.team)
            if visitor.role == "viewer":
                raise Forbidden(f"{visitor.name} may look, and calls cost money", code="role_forbidden")
            if found is None:
                raise BadRequest(f"there is no key {key[:100]!r}", param="key")
            row = found
        principal = principal_of(row, config.sensitivity.levels, teams_of(config))
        if not principal.enabled or (principal.expires_at is not None and time.time() >= principal.expires_at):
            raise BadRequest(f"the key {key!r} has expired or is disabled", param="key")
        return principal

    def _rows(self) -> Sequence[KeyRow]:
        return [*written_keys(self._runtime.loaded.config), *self._runtime.stored_keys]


_JSON: Final = (b"content-type", b"application/json")
