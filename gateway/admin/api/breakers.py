"""`/admin/breakers`: the breakers, and their levers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from gateway.admin.access import Admin
from gateway.admin.audit import Audit


class Levers(Protocol):
    """What the admin surface may see and steer of the breakers."""

    def conditions(self) -> list[Mapping[str, Any]]:
        """Every endpoint: its state, why, and its recent history."""
        ...

    def force(self, endpoint: str, state: str) -> Mapping[str, Any]:
        """Opens or closes one; raises CallError for an endpoint that the config does not have."""
        ...


def router(levers: Levers, audit: Audit) -> APIRouter:
    """Returns the paths of breakers. Their handlers stay in the loop, where the breakers live."""
    routes = APIRouter()

    @routes.get("/admin/breakers")
    async def breakers(visitor: Admin) -> Response:
        """Shows every endpoint's breaker."""
        return JSONResponse({"breakers": [dict(each) for each in levers.conditions()]})

    @routes.post("/admin/breakers/{endpoint}")
    async def force(endpoint: str, visitor: Admin, state: Annotated[Literal["open", "closed"], Query()]) -> Response:
        """Forces one breaker open or closed."""
        before = next((each["state"] for each in levers.conditions() if each["endpoint"] == endpoint), None)
        after = dict(levers.force(endpoint, state))
        what = "breaker.opened" if state == "open" else "breaker.closed"
        await run_in_threadpool(
            audit.tell, visitor, what, f"breakers/{endpoint}", {"state": before}, {"state": after["state"]}
        )
        return JSONResponse(after)

    return routes
