"""`/admin/receipts`: the log of calls, and one call whole."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from gateway.admin.access import Seen
from gateway.admin.api.costs import Accounts, asked, json_of


def router(accounts: Accounts) -> APIRouter:
    """Returns the paths of receipts."""
    routes = APIRouter()

    @routes.get("/admin/receipts")
    def log(request: Request, visitor: Seen) -> Response:
        """Lists receipts, the newest first: `since`, `until`, `status`, `reason`, `min_usd` …; a dimension filters."""
        return json_of(request, accounts.log(asked(request, visitor), visitor.team))

    @routes.get("/admin/receipts/{id}")
    def receipt(id: Annotated[str, Path(max_length=100)], visitor: Seen, request: Request) -> Response:
        """Tells one call whole: its decision, its receipt, and why it cost what it cost."""
        return json_of(request, accounts.receipt(id, visitor.team))

    return routes
