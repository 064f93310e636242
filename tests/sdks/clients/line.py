"""How a test commands a client that runs in an environment of its own: one object of JSON a line, in and out.

This side knows nothing of the tests: only the client under test, and the pydantic that it needs, are there to import.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

Told = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """What a test wants of a client, and where the client finds its gateway."""

    url: str
    text: str = "Hello"
    key: str = "unused"
    model: str = "chat"
    headers: dict[str, str] = field(default_factory=dict)
    more: Told = field(default_factory=dict)  # fields of the request, by OpenAI's names
    retries: int = 0
    leave_after: int | None = None  # a stream: pieces that are read before the client goes away


def serve(
    abilities: Mapping[str, Callable[[Ask], Told | Coroutine[Any, Any, Told]]], errors: tuple[type[Exception], ...]
) -> None:
    """Does what each line asks for until there is no more; an error other than the client's own ends the program."""
    out, sys.stdout = sys.stdout, sys.stderr
    with asyncio.Runner() as runner:  # one loop for all: clients keep connections in the one they were made in
        for line in sys.stdin:
            asked = json.loads(line)
            ability = abilities[asked.pop("do")]
            try:
                told = ability(Ask(**asked))
                if asyncio.iscoroutine(told):
                    told = runner.run(told)
            except errors as error:
                told = _told(error)
            print(json.dumps(told), file=out, flush=True)


def _told(error: Exception) -> Told:
    """Tells an error, with the classes of what caused it."""
    classes: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        classes += [each.__name__ for each in type(cause).__mro__]
        cause = cause.__cause__
    return {"error": {"classes": classes, "text": str(error)}}


@asynccontextmanager
async def leaving() -> AsyncIterator[None]:
    """Is where `leave` leads to: as when a web server's own caller has gone."""
    try:
        yield
    except asyncio.CancelledError:
        pass


def leave(now: bool) -> None:
    """Cancels what the client waits for next, where it is time to."""
    task = asyncio.current_task()
    if now and task is not None:
        task.cancel()


def ours(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers by which the gateway says what it did."""
    return {name.lower(): headers[name] for name in headers if name.lower().startswith(("x-headgate-", "x-request-"))}


class Flow(BaseModel):
    """What goes through a gate."""

    gate: str
    litres: int
    open: bool


def weather(city: str, unit: str) -> str:
    """Tells the weather of a city, in celsius or fahrenheit."""
    return f"21 degrees {unit} in {city}"
