"""`/admin/decisions`: why a call went where it went."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response

from gateway.admin.access import Seen, confined
from gateway.admin.api.costs import Accounts


def router(accounts: Accounts) -> APIRouter:
    """Returns the paths of decisions."""
    routes = APIRouter()

    @routes.get("/admin/decisions/{id}")
    def decision(id: Annotated[str, Path(max_length=100)], visitor: Seen) -> Response:
        """Tells why one call went where it went."""
        told = dict(accounts.decision(id))
        confined(visitor, told["receipt"].get("team"))
        return JSONResponse(told)

    return routes
