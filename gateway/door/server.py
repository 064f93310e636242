"""Listening, serving and draining: uvicorn's server with our protocol, our deadlines and our readiness."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import IPPROTO_TCP, TCP_NOTSENT_LOWAT, socket
from typing import Any, Final, cast

import uvicorn
from uvicorn.server import ServerState

from gateway.door.app import Door
from gateway.door.protocol import DoorLimits, DoorProtocol, Terms

SWEEP_EVERY_S: Final = 0.25
CANCELLED_WITHIN_S: Final = 2.0  # what cancelled answers may take to end in-band, leave, and write their receipts
MAX_FILES: Final = 65_536
# What the kernel takes for a caller beyond what is on its way: by itself it keeps megabytes for one that reads slowly,
# and shows no progress until a third of them has gone. Accepted sockets inherit it from the one that listens.
UNSENT_BYTES: Final = 64 * 1024


class Server(uvicorn.Server):
    """Serves a Door until SIGTERM or SIGINT; then drains: what is open has `grace_s` to finish."""

    def __init__(
        self, door: Door, host: str, port: int, limits: DoorLimits, grace_s: float, on_ready: Callable[[int], None]
    ) -> None:
        # Every call may need a connection to its upstream: callers get half of what the process may open.
        max_connections = _raise_file_limit() // 2
        terms: Terms | None = None

        def protocol(
            config: uvicorn.Config, server_state: ServerState, app_state: Any, _loop: asyncio.AbstractEventLoop | None
        ) -> DoorProtocol:
            nonlocal terms
            if terms is None:
                connections, tasks = server_state.connections, server_state.tasks
                loop = asyncio.get_running_loop()
                terms = Terms(door, limits, door.next_id, loop, connections, tasks, max_connections)
            return DoorProtocol(terms)

        super().__init__(
            uvicorn.Config(
                door,
                host=host,
                port=port,
                http=cast("type[asyncio.Protocol]", protocol),
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
        """Listens, and tells the port it got (0 asks for a free one); raises OSError where it cannot."""
        try:
            await super().startup(sockets=sockets)
        except SystemExit as leaving:  # uvicorn logs why, and would end the process
            raise OSError(str(leaving.__context__)) from None
        for each in self.servers[0].sockets:
            each.setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._sweep()
        self._on_ready(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Ends: idle connections at once, open answers within the grace period, the rest in-band."""
        await super().shutdown(sockets=sockets)
        tasks, connections = self.server_state.tasks, cast("set[DoorProtocol]", self.server_state.connections)
        if self.force_exit:
            for task in tasks:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCELLED_WITHIN_S)
        ends_at = time.monotonic() + CANCELLED_WITHIN_S
        while connections and time.monotonic() < ends_at and not self.force_exit:
            await asyncio.sleep(0.01)
        for connection in list(connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        """Looks at every connection's deadlines: 0.14 ms with 5,000 of them."""
        now = time.monotonic()
        late = [
            each
            for each in cast("set[DoorProtocol]", self.server_state.connections)
            if each.read_by < now or each.write_by < now
        ]
        for connection in late:
            connection.expire(now)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_EVERY_S, self._sweep)


def _raise_file_limit() -> int:
    """Asks for as many open files as the process may have, and returns how many it got: many systems give 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MAX_FILES if soft == resource.RLIM_INFINITY else soft
