"""What a TLS handshake with an upstream costs, full and resumed: `python tests/bench/handshakes.py`.

The server, in a process of its own, closes after each answer and says whether it resumed; the client is the fast
transport. CPU is the client's own, of a whole call; what a call costs without TLS is taken off.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import ssl
import subprocess
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import uvloop

from gateway.core.adapter import UpstreamRequest
from gateway.core.types import Endpoint, Origin, Timeouts
from gateway.upstream.http1 import Http1Transport
from gateway.upstream.tls import TlsFiles, client_context

CALLS = 400
ROUNDS = 5
KEYS = {"P-256": ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"), "RSA 2048": ("rsa:2048",)}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Cost(NamedTuple):
    """Of one call, in microseconds; `resumed` counts the server's resumed handshakes."""

    wall_us: float
    cpu_us: float
    resumed: int


def issue(folder: Path) -> None:
    """Writes a certificate of localhost, signed by itself, for each kind of key."""
    for name, kind in KEYS.items():
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        command = ["openssl", "req", "-x509", "-nodes", "-newkey", *kind, *names, *files]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


def serve(folder: Path, ports: Connection) -> None:
    """Serves every kind of key and version, and without TLS, until it is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        secured = writer.get_extra_info("ssl_object")
        resumed = secured is not None and secured.session_reused
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n%d" % resumed)
        await writer.drain()
        writer.close()

    async def listen() -> None:
        found = {}
        for key, version in [(None, ""), *((key, version) for key in KEYS for version in VERSIONS)]:
            context = None
            if key is not None:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(folder / f"{key}.pem", folder / f"{key}.key")
                context.minimum_version = context.maximum_version = VERSIONS[version]
            server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
            found[key, version] = server.sockets[0].getsockname()[1]
        ports.send(found)
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(listen())


async def measure(endpoint: Endpoint, authority: Path | None, *, resume: bool) -> Cost:
    """Makes calls one after the other, each over a connection of its own."""
    context = client_context(TlsFiles(authority)) if authority is not None else None
    transport = Http1Transport(context=context)
    request = UpstreamRequest(b"/", b"{}")
    loop = asyncio.get_running_loop()
    resumed = -1
    for call in range(CALLS + 1):
        if call == 1:
            wall, cpu, resumed = time.perf_counter(), time.process_time(), 0
        if context is not None and not resume:
            context.sessions.clear()
        exchange = await transport.send(endpoint, request, Timeouts(), loop.time() + 10)
        resumed += await exchange.read() == b"1"
    costs = (time.perf_counter() - wall, time.process_time() - cpu)
    await transport.aclose()
    return Cost(costs[0] / CALLS * 1e6, costs[1] / CALLS * 1e6, resumed)


async def main(ports: dict[tuple[str | None, str], int], folder: Path) -> None:
    """Measures all kinds in turn, five times, and prints the medians."""
    rows: dict[tuple[str, str, bool], list[Cost]] = {}
    bare: list[Cost] = []
    for _ in range(ROUNDS):
        for (key, version), port in ports.items():
            origin = Origin("https" if key else "http", "localhost", port)
            endpoint = Endpoint("a#0", "a", "provider", origin)
            if key is None:
                bare.append(await measure(endpoint, None, resume=False))
                continue
            for resume in (False, True):
                cost = await measure(endpoint, folder / f"{key}.pem", resume=resume)
                rows.setdefault((key, version, resume), []).append(cost)
    wall, cpu = (median([cost[part] for cost in bare]) for part in (0, 1))
    print(f"{ssl.OPENSSL_VERSION}; a call and its connection without TLS: {wall:.0f} µs, {cpu:.0f} µs CPU\n")
    print("| certificate | TLS | handshake | resumed at the server | time | CPU here |\n|---|---|---|---|---|---|")
    for (key, version, resume), costs in rows.items():
        kind = "resumed" if resume else "full"
        took, used = (median([cost[part] for cost in costs]) for part in (0, 1))
        share = f"{sum(cost.resumed for cost in costs)} of {CALLS * ROUNDS}"
        print(f"| {key} | {version} | {kind} | {share} | {took - wall:.0f} µs | {used - cpu:.0f} µs |")


def median(figures: list[float]) -> float:
    """Returns the middle one of an odd number of figures."""
    return sorted(figures)[len(figures) // 2]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        issue(Path(name))
        here, there = multiprocessing.Pipe()
        server = multiprocessing.Process(target=serve, args=(Path(name), there), daemon=True)
        server.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main(here.recv(), Path(name)))
        finally:
            server.terminate()
            server.join()
