"""`/v1/responses/{id}`: an answer that its provider or the gateway keeps, for the tenant that it was made for."""

from __future__ import annotations

import asyncio

from gateway.core.dialect import Dialect
from gateway.core.errors import CallError, ClientGone, UnknownPath, UpstreamError, WrongMethod, unanswered
from gateway.door.app import Handler, Receive, Send, answer, answer_error
from gateway.door.exchange import Message, RawHeaders
from gateway.door.guard import OpenGuard
from gateway.pipeline import Pipeline
from gateway.revisit import ACTIONS, Visit, revisit, revisit_ours
from gateway.upstream import Exchange

_STREAM = b"text/event-stream"


def handler(pipeline: Pipeline, dialect: Dialect, guard: OpenGuard, prefix: str) -> Handler:
    """Returns the handler of everything below `prefix`."""

    async def handle(scope: Message, receive: Receive, send: Send) -> None:
        method = scope["method"]
        call_id = pipeline.next_id()
        try:
            if pipeline.snapshot.open_door:
                guard.check(scope["headers"], method)
            principal = pipeline.authenticate(scope["headers"])
            visit = _visit(scope, method, prefix)
            if (found := revisit_ours(pipeline.services, principal, visit)) is not None:
                kind = _STREAM if found.streamed else b"application/json"
                await answer(send, 200, found.body, _headers(kind, call_id, found.deployment))
                return
            exchange, deployment = await revisit(pipeline.services, pipeline.snapshot, principal, visit)
            try:
                await _pass_on(exchange, send, dialect, call_id, deployment.name)
            finally:
                exchange.abort()
        except CallError as error:
            await answer_error(send, error, dialect.error(error), call_id)
        except ClientGone:
            return

    return handle


def _visit(scope: Message, method: str, prefix: str) -> Visit:
    name, _, rest = scope["path"].removeprefix(prefix).partition("/")
    action = ACTIONS.get((method, rest.strip("/")))
    if action is None:
        allowed = sorted(allow for allow, each in ACTIONS if each == rest.strip("/"))
        if not allowed:
            raise UnknownPath(f"nothing is served at {scope['path'][:200]}")
        raise WrongMethod(f"{scope['path'][:200]} takes {', '.join(allowed)}, not {method}", ", ".join(allowed))
    return Visit(name, method, action, scope.get("query_string", b""))


def _headers(kind: bytes, call_id: str, deployment: str) -> RawHeaders:
    return [
        (b"content-type", kind),
        (b"x-request-id", call_id.encode()),
        (b"x-headgate-deployment", deployment.encode()),
    ]


async def _pass_on(exchange: Exchange, send: Send, dialect: Dialect, call_id: str, deployment: str) -> None:
    """Hands the provider's answer on: whole, or as the stream that it is."""
    kind = next((value for name, value in exchange.headers if name == b"content-type"), b"application/json")
    headers = _headers(kind, call_id, deployment)
    if not kind.lower().startswith(_STREAM):
        try:
            body = await exchange.read()
        except UpstreamError as error:
            raise unanswered(error, deployment) from None
        await answer(send, exchange.status, body, headers)
        return
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
    loop = asyncio.get_running_loop()
    last = b""
    try:
        while (piece := await exchange.next()) is not None:
            exchange.expires_at = loop.time() + 60.0
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            last = piece
    except UpstreamError as error:
        end = dialect.error_event(unanswered(error, deployment), last)
        await send({"type": "http.response.body", "body": end})
        return
    await send({"type": "http.response.body", "body": b""})
