"""`/admin/costs`: what calls cost, what was spared, what changed, and what one's own GPUs cost.

Parameters are those of `gateway.accounting.costs.query_of`: a dimension is a filter, of several values any.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from gateway.admin.access import Admin, Seen, Visitor
from gateway.core.errors import Forbidden

Parameters = Iterable[tuple[str, str]]

_WORTH_PACKING: Final = 2000  # bytes


class Accounts(Protocol):
    """What the admin surface asks of the books; raises CallError, naming the choices, for a word that is none.

    `only_team` confines an answer to a team, whatever the parameters ask for.
    """

    def costs(self, parameters: Parameters, only_team: str | None = None) -> bytes:
        """Sums receipts, as JSON."""
        ...

    def costs_csv(self, parameters: Parameters, only_team: str | None = None) -> str:
        """The same as CSV."""
        ...

    def summary(self, parameters: Parameters, only_team: str | None = None) -> msgspec.Struct:
        """Sums a time up, against the time before: savings, unit costs."""
        ...

    def movers(self, parameters: Parameters, only_team: str | None = None) -> msgspec.Struct:
        """Tells what changed most against the time before."""
        ...

    def gpus(self, parameters: Parameters) -> msgspec.Struct:
        """Tells what one's own GPUs cost and did."""
        ...

    def log(self, parameters: Parameters, only_team: str | None = None) -> msgspec.Struct:
        """Lists receipts, the newest first."""
        ...

    def receipt(self, id: str, only_team: str | None = None) -> Mapping[str, Any]:
        """Tells one call whole: its decision, its receipt, and why it cost what it cost."""
        ...

    def decision(self, id: str) -> Mapping[str, Any]:
        """Tells one call's decision, as a sentence and as data."""
        ...


def router(accounts: Accounts) -> APIRouter:
    """Returns the paths of costs."""
    routes = APIRouter()

    @routes.get("/admin/costs", responses={200: {"content": {"text/csv": {}}}})
    def costs(request: Request, visitor: Seen, format: Annotated[Literal["json", "csv"], Query()] = "json") -> Response:
        """Sums what calls cost: `group_by`, `split_by`, `since`, `until`, `tz`; every other parameter filters."""
        parameters = [pair for pair in asked(request, visitor) if pair[0] != "format"]
        if format == "csv":
            return PlainTextResponse(accounts.costs_csv(parameters, visitor.team), media_type="text/csv")
        return json_of(request, accounts.costs(parameters, visitor.team))

    @routes.get("/admin/costs/summary")
    def summary(request: Request, visitor: Seen) -> Response:
        """Sums a time up, against as long a time before: savings, unit costs, what is estimated or has no price."""
        return json_of(request, accounts.summary(asked(request, visitor), visitor.team))

    @routes.get("/admin/costs/movers")
    def movers(request: Request, visitor: Seen) -> Response:
        """Tells what changed most against as long a time before: by team, or by `group_by`."""
        return json_of(request, accounts.movers(asked(request, visitor), visitor.team))

    @routes.get("/admin/costs/gpus")
    def gpus(request: Request, visitor: Admin) -> Response:
        """Tells what one's own GPUs cost, what they did for it, and from where on they are worth it."""
        return json_of(request, accounts.gpus(request.query_params.multi_items()))

    return routes


def asked(request: Request, visitor: Visitor) -> list[tuple[str, str]]:
    """Returns a request's parameters; raises Forbidden where they name a team that is not the visitor's."""
    parameters = request.query_params.multi_items()
    if visitor.team is not None:
        for name, value in parameters:
            if name == "team" and value != visitor.team:
                raise Forbidden(f"this is not of the team {visitor.team!r}", code="role_forbidden")
    return parameters


def json_of(request: Request, answer: msgspec.Struct | Mapping[str, Any] | bytes) -> Response:
    """Answers with JSON, packed where the caller takes that: sums by time are names of fields for the most part.

    It takes two milliseconds per 100 KB, so it belongs into a thread.
    """
    body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
    headers = {"vary": "accept-encoding"}
    if len(body) > _WORTH_PACKING and "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"], body = "gzip", gzip.compress(body, 5, mtime=0)
    return Response(body, headers=headers, media_type="application/json")
