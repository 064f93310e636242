"""Comes back to an answer that is kept: to read it, its input, to cancel or to delete it.

The provider that keeps it is asked again; what is kept here is read here. The caller must be of the tenant that the
answer was made for; to anybody else there is no such answer. Nothing is asked of a model, so there is no receipt.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import BadRequest, Overloaded, Reason, UpstreamError, unanswered
from gateway.core.types import Deployment, Endpoint, Principal
from gateway.kept import UnknownAnswer
from gateway.pipeline import Services
from gateway.snapshot import Snapshot
from gateway.state.protocols import StoreUnavailable
from gateway.upstream import Exchange

_ANSWER_S: Final = 60.0
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_QUERY: Final = re.compile(rb"[A-Za-z0-9_.,:%=&\[\]-]{0,1000}")

# What may follow an answer's id, by method.
ACTIONS: Final = {
    ("GET", ""): b"",
    ("DELETE", ""): b"",
    ("GET", "input_items"): b"/input_items",
    ("POST", "cancel"): b"/cancel",
}


class Visit(msgspec.Struct, frozen=True):
    """What is asked of which answer; `action` is a value of ACTIONS, `query` the caller's, without its mark."""

    id: str
    method: str
    action: bytes
    query: bytes = b""


class Found(msgspec.Struct, frozen=True):
    """What is said of an answer that is kept here, and who once gave it."""

    body: bytes
    deployment: str
    streamed: bool = False


def revisit_ours(services: Services, principal: Principal, visit: Visit) -> Found | None:
    """Says what is asked of an answer that is kept in this process; None where it is not.

    Raises BadRequest for what cannot be asked of one.
    """
    content = services.kept.content
    kept = content.find(visit.id, principal)
    if kept is None:
        return None
    query = dict(parse_qsl(visit.query.decode("latin-1")))
    match visit.method, visit.action:
        case "DELETE", _:
            content.forget(kept)
            return Found(content.wire.deleted(kept.id), kept.deployment)
        case "POST", _:
            raise BadRequest("Cannot cancel a synchronous response.", param="response_id")
        case _, b"/input_items":
            return Found(content.wire.page(kept.id, [piece.raw for piece in kept.given], query), kept.deployment)
    if query.get("stream") != "true":
        return Found(content.whole(kept), kept.deployment)
    if "starting_after" in query:
        raise BadRequest("starting_after: this answer's own events are not kept", param="starting_after")
    return Found(content.wire.streamed(content.whole(kept)), kept.deployment, streamed=True)


async def revisit(
    services: Services, snapshot: Snapshot, principal: Principal, visit: Visit
) -> tuple[Exchange, Deployment]:
    """Returns the provider's 2xx answer, which the caller of this reads and ends, and who gave it.

    Raises UnknownAnswer, Unanswered as the pipeline does, Overloaded where nobody can be asked.
    """
    ours = services.kept.content.wire.minted(visit.id)
    row = await services.kept.find(visit.id, principal) if not ours and _ID.fullmatch(visit.id) else None
    deployment = None
    if row is not None:
        deployment = next((each for each in snapshot.deployments if each.name == row.deployment), None)
    if deployment is None:
        why = f": {services.kept.content.why_missing()}" if ours else "."
        raise UnknownAnswer(f"Response with id {visit.id[:80]!r} not found{why}", param="response_id")
    if deployment.disabled is not None or not deployment.endpoints:
        raise Overloaded(f"deployment {deployment.name!r}, which keeps the response, is disabled")
    error: UpstreamError | None = None
    for endpoint in deployment.endpoints:
        try:
            exchange = await _ask(services, snapshot, deployment, endpoint, visit)
        except UpstreamError as failure:
            error = failure
            if failure.reason not in (Reason.CONNECT, Reason.UNAUTHENTICATED):
                break
            continue
        if visit.method == "DELETE":
            with contextlib.suppress(StoreUnavailable):  # it is gone where it was kept: nobody finds it any more
                await services.kept.forget(visit.id)
        return exchange, deployment
    assert error is not None
    raise unanswered(error, deployment.name)


async def _ask(
    services: Services, snapshot: Snapshot, deployment: Deployment, endpoint: Endpoint, visit: Visit
) -> Exchange:
    adapter = snapshot.adapters[deployment.name]
    below = b"/responses/" + visit.id.encode() + visit.action
    lay_out = getattr(adapter, "path", None)  # adapters whose paths are not simply below the base
    path: bytes = lay_out(deployment, below) if lay_out is not None else deployment.base_path + below
    if visit.query and _QUERY.fullmatch(visit.query):
        path += (b"&" if b"?" in path else b"?") + visit.query
    request = UpstreamRequest(path, b"", method=visit.method.encode())
    if endpoint.signer:
        signed = await services.signers[endpoint.signer].sign(endpoint, request)
        request = msgspec.structs.replace(request, headers=request.headers + signed)
    expires_at = asyncio.get_running_loop().time() + _ANSWER_S
    exchange = await services.transports[endpoint.transport].send(endpoint, request, deployment.timeouts, expires_at)
    if 200 <= exchange.status < 300:
        return exchange
    try:
        body = await exchange.read()
    finally:
        exchange.abort()
    if exchange.status == 404:
        raise UnknownAnswer(f"Response with id {visit.id!r} is no longer kept by its provider.", param="response_id")
    raise adapter.fault(exchange.status, exchange.headers, body)
