"""The shell that pages stand in: their templates, the navigation, the log-in, and pages for errors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from gateway.admin.access import Role, Visitor
from gateway.admin.pages.assets import Assets
from gateway.core.errors import CallError

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
HOME: Final = "/admin/ui"
EVERYBODY: Final[frozenset[Role]] = frozenset(("admin", "owner", "viewer"))
GROUPS: Final = ("", "Money", "Traffic", "Steering", "Administration")  # of the navigation, from the top


class Entry(msgspec.Struct, frozen=True):
    """A page in the navigation: whom it is for (an owner's or a viewer's role), and what it says of itself.

    `about` is shown under the pointer; `everywhere`: only for those who see every team.
    """

    title: str
    path: str
    group: str = ""
    icon: str = "page"
    roles: frozenset[Role] = EVERYBODY
    about: str = ""
    everywhere: bool = False

    def shown_to(self, visitor: Visitor) -> bool:
        """Says whether somebody finds it in the navigation; whether he may open it is its handler's matter."""
        return visitor.role in self.roles and (visitor.team is None or not self.everywhere)


class Shell:
    """Renders pages. Areas add themselves to the navigation while the app is made."""

    def __init__(self, version: str) -> None:
        self.assets = Assets()
        self._entries: list[Entry] = []
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= {"static": self.assets.url, "version": version}

    def routes(self) -> APIRouter:
        """Returns a router for pages: they are not in the OpenAPI document."""
        return APIRouter(include_in_schema=False)

    def add(self, entry: Entry) -> None:
        """Adds a page to the navigation, after those of its group that are there; raises ValueError."""
        if entry.group not in GROUPS:
            raise ValueError(f"{entry.group!r} is no group of the navigation: {', '.join(GROUPS)}")
        self._entries.append(entry)

    def page(self, request: Request, name: str, status: int = 200, **context: Any) -> HTMLResponse:
        """Renders a template; it is given `visitor`, `csrf`, `navigation` and `path` beside the context."""
        visitor = getattr(request.state, "visitor", None)
        text = self._environment.get_template(name).render(
            visitor=visitor,
            csrf=getattr(request.state, "csrf", None),
            navigation=[] if visitor is None else self.navigation(visitor),
            path=request.url.path,
            **context,
        )
        return HTMLResponse(text, status_code=status)

    def navigation(self, visitor: Visitor) -> list[tuple[str, list[Entry]]]:
        """Returns the groups of pages that somebody may see, in their order."""
        shown = [entry for entry in self._entries if entry.shown_to(visitor)]
        groups: Iterable[tuple[str, list[Entry]]] = (
            (group, [entry for entry in shown if entry.group == group]) for group in GROUPS
        )
        return [(group, entries) for group, entries in groups if entries]

    def error(self, request: Request, error: CallError) -> HTMLResponse:
        """Renders an error as a page."""
        titles = {403: "Not for you", 404: "Not found", 405: "Not like this", 503: "Not now"}
        return self.page(
            request,
            "error.html",
            error.status,
            title=titles.get(error.status, "That did not work"),
            message=error.message,
            code=error.code,
        )


def shell_pages(shell: Shell) -> APIRouter:
    """Returns what belongs to no area: static files and the log-in."""
    routes = shell.routes()

    @routes.get("/admin/static/{name:path}")
    async def static(name: str, request: Request) -> Response:
        return shell.assets.answer(request, name)

    @routes.get("/admin/login")
    async def login(request: Request, next: str = HOME) -> Response:
        return shell.page(request, "login.html", title="Log in", next=_own(next))

    @routes.get("/admin")
    async def root() -> Response:
        return RedirectResponse(HOME, 307)

    return routes


def _own(path: str) -> str:
    """Returns a path to go to after the log-in: one of ours, whatever a link says."""
    plain = all(" " < character < "\x7f" and character != "\\" for character in path)
    return path if plain and path.startswith("/admin/ui") and "//" not in path else HOME
