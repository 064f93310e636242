"""Sends a body that is still coming from its caller, while somebody listens for the answer.

An upstream may answer before the body is out (413, 401), close, or fall silent; a caller may stop, break its own rules
or leave. Whichever comes first ends both. The body has a task of its own, the only one that a call takes beside itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from gateway.core.forms import Upload

Raise = Callable[[], None]


@asynccontextmanager
async def sending(body: Coroutine[None, None, None], wake: Callable[[], None]) -> AsyncIterator[Raise]:
    """Runs `body` until this ends; calls `wake` when it is done. What is handed out raises what ended it badly."""

    async def run() -> Exception | None:
        try:
            await body
        except Exception as error:  # noqa: BLE001 - raised by whoever listens, in the task that the call has
            return error
        finally:
            wake()
        return None

    task = asyncio.get_running_loop().create_task(run())

    def failed() -> None:
        if task.done() and not task.cancelled() and (error := task.result()) is not None:
            raise error

    try:
        yield failed
    finally:
        task.cancel()


def later(upload: Upload, expires_at: float, granted_s: float) -> float:
    """Returns when an upstream that has just been sent a piece is late: while it takes bytes it is not silent."""
    return max(expires_at, min(asyncio.get_running_loop().time() + granted_s, upload.expires_at))
