"""`/admin/costs`: what calls cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from gateway.admin.access import Seen, Visitor
from gateway.core.errors import Forbidden


class Accounts(Protocol):
    """What the admin surface asks of the books; raises CallError, naming the choices, for a word that is none."""

    def costs(self, parameters: Mapping[str, str]) -> bytes:
        """Sums receipts, as JSON."""
        ...

    def costs_csv(self, parameters: Mapping[str, str]) -> str:
        """The same as CSV."""
        ...

    def decision(self, id: str) -> Mapping[str, Any]:
        """Tells one call's decision, as a sentence and as data."""
        ...


def router(accounts: Accounts) -> APIRouter:
    """Returns the paths of costs."""
    routes = APIRouter()

    @routes.get("/admin/costs", responses={200: {"content": {"text/csv": {}}}})
    def costs(request: Request, visitor: Seen, format: Annotated[Literal["json", "csv"], Query()] = "json") -> Response:
        """Sums what calls cost: `group_by`, `since`, `until`; every other parameter filters (`team=sales`)."""
        parameters = {name: value for name, value in request.query_params.items() if name != "format"}
        parameters = _confined(visitor, parameters)
        if format == "csv":
            return PlainTextResponse(accounts.costs_csv(parameters), media_type="text/csv")
        return Response(accounts.costs(parameters), media_type="application/json")

    return routes


def _confined(visitor: Visitor, parameters: dict[str, str]) -> dict[str, str]:
    """Returns the parameters with the visitor's team among them; raises Forbidden where they name another."""
    if visitor.team is None:
        return parameters
    if parameters.get("team", visitor.team) != visitor.team:
        raise Forbidden(f"this is not of the team {visitor.team!r}", code="role_forbidden")
    return {**parameters, "team": visitor.team}
