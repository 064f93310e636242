"""Asks a provider again about an answer that it keeps: to read it, its input, to cancel or to delete it.

The caller must be of the tenant that the answer was made for; to anybody else there is no such answer. Nothing is
asked of a model, so there is no receipt.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Final

import msgspec

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Overloaded, Reason, UpstreamError, unanswered
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


async def revisit(
    services: Services, snapshot: Snapshot, principal: Principal, visit: Visit
) -> tuple[Exchange, Deployment]:
    """Returns the provider's 2xx answer, which the caller of this reads and ends, and who gave it.

    Raises UnknownAnswer, Unanswered as the pipeline does, Overloaded where nobody can be asked.
    """
    row = await services.kept.find(visit.id, principal) if _ID.fullmatch(visit.id) else None
    deployment = None
    if row is not None:
        deployment = next((each for each in snapshot.deployments if each.name == row.deployment), None)
    if deployment is None:
        raise UnknownAnswer(f"Response with id {visit.id[:80]!r} not found.", param="response_id")
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
