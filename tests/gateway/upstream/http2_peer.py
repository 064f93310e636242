"""An HTTP/2 server on a real socket: a test says what it does with each request, and sees what the gateway did."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from gateway.core.types import Endpoint, Origin


class Asked:
    """One request, as the server sees it."""

    def __init__(self, connection: Connection, id: int, headers: list[tuple[str, str]]) -> None:
        self.connection = connection
        self.id = id
        self.headers = dict(headers)
        self.body = b""
        self.whole = asyncio.Event()
        self.reset: int | None = None  # the code of the gateway's RST_STREAM

    async def head(self, status: str = "200", *headers: tuple[str, str], end: bool = False) -> None:
        """Sends the answer's head."""
        self.connection.wire.send_headers(self.id, [(":status", status), *headers], end_stream=end)
        await self.connection.flush()

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Sends a piece of body, as far and as fast as the windows let it."""
        wire = self.connection.wire
        while data:
            size = min(len(data), wire.local_flow_control_window(self.id), wire.max_outbound_frame_size)
            if size == 0:
                await self.connection.change()
                continue
            wire.send_data(self.id, data[:size])
            await self.connection.flush()
            data = data[size:]
        if end:
            wire.end_stream(self.id)
            await self.connection.flush()

    async def answer(self, body: bytes = b"ok", *headers: tuple[str, str]) -> None:
        """Waits for the whole request, and answers it whole."""
        await self.whole.wait()
        await self.head("200", *headers)
        await self.send(body, end=True)


class Connection:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int) -> None:
        self.reader = reader
        self.writer = writer
        self.wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        limits = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: most}
        self.wire.local_settings = h2.settings.Settings(client=False, initial_values=limits)
        self.changed = asyncio.Event()
        self.pings = 0
        self.raw = writer.write

    async def change(self) -> None:
        """Waits until the gateway has said something."""
        self.changed.clear()
        await self.changed.wait()

    async def flush(self) -> None:
        """Sends what there is to send."""
        self.writer.write(self.wire.data_to_send())
        await self.writer.drain()

    async def go_away(self, last: int, code: int = 0) -> None:
        """Sends GOAWAY as a server does that goes on with what it has begun; h2 itself would stop there."""
        body = last.to_bytes(4) + code.to_bytes(4)
        self.writer.write(len(body).to_bytes(3) + b"\x07\x00" + bytes(4) + body)
        await self.writer.drain()


Play = Callable[[Asked], Awaitable[None]]


class Http2Server:
    """Plays a script on each request; keeps what was asked, and on how many connections."""

    def __init__(self, play: Play, most: int = 100) -> None:
        self.play = play
        self.most = most
        self.asked: list[Asked] = []
        self.connections: list[Connection] = []
        self.open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, context: ssl.SSLContext) -> Endpoint:
        """Listens on a free port and returns the endpoint that leads there."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        origin = Origin("https", "localhost", self._server.sockets[0].getsockname()[1])
        return Endpoint("a#0", "a", "provider", origin, ((b"authorization", b"Bearer sk-test"),))

    async def close(self) -> None:
        """Stops listening and drops every connection."""
        self._server.close()
        for connection in self.connections:
            connection.writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self.open:
            await asyncio.sleep(0.001)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self.most)
        self.connections.append(connection)
        self.open += 1
        asked: dict[int, Asked] = {}
        try:
            connection.wire.initiate_connection()
            await connection.flush()
            while data := await reader.read(65536):
                for event in connection.wire.receive_data(data):
                    self._heed(connection, asked, event)
                await connection.flush()
                connection.changed.set()
        except (ConnectionError, h2.exceptions.ProtocolError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()

    def _heed(self, connection: Connection, asked: dict[int, Asked], event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=id, headers=headers):
                request = asked[id] = Asked(connection, id, headers)
                self.asked.append(request)
                task = asyncio.create_task(self._play(request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case h2.events.DataReceived(stream_id=id, data=data, flow_controlled_length=size):
                asked[id].body += data
                connection.wire.acknowledge_received_data(size, id)
            case h2.events.StreamEnded(stream_id=id):
                asked[id].whole.set()
            case h2.events.StreamReset(stream_id=id, error_code=code):
                asked[id].reset = code
            case h2.events.PingAckReceived():
                connection.pings += 1

    async def _play(self, request: Asked) -> None:
        with suppress(ConnectionError, h2.exceptions.ProtocolError):
            await self.play(request)
