"""`/admin/pool`: replicas, what each of them says, and what can be done to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Protocol

import msgspec
from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from gateway.admin.access import Admin, Visitor
from gateway.admin.audit import Audit

MOST_LINES: Final = 10_000
MOST_REPLICAS: Final = 1024

Name = Annotated[str, Path(max_length=200)]


class Desk(Protocol):
    """What the admin surface may see and steer of pools; raises CallError for names that there are not.

    Commands return whether they are done already: a restart may take minutes, and is told of in events.
    """

    def pools(self) -> list[Mapping[str, Any]]:
        """Every pool with its replicas."""
        ...

    def told(self, after: int, pool: str | None) -> list[Any]:
        """The events that came after one, oldest first."""
        ...

    def logs(self, pool: str, replica: str, lines: int) -> list[str]:
        """The last lines of a replica."""
        ...

    async def drain(self, pool: str, replica: str) -> bool:
        """Takes a replica out."""
        ...

    async def restart(self, pool: str, replica: str | None) -> bool:
        """Starts a replica anew, or all of them one by one."""
        ...

    async def scale(self, pool: str, replicas: int) -> bool:
        """Has so many replicas."""
        ...


def router(desk: Desk, audit: Audit) -> APIRouter:
    """Returns the paths of pools. Their handlers stay in the loop, where the pools live."""
    routes = APIRouter()

    @routes.get("/admin/pool")
    async def pools(visitor: Admin) -> Response:
        """Shows every pool: its load, speed and prices, and its replicas."""
        return JSONResponse({"pools": [dict(each) for each in desk.pools()]})

    @routes.get("/admin/pool/events")
    async def events(visitor: Admin, after: Annotated[int, Query(ge=0)] = 0, pool: str | None = None) -> Response:
        """Lists what befell replicas, oldest first: the last thousand, or those after the serial number `after`."""
        return JSONResponse({"events": [msgspec.to_builtins(each) for each in desk.told(after, pool)]})

    @routes.get("/admin/pool/{pool}/{replica}/logs")
    async def logs(
        visitor: Admin, pool: Name, replica: Name, lines: Annotated[int, Query(ge=1, le=MOST_LINES)] = 200
    ) -> Response:
        """Shows the last lines that a replica has said."""
        return JSONResponse({"pool": pool, "replica": replica, "lines": desk.logs(pool, replica, lines)})

    @routes.post("/admin/pool/{pool}/restart")
    async def restart_all(visitor: Admin, pool: Name) -> Response:
        """Starts all replicas anew, one after the other."""
        return await told(visitor, "pool.restarted", f"pool/{pool}", await desk.restart(pool, None))

    @routes.post("/admin/pool/{pool}/scale")
    async def scale(
        visitor: Admin, pool: Name, replicas: Annotated[int, Body(embed=True, ge=0, le=MOST_REPLICAS)]
    ) -> Response:
        """Has so many replicas, until the config says another number."""
        before = {"replicas": next((len(each["replicas"]) for each in desk.pools() if each["pool"] == pool), None)}
        done = await desk.scale(pool, replicas)
        return await told(visitor, "pool.scaled", f"pool/{pool}", done, before, {"replicas": replicas})

    @routes.post("/admin/pool/{pool}/{replica}/drain")
    async def drain(visitor: Admin, pool: Name, replica: Name) -> Response:
        """Takes a replica out: no new calls, those under way go on, then it is stopped."""
        return await told(visitor, "replica.drained", f"pool/{pool}/{replica}", await desk.drain(pool, replica))

    @routes.post("/admin/pool/{pool}/{replica}/restart")
    async def restart(visitor: Admin, pool: Name, replica: Name) -> Response:
        """Drains a replica and starts it anew."""
        return await told(visitor, "replica.restarted", f"pool/{pool}/{replica}", await desk.restart(pool, replica))

    async def told(
        visitor: Visitor, what: str, object: str, done: bool, before: Any = None, after: Any = None
    ) -> Response:
        await run_in_threadpool(audit.tell, visitor, what, object, before, after)
        return JSONResponse({"done": done}, status_code=200 if done else 202)

    return routes
