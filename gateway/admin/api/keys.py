"""`/admin/keys`: who may call."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.admin.access import Admin, Seen
from gateway.admin.audit import Audit
from gateway.admin.key_desk import LONGEST_OVERLAP_S, KeyDesk, shown
from gateway.config.budgets import BudgetTerms, RateTerms
from gateway.core.allowances import RateLimits

Text = Annotated[str, Field(min_length=1, max_length=200)]
KeyName = Annotated[str, Path(max_length=100)]


class KeyFields(BaseModel):
    """What can be said of a key; what is left out stays as it is. Times are seconds since the epoch."""

    model_config = ConfigDict(extra="forbid")

    team: Text | None = None
    user: Text | None = None
    tags: Annotated[dict[Text, Annotated[str, Field(max_length=200)]], Field(max_length=50)] = {}
    sensitivity: Text | None = None
    models: list[Text] | None = None
    routes: list[Text] | None = None
    budgets: Annotated[list[BudgetTerms], Field(max_length=4)] = []
    limits: RateTerms | None = None
    expires_at: Annotated[float, Field(gt=0, lt=1e11, allow_inf_nan=False)] | None = None
    enabled: bool = True
    strict: bool = False
    role: Literal["admin", "owner", "viewer"] | None = None

    def given(self) -> dict[str, Any]:
        """Returns what was said, as fields of a key."""
        said: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set if name != "name"}
        if "tags" in said:
            said["tags"] = tuple(sorted(said["tags"].items()))
        for name in ("models", "routes"):
            if said.get(name) is not None:
                said[name] = tuple(said[name])
        if "budgets" in said:
            said["budgets"] = tuple(budget.compiled for budget in said["budgets"])
        if "limits" in said:
            said["limits"] = said["limits"].compiled if said["limits"] is not None else RateLimits()
        return said


class NewKey(KeyFields):
    """A key to be made."""

    name: Text


class Rotation(BaseModel):
    """How long the old text of a key stays good beside the new one, in seconds."""

    model_config = ConfigDict(extra="forbid")

    overlap_s: Annotated[float, Field(ge=0, le=LONGEST_OVERLAP_S, allow_inf_nan=False)] = 86_400.0


def router(desk: KeyDesk, audit: Audit) -> APIRouter:
    """Returns the paths of keys."""
    routes = APIRouter()

    @routes.get("/admin/keys")
    def keys(visitor: Seen) -> Response:
        """Lists keys: an owner's and a viewer's are those of their team. The keys themselves are nowhere."""
        return JSONResponse({"keys": [shown(row, source) for row, source in desk.rows(visitor)]})

    @routes.post("/admin/keys", status_code=201)
    def create(visitor: Seen, wanted: NewKey) -> Response:
        """Makes a key, and shows it this once (`key`)."""
        made, plain = desk.create(visitor, wanted.name, wanted.given())
        audit.tell(visitor, "key.created", f"keys/{made.name}", None, shown(made))
        return JSONResponse({"key": plain, **shown(made)}, status_code=201)

    @routes.get("/admin/keys/{name}")
    def key(name: KeyName, visitor: Seen) -> Response:
        """Shows one key."""
        return JSONResponse(shown(*desk.row(visitor, name)))

    @routes.patch("/admin/keys/{name}")
    def edit(name: KeyName, visitor: Seen, changes: KeyFields) -> Response:
        """Changes what is said of a key; an owner may make it narrower. Live when this is answered."""
        before, after = desk.edit(visitor, name, changes.given())
        audit.tell(visitor, _what(before.enabled, after.enabled), f"keys/{name}", shown(before), shown(after))
        return JSONResponse(shown(after))

    @routes.post("/admin/keys/{name}/rotate")
    def rotate(name: KeyName, visitor: Seen, rotation: Rotation) -> Response:
        """Gives a key a new text, shown this once (`key`); the old one stays good for a while."""
        before, after, plain = desk.rotate(visitor, name, rotation.overlap_s)
        audit.tell(visitor, "key.rotated", f"keys/{name}", shown(before), shown(after))
        return JSONResponse({"key": plain, **shown(after)})

    @routes.delete("/admin/keys/{name}", status_code=204)
    def delete(name: KeyName, visitor: Admin) -> Response:
        """Takes a key away for good; its receipts keep its name."""
        before = desk.delete(visitor, name)
        audit.tell(visitor, "key.deleted", f"keys/{name}", shown(before), None)
        return Response(status_code=204)

    return routes


def _what(was: bool, now: bool) -> str:
    if was == now:
        return "key.edited"
    return "key.enabled" if now else "key.disabled"
