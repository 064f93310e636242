"""`/healthz`, `/readyz` and `/metrics`: for those who run the gateway, not for those who call models."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from gateway.door.app import JSON, Handler, Receive, Send, answer
from gateway.door.exchange import Message


def health() -> Handler:
    """Returns a handler that answers 200 while the process serves at all."""

    async def handle(scope: Message, receive: Receive, send: Send) -> None:
        await answer(send, 200, b'{"status":"ok"}', [JSON])

    return handle


def readiness(problems: Callable[[], list[str]], pools: Callable[[], Mapping[str, str]]) -> Handler:
    """Returns a handler that answers 503, with the reasons, while new calls should go elsewhere.

    How `pools` stand is told, where any are launched here, and changes nothing.
    """

    async def handle(scope: Message, receive: Receive, send: Send) -> None:
        found, told = problems(), pools()
        said = {"status": "not ready" if found else "ready", "problems": found} | ({"pools": told} if told else {})
        await answer(send, 503 if found else 200, msgspec.json.encode(said), [JSON])

    return handle


def metrics(render: Callable[[], bytes]) -> Handler:
    """Returns a handler that answers Prometheus' text format."""

    async def handle(scope: Message, receive: Receive, send: Send) -> None:
        await answer(send, 200, render(), [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")])

    return handle
