"""`/admin`: what calls cost, why each went where it went, what providers can do, and the breakers' levers.

Handlers are plain functions, so that FastAPI runs those that read the store in a thread. Errors have the shape that
`/v1` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Protocol

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from gateway.core.errors import CallError


class Accounts(Protocol):
    """What the admin surface asks of the books; raises CallError, naming the choices, for a word that is none."""

    def costs(self, parameters: Mapping[str, str]) -> bytes:
        """Sums receipts, as JSON."""
        ...

    def costs_csv(self, parameters: Mapping[str, str]) -> str:
        """The same as CSV."""
        ...

    def decision(self, id: str) -> Mapping[str, Any]:
        """Tells one call's decision, as a sentence and as data."""
        ...


class Levers(Protocol):
    """What the admin surface may see and steer of the breakers."""

    def conditions(self) -> list[Mapping[str, Any]]:
        """Every endpoint: its state, why, and its recent history."""
        ...

    def force(self, endpoint: str, state: str) -> Mapping[str, Any]:
        """Opens or closes one; raises CallError for an endpoint that the config does not have."""
        ...


def application(accounts: Accounts, levers: Levers, support: Callable[[], list[dict[str, Any]]]) -> FastAPI:
    """Returns the app; who may ask at all is settled before it. `support` makes the support matrix."""
    app = FastAPI(title="Headgate admin", docs_url=None, redoc_url=None, openapi_url="/admin/openapi.json")

    @app.exception_handler(CallError)
    async def _told(request: Request, error: CallError) -> Response:
        return _error(error.status, error.message, error.type, error.code, error.param)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return _error(400, f"{where}: {first['msg']}", "invalid_request_error", "invalid_parameter", where)

    @app.exception_handler(HTTPException)
    async def _missing(request: Request, error: HTTPException) -> Response:
        return _error(error.status_code, f"{request.url.path}: {error.detail}", "invalid_request_error", "unknown_url")

    @app.get("/admin/costs")
    def costs(request: Request, format: Annotated[Literal["json", "csv"], Query()] = "json") -> Response:
        """Sums what calls cost: `group_by`, `since`, `until`; every other parameter filters (`team=sales`)."""
        parameters = {name: value for name, value in request.query_params.items() if name != "format"}
        if format == "csv":
            return PlainTextResponse(accounts.costs_csv(parameters), media_type="text/csv")
        return Response(accounts.costs(parameters), media_type="application/json")

    @app.get("/admin/decisions/{id}")
    def decision(id: Annotated[str, Path(max_length=100)]) -> Response:
        """Tells why one call went where it went."""
        return JSONResponse(dict(accounts.decision(id)))

    @app.get("/admin/providers")
    async def providers() -> Response:
        """Tells what each kind of provider relays, translates, coerces, drops or refuses, and who is of it here."""
        return JSONResponse({"kinds": support()})

    @app.get("/admin/breakers")
    async def breakers() -> Response:
        """Shows every endpoint's breaker."""
        return JSONResponse({"breakers": [dict(each) for each in levers.conditions()]})

    @app.post("/admin/breakers/{endpoint}")
    async def force(endpoint: str, state: Annotated[Literal["open", "closed"], Query()]) -> Response:
        """Forces one breaker open or closed."""
        return JSONResponse(dict(levers.force(endpoint, state)))

    return app


def _error(status: int, message: str, type: str, code: str | None, param: str | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "type": type, "param": param, "code": code}}, status_code=status)
