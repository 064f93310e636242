"""`/admin/audit`: who changed what."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from gateway.admin.access import Admin
from gateway.admin.audit import Audit
from gateway.core.errors import BadRequest, CallError
from gateway.state.audit import AuditRow
from gateway.state.protocols import StoreUnavailable


class AuditAway(CallError):
    """The store cannot be read now; changes that are made meanwhile wait in memory and are in the log."""

    status = 503
    code = "store_unavailable"


def router(audit: Audit) -> APIRouter:
    """Returns the paths of the audit log."""
    routes = APIRouter()

    @routes.get("/admin/audit")
    def changes(
        visitor: Admin,
        who: str | None = None,
        what: str | None = None,
        object: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[str | None, Query(description="`next` of the page before", max_length=100)] = None,
    ) -> Response:
        """Lists changes, the newest first; `next` is `before` of the page that follows, null on the last."""
        given = {"who": who, "what": what, "object": object}
        where = [(name, value) for name, value in given.items() if value is not None]
        try:
            rows = audit.list(where, None if before is None else _place(before), limit + 1)
        except StoreUnavailable as error:
            raise AuditAway(str(error), retry_after_s=5.0) from error
        more, rows = len(rows) > limit, rows[:limit]
        following = f"{rows[-1].time!r}~{rows[-1].id}" if more else None
        return JSONResponse({"changes": [_told(row) for row in rows], "next": following})

    return routes


def _place(written: str) -> tuple[float, str]:
    moment, tilde, id = written.partition("~")
    try:
        if not tilde:
            raise ValueError
        return float(moment), id
    except ValueError:
        raise BadRequest("`before` is `next` of an earlier answer", param="before") from None


def _told(row: AuditRow) -> dict[str, Any]:
    told: dict[str, Any] = row._asdict()
    told["at"] = told.pop("time")
    for name in ("before", "after"):
        told[name] = None if told[name] is None else msgspec.json.decode(told[name])
    return told
