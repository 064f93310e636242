"""`/admin/live`: the traffic of the last minutes, and how things stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from gateway.admin.access import Admin


class Traffic(Protocol):
    """What the admin surface may see of the traffic."""

    def told(self, seconds: float) -> Mapping[str, Any]:
        """Tells rates by step, and deployments and errors of the last `seconds`."""
        ...


def router(traffic: Traffic) -> APIRouter:
    """Returns the path of live traffic. Its handler stays in the loop, where the counters are written."""
    routes = APIRouter()

    @routes.get("/admin/live")
    async def live(visitor: Admin, seconds: Annotated[float, Query(ge=2, le=900)] = 60.0) -> Response:
        """Tells rates of the last quarter of an hour, and latencies and errors of the last `seconds`."""
        return JSONResponse(dict(traffic.told(seconds)))

    return routes
