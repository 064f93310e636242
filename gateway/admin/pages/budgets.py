"""The page of budgets and limits: bars against limits, with their numbers, and what was spent in periods before."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.admin.access import Seen
from gateway.admin.budget_desk import BudgetDesk
from gateway.admin.pages.shell import Entry, Shell


def budgets_pages(shell: Shell, desk: BudgetDesk) -> APIRouter:
    """Returns the page of budgets."""
    routes = shell.routes()
    about = "What may be spent, what was, and how fast callers may be."
    shell.add(Entry("Budgets and limits", "/admin/ui/budgets", "Money", icon="budget", about=about))

    @routes.get("/admin/ui/budgets")
    async def budgets(request: Request, visitor: Seen) -> Response:
        standing = desk.budgets(visitor)
        for each in standing:
            each["state"] = _state(each["spent_nano_usd"] + each["reserved_nano_usd"], each)
        return shell.page(
            request, "budgets.html", title="Budgets and limits", budgets=standing, limits=desk.limits(visitor)
        )

    return routes


def _state(taken: int, budget: dict[str, object]) -> str:
    """Says how a budget stands: bad where it refuses or is passed, warn where somebody wanted to hear of it."""
    limit, reject_at, notify_at = budget["limit_nano_usd"], budget["reject_at"], budget["notify_at"]
    assert isinstance(limit, int)
    assert isinstance(notify_at, list)
    ceiling = limit * reject_at // 100 if isinstance(reject_at, int) else limit
    if taken >= ceiling:
        return "bad"
    return "warn" if any(taken * 100 >= limit * percent for percent in notify_at) else ""
