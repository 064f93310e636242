"""The page of keys: who may call, what for, how much and how fast; made, changed and rotated here."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.admin.access import Seen
from gateway.admin.key_desk import KeyDesk, shown
from gateway.admin.pages.shell import Entry, Shell


def keys_pages(shell: Shell, desk: KeyDesk) -> APIRouter:
    """Returns the page of keys."""
    routes = shell.routes()
    about = "Who may call: teams, models, budgets, limits and roles. A key is shown once."
    shell.add(Entry("Keys", "/admin/ui/keys", "Administration", icon="keys", about=about))

    @routes.get("/admin/ui/keys")
    def keys(request: Request, visitor: Seen) -> Response:
        around = desk.surroundings()
        return shell.page(
            request,
            "keys.html",
            title="Keys",
            rows=[shown(row, source) for row, source in desk.rows(visitor)],
            teams=sorted(around.teams) if visitor.team is None else [visitor.team],
            levels=around.levels,
            models=sorted(around.models),
            routes=sorted(around.routes),
            now=time.time(),
        )

    return routes
