"""The log of calls, and one call whole: its decision as a picture, its attempts on a line of time, its cost by bucket.

The log is a frame that `static/receipts.js` fills from the API; a receipt is rendered here, and needs no script.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from gateway.admin.access import Seen
from gateway.admin.api.costs import Accounts
from gateway.admin.pages.receipt_view import duration, view_of
from gateway.admin.pages.shell import Entry, Shell
from gateway.core.money import usd

PATH = "/admin/ui/receipts"


def receipt_pages(shell: Shell, accounts: Accounts) -> APIRouter:
    """Returns the pages; an owner, or a viewer with a team, finds his team's receipts alone."""
    routes = shell.routes()
    shell.add(Entry("Receipts", PATH, "Money", icon="receipts", about="Every call: who, where, how long, what it cost"))

    @routes.get(PATH)
    def log(request: Request, visitor: Seen) -> Response:
        return shell.page(request, "receipts.html", title="Receipts")

    @routes.get(PATH + "/{id}")
    def receipt(request: Request, id: Annotated[str, Path(max_length=100)], visitor: Seen) -> Response:
        told = accounts.receipt(id, visitor.team)
        return shell.page(
            request, "receipt.html", title="Receipt", id=id, view=view_of(told), duration=duration, usd=usd
        )

    return routes
