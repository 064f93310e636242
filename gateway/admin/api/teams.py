"""`/admin/teams`: the config's teams, and what is of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from gateway.admin.access import Seen
from gateway.admin.budget_desk import BudgetDesk
from gateway.admin.key_desk import KeyDesk

Teams = Callable[[], Mapping[str, Mapping[str, Any]]]  # name -> what the config says of it


def router(teams: Teams, keys: KeyDesk, budgets: BudgetDesk) -> APIRouter:
    """Returns the path of teams."""
    routes = APIRouter()

    @routes.get("/admin/teams")
    async def listed(visitor: Seen) -> Response:
        """Lists teams with their floors, tags, limits, budgets and how many keys they have; an owner's is his own."""
        counts = Counter(row.team for row in keys.known() if row.team is not None)
        standing = budgets.budgets(visitor)
        return JSONResponse(
            {
                "teams": [
                    {
                        "name": name,
                        **said,
                        "keys": counts[name],
                        "budgets": [each for each in standing if (each["scope"], each["name"]) == ("team", name)],
                    }
                    for name, said in teams().items()
                    if visitor.team in (None, name)
                ]
            }
        )

    return routes
