"""`/admin/policies` and `/admin/explain`: who may go where, and what would happen to a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.admin.access import Admin, Reader
from gateway.core.errors import Forbidden


class Question(BaseModel):
    """A call that was not made, and what is supposed of the world."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=200)]
    text: Annotated[
        str, Field(max_length=100_000, description="The prompt: detectors read it, and nothing keeps it.")
    ] = ""
    stream: bool = False
    team: Annotated[str | None, Field(max_length=200)] = None
    key: Annotated[str | None, Field(max_length=200)] = None
    sensitivity: Annotated[str | None, Field(max_length=200)] = None
    down: Annotated[list[str], Field(max_length=1000)] = []


class Rules(Protocol):
    """What the admin surface may see of the rules."""

    def told(self) -> Mapping[str, Any]:
        """Tells levels, deployments, the proof, guarantees, routes and policy tests."""
        ...

    def explain(self, question: Question) -> Mapping[str, Any]:
        """Puts a call that was not made to the engine."""
        ...


def router(rules: Rules) -> APIRouter:
    """Returns the paths of policies."""
    routes = APIRouter()

    @routes.get("/admin/policies")
    async def policies(visitor: Admin) -> Response:
        """Tells who may go where by sensitivity, the guarantees, the routes, and the policy tests."""
        return JSONResponse(dict(rules.told()))

    @routes.post("/admin/explain")
    def explain(question: Question, visitor: Reader) -> Response:
        """Tells what would happen to a call, by the engine that decides; nothing is sent, and nothing kept."""
        if visitor.team is not None:
            if question.team not in (None, visitor.team) or question.key is not None:
                raise Forbidden(f"ask for calls of the team {visitor.team!r}", code="role_forbidden", param="team")
            question = question.model_copy(update={"team": visitor.team})
        return JSONResponse(dict(rules.explain(question)))

    return routes
