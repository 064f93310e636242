"""`/admin/providers`: what each kind of provider does with what callers ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from gateway.admin.access import Admin


def router(support: Callable[[], list[dict[str, Any]]]) -> APIRouter:
    """Returns the paths of providers; `support` makes the support matrix."""
    routes = APIRouter()

    @routes.get("/admin/providers")
    async def providers(visitor: Admin) -> Response:
        """Tells what each kind of provider relays, translates, coerces, drops or refuses, and who is of it here."""
        return JSONResponse({"kinds": support()})

    return routes
