"""The pages of the config: an editor with drafts and dry runs, and the revisions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from gateway.admin.access import Admin
from gateway.admin.api.config import Desk
from gateway.admin.pages.shell import Entry, Shell

PATH: Final = "/admin/ui/config"
_AT_ONCE: Final = 50


def config_pages(shell: Shell, desk: Desk) -> APIRouter:
    """Returns the pages; who may look and not change is shown no buttons that change."""
    routes = shell.routes()
    shell.add(
        Entry(
            "Config",
            PATH,
            "Steering",
            icon="config",
            roles=frozenset(("admin", "viewer")),
            about="What serves, what served before, and what a draft would do",
            everywhere=True,
        )
    )

    @routes.get(PATH)
    def editor(request: Request, visitor: Admin) -> Response:
        return shell.page(request, "config.html", title="Config", shown=desk.current())

    @routes.get(f"{PATH}/revisions")
    def revisions(request: Request, visitor: Admin, before: Annotated[int | None, Query(ge=1)] = None) -> Response:
        rows = desk.revisions(before, _AT_ONCE)
        older = rows[-1]["number"] if len(rows) == _AT_ONCE and rows[-1]["number"] > 1 else None
        return shell.page(request, "config_revisions.html", title="Revisions", rows=rows, older=older)

    @routes.get(f"{PATH}/revisions/{{number}}")
    def revision(request: Request, visitor: Admin, number: Annotated[int, Path(ge=1)]) -> Response:
        told = desk.revision(number)
        lines = list(diff_lines(told["diff"]))
        return shell.page(request, "config_revision.html", title=f"Revision {number}", told=told, lines=lines)

    return routes


def diff_lines(diff: str) -> Iterator[tuple[str, str]]:
    """Yields each line of a unified diff with what it is: `add`, `gone`, `place` or `same`."""
    for line in diff.splitlines()[2:]:
        kind = {"+": "add", "-": "gone", "@": "place"}.get(line[:1], "same")
        yield kind, line
