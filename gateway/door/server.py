"""Listening, serving and draining: uvicorn's server with our protocol, our sweep and our readiness."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket

import uvicorn

from gateway.door.app import Door
from gateway.door.protocol import DoorLimits, protocol_class, sweep

SWEEP_EVERY_S = 0.25
CANCELLED_WITHIN_S = 2.0  # what a cancelled answer may take to end itself in-band and write its receipt


class Server(uvicorn.Server):
    """Serves a Door until SIGTERM or SIGINT; then drains: what is open has `grace_s` to finish."""

    def __init__(
        self, door: Door, host: str, port: int, limits: DoorLimits, grace_s: float, on_ready: Callable[[int], None]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                door,
                host=host,
                port=port,
                http=protocol_class(limits),
                loop="uvloop",
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=max(1, round(grace_s)),
                backlog=4096,
            )
        )
        self._on_ready = on_ready
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def draining(self) -> bool:
        """Whether the server has stopped accepting; readiness answers 503 by it."""
        return self.should_exit

    def drain(self) -> None:
        """Begins to drain; asked a second time, it does not wait for what is open."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drains on a signal, and does not raise it again after: a drained stop is a success."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self.drain)
        try:
            yield
        finally:
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Listens, and tells the port it got (0 asks for a free one)."""
        await super().startup(sockets=sockets)
        if self.started:
            self._sweep()
            self._on_ready(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Ends: idle connections at once, open answers within the grace period, the rest in-band."""
        await super().shutdown(sockets=sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=CANCELLED_WITHIN_S)
        for connection in list(self.server_state.connections):
            connection.transport.close()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        sweep(self.server_state.connections, time.monotonic())
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_EVERY_S, self._sweep)
