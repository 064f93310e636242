"""`/admin/config`: the config that serves, drafts of the next one, and the revisions before it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from gateway.admin.access import Admin, Visitor
from gateway.admin.audit import Audit
from gateway.config.edit import Edit
from gateway.config.remarks import remarks_of
from gateway.config.units import duration
from gateway.core.errors import BadRequest, CallError, ConfigError

MOST_TEXT: Final = 2**20  # characters; a thousand deployments and five hundred rules are 100,000
_TAG: Final = re.compile(r'(?:W/)?"?([0-9]{1,9})"?')
_WATCHED_S: Final = (10.0, 86400.0)

Number = Annotated[int, Path(ge=1, le=10**9, description="A revision.")]
IfMatch = Annotated[str | None, Header(description='The revision that this goes on from, as `ETag` names it: `"7"`.')]
Watched = Annotated[
    str | None,
    Query(max_length=20, description="Watch calls for so long (`5m`), and roll back where they fare worse."),
]


class Desk(Protocol):
    """What the admin surface asks of configs. All but `save` and `roll_back` blocks; raises CallError, ConfigError."""

    def current(self) -> Mapping[str, Any]: ...

    def revisions(self, before: int | None, at_most: int) -> Sequence[Mapping[str, Any]]: ...

    def revision(self, number: int) -> Mapping[str, Any]: ...

    def validate(self, text: str) -> Any: ...

    def edit(self, edits: Sequence[Edit], text: str | None = None) -> str: ...

    def dry_run(self, text: str | None, since: str, until: str | None, at_most: int) -> Any: ...

    async def save(self, text: str, after: int, author: str, note: str, watch_s: float | None = None) -> Any: ...

    async def roll_back(
        self, number: int, after: int | None, author: str, note: str = "", watch_s: float | None = None
    ) -> Any: ...


class MatchRequired(CallError):
    """A change of the config says which revision it goes on from."""

    status = 428
    type = "invalid_request_error"
    code = "if_match_required"


class ConfigRefused(CallError):
    """A draft cannot serve; the answer has its problems by line and column."""

    status = 422
    type = "invalid_request_error"
    code = "config_refused"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Draft(_Body):
    """A config's whole text, as it was shown: `<kept>` stands for the secret that is there."""

    text: str = Field(max_length=MOST_TEXT)


class Save(Draft):
    """A draft that is to serve."""

    note: str = Field(default="", max_length=500, description="Why, for those who come after.")


class Change(_Body):
    """One edit at the place of a value. Of a list, an item is named by its index or its `name`."""

    op: Literal["set", "add", "remove", "rename"]
    path: list[str | int] = Field(max_length=20, description='Such as `["policies", "routes", "chat", "pick"]`.')
    value: Any = Field(default=None, description="`set`, `add`: the new value.")
    key: str | None = Field(default=None, max_length=200, description="`add` to a mapping: under which key.")
    at: int | None = Field(default=None, ge=0, description="`add` to a list: before which item; else at its end.")
    to: str | None = Field(default=None, max_length=200, description="`rename`: the new key.")


class Changes(_Body):
    """Edits, one after the other, of a draft or of what serves."""

    edits: list[Change] = Field(min_length=1, max_length=200)
    text: str | None = Field(default=None, max_length=MOST_TEXT, description="The draft; else what serves.")
    save: bool = Field(default=False, description="Have the result serve; takes `If-Match`.")
    note: str = Field(default="", max_length=500)


class Back(_Body):
    """Why an old revision serves again."""

    note: str = Field(default="", max_length=500)


class Trial(_Body):
    """Calls that were made, and the draft that they are put through."""

    text: str | None = Field(default=None, max_length=MOST_TEXT, description="The draft; else what serves.")
    since: str = Field(default="24h", max_length=40, description="An age (`24h`, `7d`) or a date.")
    until: str | None = Field(default=None, max_length=40)
    at_most: int = Field(default=5000, ge=1, le=20_000, description="Calls to look at.")


def router(desk: Desk, audit: Audit) -> APIRouter:
    """Returns the paths of the config: for admins; who views every team may look."""
    routes = APIRouter()

    async def change(
        visitor: Visitor, text: str, if_match: str | None, note: str, watch: str | None, what: str
    ) -> Response:
        after = _after(if_match)
        try:
            saved = await desk.save(text, after, visitor.name, note, _watched(watch))
        except ConfigError as error:
            return _refused(error)
        return await told(visitor, what, after, saved, note)

    async def told(visitor: Visitor, what: str, before: int | None, saved: Any, note: str) -> Response:
        was = {"revision": before} if before is not None else None
        now = {"revision": saved.number, "note": note}
        await run_in_threadpool(audit.tell, visitor, what, "config", was, now)
        return _json({"number": saved.number, "not_written": saved.not_written}, saved.number)

    @routes.get("/admin/config")
    def current(visitor: Admin) -> Response:
        """Shows the config that serves, its secrets as `<kept>`; `ETag` is its revision."""
        shown = desk.current()
        return _json(shown, shown["number"])

    @routes.put("/admin/config")
    async def replace(visitor: Admin, body: Save, if_match: IfMatch = None, watch: Watched = None) -> Response:
        """Has a draft serve, proved and tested: 412 where another has come meanwhile, 422 with problems."""
        return await change(visitor, body.text, if_match, body.note, watch, "config.saved")

    @routes.post("/admin/config/validate")
    def validate(visitor: Admin, body: Draft) -> Response:
        """Says what would come of a draft: problems and warnings by their places, proof, policy tests, differences."""
        return _json(desk.validate(body.text))

    @routes.post("/admin/config/edit")
    async def edit(visitor: Admin, body: Changes, if_match: IfMatch = None, watch: Watched = None) -> Response:
        """Changes a draft at the place of its values, and has it serve where that is asked."""
        text = await run_in_threadpool(desk.edit, [_edit(each) for each in body.edits], body.text)
        if body.save:
            return await change(visitor, text, if_match, body.note, watch, "config.saved")
        return _json({"text": text})

    @routes.post("/admin/config/dryrun")
    def dry_run(visitor: Admin, body: Trial) -> Response:
        """Tells what a draft would have done to calls that were made, by their receipts."""
        try:
            return _json(desk.dry_run(body.text, body.since, body.until, body.at_most))
        except ConfigError as error:
            return _refused(error)

    @routes.get("/admin/config/revisions")
    def revisions(
        visitor: Admin,
        before: Annotated[int | None, Query(ge=1, le=10**9)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Response:
        """Lists revisions, the newest first; `before` is a number, for the page after it."""
        return _json({"revisions": desk.revisions(before, limit)})

    @routes.get("/admin/config/revisions/{number}")
    def revision(visitor: Admin, number: Number) -> Response:
        """Shows one revision: its text without secrets, and what it changed."""
        return _json(desk.revision(number))

    @routes.post("/admin/config/revisions/{number}/rollback")
    async def roll_back(
        visitor: Admin, number: Number, body: Back, if_match: IfMatch = None, watch: Watched = None
    ) -> Response:
        """Has an old revision's text serve again, as a new one; with `If-Match` only if that one serves."""
        after = _after(if_match) if if_match is not None else None
        try:
            saved = await desk.roll_back(number, after, visitor.name, body.note, _watched(watch))
        except ConfigError as error:
            return _refused(error)
        return await told(visitor, "config.rolled_back", after, saved, f"back to revision {number} {body.note}".strip())

    return routes


def _json(value: Any, tag: int | None = None) -> Response:
    headers = {"etag": f'"{tag}"'} if tag is not None else {}
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)


def _refused(error: ConfigError) -> Response:
    """Answers with a draft's problems; the message is the first."""
    problems = remarks_of(error.problems)
    first = problems[0]
    message = f"line {first.line}: {first.message}" if first.line else first.message
    if len(problems) > 1:
        message += f" (and {len(problems) - 1} more)"
    told = ConfigRefused(message, param="text")
    body = {"message": told.message, "type": told.type, "param": told.param, "code": told.code}
    return JSONResponse({"error": body | {"problems": msgspec.to_builtins(problems)}}, status_code=told.status)


def _after(if_match: str | None) -> int:
    if if_match is None:
        raise MatchRequired('name the revision that this goes on from: If-Match: "7", as its ETag says')
    match = _TAG.fullmatch(if_match.strip())
    if match is None:
        raise BadRequest(f'{if_match[:40]!r} is no revision: write If-Match: "7"', param="If-Match")
    return int(match[1])


def _watched(watch: str | None) -> float | None:
    if watch is None:
        return None
    try:
        seconds = duration(watch)
    except ValueError as error:
        raise BadRequest(str(error), param="watch") from None
    least, most = _WATCHED_S
    if not least <= seconds <= most:
        raise BadRequest("watch for 10s to 24h", param="watch")
    return seconds


def _edit(change: Change) -> Edit:
    written = change.model_dump(exclude_none=True) | {"type": change.op}
    if change.op in ("set", "add"):
        written["value"] = change.value  # which may be null
    try:
        return msgspec.convert(written, Edit)  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        raise BadRequest(f"a change by {change.op!r}: {error}", param="edits") from None
