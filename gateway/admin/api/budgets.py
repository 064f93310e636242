"""`/admin/budgets` and `/admin/limits`: what may be spent, what was, and how fast callers are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from gateway.admin.access import Seen
from gateway.admin.budget_desk import MOST_PERIODS, BudgetDesk
from gateway.core.allowances import Per

Word = Annotated[str, Query(max_length=200)]


def router(desk: BudgetDesk) -> APIRouter:
    """Returns the paths of budgets. Their handlers stay in the loop, where the budgets live."""
    routes = APIRouter()

    @routes.get("/admin/budgets")
    async def budgets(visitor: Seen) -> Response:
        """Shows every budget: its limit, what was spent and is reserved, the forecast of its end, when it resets."""
        return JSONResponse({"budgets": desk.budgets(visitor)})

    @routes.get("/admin/budgets/history")
    async def history(
        visitor: Seen,
        scope: Word,
        name: Word,
        per: Annotated[Per, Query()],
        periods: Annotated[int, Query(ge=1, le=MOST_PERIODS)] = 12,
    ) -> Response:
        """Tells what was spent of one budget in its last periods, out of the books."""
        return JSONResponse(await desk.history(visitor, scope, name, per, periods))

    @routes.get("/admin/limits")
    async def limits(visitor: Seen) -> Response:
        """Shows how every rate limit stands."""
        return JSONResponse({"limits": desk.limits(visitor)})

    return routes
