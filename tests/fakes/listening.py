"""A provider of a test on a real socket: reads requests, has them answered, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self


class Asked(NamedTuple):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Said(NamedTuple):
    """One answer: its pieces go out one write each; `cut` closes the connection before the answer's end."""

    pieces: Iterable[bytes]
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[str, ...] = ()
    cut: bool = False


class Listening:
    """Listens on a free port while it is entered."""

    def __init__(self, answer: Callable[[Asked], Said]) -> None:
        self.asked: list[Asked] = []
        self._answer = answer
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._connections.values():
            writer.close()
        await asyncio.gather(*self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._connections[task]
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; whether the connection is kept."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.split("\r\n")[:-2]
        headers = {name.strip().lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))))
        asked = Asked(line.split()[1], headers, body)
        self.asked.append(asked)
        said = self._answer(asked)
        more = "".join(f"{header}\r\n" for header in said.headers)
        writer.write(
            f"HTTP/1.1 {said.status} Said\r\ncontent-type: {said.content_type}\r\n"
            f"transfer-encoding: chunked\r\n{more}\r\n".encode()
        )
        for piece in said.pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0)  # a read of its own for whoever listens
        if said.cut:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True
