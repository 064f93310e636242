"""The pages of traffic: live figures with the breakers' levers, and the playground."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.admin.access import Admin, Role, Seen
from gateway.admin.pages.shell import Entry, Shell
from gateway.core.errors import Forbidden


def live_pages(shell: Shell) -> APIRouter:
    """Returns the page of live traffic."""
    routes = shell.routes()
    about = "Calls, errors, time to first token and per token, right now; breakers and their levers"
    shell.add(Entry("Live", "/admin/ui/live", "Traffic", icon="live", about=about, everywhere=True))

    @routes.get("/admin/ui/live")
    async def live(request: Request, visitor: Admin) -> Response:
        return shell.page(request, "live.html", title="Live")

    return routes


def playground_pages(shell: Shell) -> APIRouter:
    """Returns the page on which one chats."""
    routes = shell.routes()
    about = "Chat with any model as one of your keys, and see where it went, how fast and at what cost"
    players: frozenset[Role] = frozenset(("admin", "owner"))
    shell.add(Entry("Playground", "/admin/ui/playground", "Traffic", icon="play", roles=players, about=about))

    @routes.get("/admin/ui/playground")
    async def playground(request: Request, visitor: Seen) -> Response:
        if visitor.role not in players:
            raise Forbidden(f"{visitor.name} may look, and calls cost money", code="role_forbidden")
        return shell.page(request, "playground.html", title="Playground")

    return routes
