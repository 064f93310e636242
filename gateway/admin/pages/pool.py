"""The page of pools: replicas, what each says, and what can be done to them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.admin.access import Admin
from gateway.admin.pages.shell import Entry, Shell


def pool_pages(shell: Shell) -> APIRouter:
    """Returns the page of pools."""
    routes = shell.routes()
    about = "Your own GPUs: replicas with their phase, load and logs; drain, restart, scale"
    shell.add(Entry("Pool", "/admin/ui/pool", "Traffic", icon="pool", about=about, everywhere=True))

    @routes.get("/admin/ui/pool")
    async def pool(request: Request, visitor: Admin) -> Response:
        return shell.page(request, "pool.html", title="Pool")

    return routes
