"""An outbound proxy on a real socket: CONNECT for TLS, forwarding for plain HTTP, Basic credentials."""

from __future__ import annotations

import asyncio
import base64
import ssl
from urllib.parse import quote, urlsplit


class OutboundProxy:
    """Serves as companies' proxies do, and keeps what it was asked.

    `routes` leads names to ports of this machine, as a DNS would; `status` is what it answers instead of serving;
    `silent` is whether it never answers.
    """

    def __init__(self, *, user: str = "", password: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.user = user
        self.password = password
        self.tls = tls
        self.port = 0
        self.routes: dict[str, int] = {}
        self.status = ""
        self.silent = False
        self.heads: list[bytes] = []  # one for each request that reached it
        self.open = 0
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it is, with the credentials that it takes."""
        return self.url_for(self.user, self.password)

    def url_for(self, user: str, password: str) -> str:
        """Returns where it is, with some credentials."""
        who = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        return f"http{'s' if self.tls else ''}://{who}{'localhost' if self.tls else '127.0.0.1'}:{self.port}"

    async def __aenter__(self) -> OutboundProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if self.silent:
                await reader.read()
                return
            refusal = self.status or self._refusal(head)
            if refusal:
                writer.write(f"HTTP/1.1 {refusal}\r\ncontent-length: 6\r\n\r\nsorry\n".encode())
                await writer.drain()
                return
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            where = urlsplit(f"//{target}" if method == "CONNECT" else target)
            port = self.routes.get(where.hostname or "", where.port or 80)
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\nvia: a test\r\n\r\n")
            else:
                path = where.path + (f"?{where.query}" if where.query else "")
                upstream_writer.write(f"{method} {path} HTTP/1.1\r\n".encode() + _passed_on(head))
            try:
                await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))
            finally:
                upstream_writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()

    def _refusal(self, head: bytes) -> str:
        if not self.user:
            return ""
        wanted = base64.b64encode(f"{self.user}:{self.password}".encode())
        known = b"\r\nproxy-authorization: Basic " + wanted + b"\r\n" in head
        return "" if known else "407 Proxy Authentication Required"


def _passed_on(head: bytes) -> bytes:
    lines = head.split(b"\r\n")[1:]
    return b"\r\n".join(line for line in lines if not line.lower().startswith(b"proxy-"))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
