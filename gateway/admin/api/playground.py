"""`/admin/playground`: a chat call as one of one's own keys, through the pipeline that every call takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.admin.access import Seen, Visitor
from gateway.state.protocols import KeyRow

Key = Annotated[str | None, Query(max_length=200, description="The name of the key to play as; an admin may leave it.")]


class Playground(Protocol):
    """What the admin surface may have played."""

    def keys(self, visitor: Visitor) -> Sequence[KeyRow]:
        """Returns the keys that somebody may play as; raises Forbidden."""
        ...

    def models(self, visitor: Visitor, key: str | None) -> list[str]:
        """Returns the names that a key may ask for; raises Forbidden, BadRequest."""
        ...

    def play(self, visitor: Visitor, key: str | None, body: bytes) -> Callable[[Any, Any, Any], Awaitable[None]]:
        """Returns the call, as an ASGI application to run; raises Forbidden, BadRequest."""
        ...


class _Played(Response):
    """An answer that writes itself as it comes."""

    def __init__(self, call: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        super().__init__()
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._call(scope, receive, send)


def router(playground: Playground) -> APIRouter:
    """Returns the paths of the playground. Its handlers stay in the loop, where calls are answered."""
    routes = APIRouter()

    @routes.get("/admin/playground")
    async def choices(visitor: Seen, key: Key = None) -> Response:
        """Tells as which keys one may play, and which models the named key (an admin: no key) may ask for."""
        keys = [{"name": row.name, "team": row.team} for row in playground.keys(visitor)]
        named = key is not None or visitor.role == "admin"
        return JSONResponse({"keys": keys, "models": playground.models(visitor, key) if named else []})

    @routes.post("/admin/playground/chat")
    async def chat(request: Request, visitor: Seen, key: Key = None) -> Response:
        """Answers a chat completion, whole or streamed, as `/v1/chat/completions` answers one with that key."""
        return _Played(playground.play(visitor, key, await request.body()))

    return routes
