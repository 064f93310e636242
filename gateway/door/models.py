"""`GET /v1/models`: the names a key may ask for."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from gateway.core.errors import UnknownModel
from gateway.door.app import JSON, Handler, Receive, Send, answer
from gateway.door.exchange import Message
from gateway.door.guard import OpenGuard
from gateway.pipeline import Pipeline


def handler(pipeline: Pipeline, guard: OpenGuard, prefix: str) -> Handler:
    """Returns the handler of the list, and of one model below `prefix`."""

    async def handle(scope: Message, receive: Receive, send: Send) -> None:
        if pipeline.snapshot.open_door:
            guard.check(scope["headers"], "GET")
        principal = pipeline.authenticate(scope["headers"])
        models = [
            {"id": name, "object": "model", "created": pipeline.snapshot.compiled_at, "owned_by": "headgate"}
            for name in pipeline.snapshot.routing.usable(principal)
        ]
        wanted = unquote(scope["path"].removeprefix(prefix)).strip("/")
        if not wanted:
            body = msgspec.json.encode({"object": "list", "data": models})
        else:
            found = next((model for model in models if model["id"] == wanted), None)
            if found is None:
                raise UnknownModel(f"the model {wanted[:200]!r} does not exist, or this key may not use it")
            body = msgspec.json.encode(found)
        await answer(send, 200, body, [JSON])

    return handle
