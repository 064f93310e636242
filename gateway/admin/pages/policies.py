"""The page of policies: who may go where, and what would happen to a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.admin.access import Admin
from gateway.admin.api.policies import Rules
from gateway.admin.pages.shell import Entry, Shell


def policies_pages(shell: Shell, rules: Rules) -> APIRouter:
    """Returns the page of policies."""
    routes = shell.routes()
    about = "Who may go where by sensitivity, proved; guarantees, routes, tests, and what would happen to a call"
    shell.add(Entry("Policies", "/admin/ui/policies", "Steering", icon="policies", about=about, everywhere=True))

    @routes.get("/admin/ui/policies")
    async def policies(request: Request, visitor: Admin) -> Response:
        told = rules.told()
        return shell.page(request, "policies.html", title="Policies", told=told, tables=_tables(told))

    return routes


def _tables(told: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Lays the proof out: for every call, and for those that each guarantee adds to, deployments against levels."""
    levels: Sequence[str] = told["levels"]
    permitted = {
        (cell["under"], cell["level"]): frozenset(cell["permitted"]) for cell in told["matrix"] if not cell["route"]
    }
    unders = dict.fromkeys(under for under, _ in permitted)
    return [
        {
            "under": under,
            "rows": [
                (place, [place["name"] in permitted.get((under, level), permitted["", level]) for level in levels])
                for place in told["deployments"]
            ],
        }
        for under in unders
    ]
