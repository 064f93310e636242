"""`/admin`: the app that the areas of the admin surface make together.

Handlers that read the store are plain functions, so that FastAPI runs them in a thread. Errors have the shape that
`/v1` gives them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.admin.api import (
    audit,
    breakers,
    budgets,
    config,
    costs,
    decisions,
    keys,
    live,
    playground,
    policies,
    pool,
    providers,
    receipts,
    session,
    teams,
)
from gateway.admin.audit import Audit
from gateway.admin.budget_desk import BudgetDesk
from gateway.admin.errors import answer_of
from gateway.admin.gate import Gate, is_page
from gateway.admin.keeper import Keeper
from gateway.admin.key_desk import KeyDesk
from gateway.admin.pages import Shell, shell_pages
from gateway.admin.pages.budgets import budgets_pages
from gateway.admin.pages.config import config_pages
from gateway.admin.pages.costs import costs_pages
from gateway.admin.pages.keys import keys_pages
from gateway.admin.pages.overview import overview_pages
from gateway.admin.pages.policies import policies_pages
from gateway.admin.pages.pool import pool_pages
from gateway.admin.pages.receipts import receipt_pages
from gateway.admin.pages.records import audit_pages, providers_pages
from gateway.admin.pages.traffic import live_pages, playground_pages
from gateway.core.errors import CallError


class Rooms(msgspec.Struct, frozen=True, kw_only=True):
    """What the admin surface is given by whoever wires it; an area whose room is None has no paths."""

    keeper: Keeper
    audit: Audit
    accounts: costs.Accounts
    levers: breakers.Levers
    support: Callable[[], list[dict[str, Any]]]
    traffic: live.Traffic | None = None
    rules: policies.Rules | None = None
    playground: playground.Playground | None = None
    desk: pool.Desk | None = None
    keys: KeyDesk | None = None
    budgets: BudgetDesk | None = None
    teams: teams.Teams = dict
    configs: config.Desk | None = None
    version: str = ""
    max_body: int = 32 * 2**20


def application(rooms: Rooms) -> FastAPI:
    """Returns the app, behind its gate."""
    app = FastAPI(title="Headgate admin", docs_url=None, redoc_url=None, openapi_url="/admin/openapi.json")
    shell = Shell(rooms.version)
    app.add_middleware(Gate, keeper=rooms.keeper, max_body=rooms.max_body)
    _tell_errors(app, shell)
    # -- the API: a line for each area -------------------------------------------------------------------------------
    app.include_router(session.router(rooms.keeper))
    app.include_router(costs.router(rooms.accounts))
    app.include_router(receipts.router(rooms.accounts))
    app.include_router(decisions.router(rooms.accounts))
    app.include_router(providers.router(rooms.support))
    app.include_router(breakers.router(rooms.levers, rooms.audit))
    if rooms.desk is not None:
        app.include_router(pool.router(rooms.desk, rooms.audit))
    app.include_router(audit.router(rooms.audit))
    if rooms.traffic is not None:
        app.include_router(live.router(rooms.traffic))
    if rooms.rules is not None:
        app.include_router(policies.router(rooms.rules))
    if rooms.playground is not None:
        app.include_router(playground.router(rooms.playground))
    if rooms.keys is not None and rooms.budgets is not None:
        app.include_router(keys.router(rooms.keys, rooms.audit))
        app.include_router(budgets.router(rooms.budgets))
        app.include_router(teams.router(rooms.teams, rooms.keys, rooms.budgets))
    if rooms.configs is not None:
        app.include_router(config.router(rooms.configs, rooms.audit))
    # -- the pages: a line for each area, in the order of the navigation ---------------------------------------------
    app.include_router(shell_pages(shell))
    has_budgets = rooms.budgets is not None
    app.include_router(overview_pages(shell, budgets=has_budgets))
    app.include_router(costs_pages(shell, budgets=has_budgets))
    app.include_router(receipt_pages(shell, rooms.accounts))
    if rooms.traffic is not None:
        app.include_router(live_pages(shell))
    if rooms.playground is not None:
        app.include_router(playground_pages(shell))
    if rooms.desk is not None:
        app.include_router(pool_pages(shell))
    if rooms.rules is not None:
        app.include_router(policies_pages(shell, rooms.rules))
    app.include_router(providers_pages(shell, rooms.support))
    app.include_router(audit_pages(shell))
    if rooms.keys is not None and rooms.budgets is not None:
        app.include_router(budgets_pages(shell, rooms.budgets))
        app.include_router(keys_pages(shell, rooms.keys))
    if rooms.configs is not None:
        app.include_router(config_pages(shell, rooms.configs))
    return app


def _tell_errors(app: FastAPI, shell: Shell) -> None:
    def told(request: Request, error: CallError) -> Response:
        return shell.error(request, error) if is_page(request.method, request.headers) else answer_of(error)

    @app.exception_handler(CallError)
    async def _meant(request: Request, error: CallError) -> Response:
        return told(request, error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        message, type = f"{where}: {first['msg']}", "invalid_request_error"
        return told(request, CallError(message, status=400, type=type, code="invalid_parameter", param=where))

    @app.exception_handler(HTTPException)
    async def _missing(request: Request, error: HTTPException) -> Response:
        message, type = f"{request.url.path}: {error.detail}", "invalid_request_error"
        return told(request, CallError(message, status=error.status_code, type=type, code="unknown_url"))
