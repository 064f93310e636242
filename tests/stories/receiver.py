"""Who is told by a webhook: a server of a few lines that answers as a story wants it to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any, NamedTuple, Self


class Delivery(NamedTuple):
    """One POST that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def proven_by(self, key: bytes) -> bool:
        """Checks the signature as Standard Webhooks has receivers do it."""
        content = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        mac = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return f"v1,{mac}" in self.headers["webhook-signature"].split(" ")


class Receiver:
    """Answers each delivery with the next of `statuses` (None: hangs up), and 204 when they are used up."""

    def __init__(self) -> None:
        self.statuses: list[int | None] = []
        self.asked: list[Delivery] = []
        self.taken: list[Delivery] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *ended: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            delivery = Delivery(first.split(" ")[1], headers, body)
            self.asked.append(delivery)
            status = self.statuses.pop(0) if self.statuses else 204
            if status is not None:
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
                await writer.drain()
                if status < 300:
                    self.taken.append(delivery)
        finally:
            writer.close()
