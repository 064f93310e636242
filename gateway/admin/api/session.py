"""`/admin/session`: logging in, saying who one is, logging out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from gateway.admin.access import Reader, Visitor
from gateway.admin.keeper import Keeper
from gateway.admin.sessions import COOKIE, csrf_of
from gateway.core.errors import BadRequest


def router(keeper: Keeper) -> APIRouter:
    """Returns the paths of sessions."""
    routes = APIRouter()

    @routes.post("/admin/session")
    async def log_in(request: Request, key: str = Body(embed=True, max_length=1000)) -> Response:
        """Begins a session with the admin key, or with a key that has a role; the answer sets a cookie."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise BadRequest("log in with content-type application/json", param="key")
        address = request.client.host if request.client else ""
        id, visitor = await run_in_threadpool(keeper.login, key.strip(), address)
        answer = JSONResponse(_told(visitor, csrf_of(id)))
        answer.set_cookie(COOKIE, id, path="/admin", httponly=True, samesite="strict", secure=_over_tls(request))
        return answer

    @routes.get("/admin/session")
    async def who(request: Request, visitor: Reader) -> Response:
        """Tells who asks, and the token that changes by this session need."""
        return JSONResponse(_told(visitor, request.state.csrf))

    @routes.delete("/admin/session")
    async def log_out(request: Request, visitor: Reader) -> Response:
        """Ends the session."""
        if request.state.session is not None:
            keeper.sessions.end(request.state.session)
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, path="/admin", httponly=True, samesite="strict", secure=_over_tls(request))
        return answer

    return routes


def _told(visitor: Visitor, csrf: str | None) -> dict[str, Any]:
    return {"name": visitor.name, "role": visitor.role, "team": visitor.team, "by": visitor.by, "csrf": csrf}


def _over_tls(request: Request) -> bool:
    # A proxy in front ends TLS. Who makes this header up for himself gets a stricter cookie, no more.
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").lower() == "https"
