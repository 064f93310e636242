"""`GET /v1/models`: the names a key may ask for, in OpenAI's shape, or in Anthropic's for who names its version."""

from __future__ import annotations

import time
from urllib.parse import unquote

import msgspec

from gateway.core.blocks import Json
from gateway.core.dialect import Dialect
from gateway.core.errors import CallError, UnknownModel
from gateway.door.app import JSON, Handler, Receive, Send, answer, answer_error
from gateway.door.exchange import Message
from gateway.door.guard import OpenGuard
from gateway.pipeline import Pipeline


def handler(pipeline: Pipeline, guard: OpenGuard, prefix: str, anthropic: Dialect) -> Handler:
    """Returns the handler of the list, and of one model below `prefix`.

    A request with `anthropic-version` is answered in Anthropic's shape, its errors in the dialect `anthropic`.
    https://platform.claude.com/docs/en/api/models-list (2026-11)
    """

    def told(scope: Message, is_anthropic: bool) -> Json:
        if pipeline.snapshot.open_door:
            guard.check(scope["headers"], "GET")
        principal = pipeline.authenticate(scope["headers"])
        made = pipeline.snapshot.compiled_at
        names = pipeline.snapshot.routing.usable(principal)
        models = [_anthropics(name, made) if is_anthropic else _openais(name, made) for name in names]
        wanted = unquote(scope["path"].removeprefix(prefix)).strip("/")
        if wanted:
            found = next((model for model in models if model["id"] == wanted), None)
            if found is None:
                raise UnknownModel(f"the model {wanted[:200]!r} does not exist, or this key may not use it")
            return found
        if not is_anthropic:
            return {"object": "list", "data": models}
        ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]} if models else _NO_ENDS
        return {"data": models, "has_more": False, **ends}

    async def handle(scope: Message, receive: Receive, send: Send) -> None:
        is_anthropic = any(name == b"anthropic-version" for name, _ in scope["headers"])
        try:
            body = msgspec.json.encode(told(scope, is_anthropic))
        except CallError as error:
            if not is_anthropic:
                raise
            error.request_id = pipeline.next_id()
            named = [(b"request-id", error.request_id.encode())]
            await answer_error(send, error, anthropic.error(error), error.request_id, named)
            return
        await answer(send, 200, body, [JSON])

    return handle


_NO_ENDS = {"first_id": None, "last_id": None}


def _openais(name: str, made: int) -> dict[str, Json]:
    return {"id": name, "object": "model", "created": made, "owned_by": "headgate"}


def _anthropics(name: str, made: int) -> dict[str, Json]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made))
    return {"type": "model", "id": name, "display_name": name, "created_at": created, "lifecycle": "active"}
