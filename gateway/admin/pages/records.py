"""Pages that only show: who changed what, and what each provider can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.admin.access import Admin
from gateway.admin.pages.shell import Entry, Shell


def audit_pages(shell: Shell) -> APIRouter:
    """Returns the page of the audit log."""
    routes = shell.routes()
    about = "Every change that was made here: who, what, before and after"
    shell.add(Entry("Audit", "/admin/ui/audit", "Administration", icon="audit", about=about, everywhere=True))

    @routes.get("/admin/ui/audit")
    async def audit(request: Request, visitor: Admin) -> Response:
        return shell.page(request, "audit.html", title="Audit")

    return routes


def providers_pages(shell: Shell, support: Callable[[], list[dict[str, Any]]]) -> APIRouter:
    """Returns the page of providers: those of the config, and what each kind relays, translates, drops or refuses."""
    routes = shell.routes()
    about = "What each kind of provider relays, translates, coerces, drops or refuses, and who is of it here"
    shell.add(Entry("Providers", "/admin/ui/providers", "Steering", icon="providers", about=about, everywhere=True))

    @routes.get("/admin/ui/providers")
    async def providers(request: Request, visitor: Admin) -> Response:
        kinds = sorted(support(), key=lambda kind: (not kind["providers"], kind["kind"]))
        features = list(kinds[0]["features"]) if kinds else []
        dialects = list(dict.fromkeys(dialect for kind in kinds for dialect in kind["dialects"]))
        return shell.page(
            request, "providers.html", title="Providers", kinds=kinds, features=features, dialects=dialects
        )

    return routes
