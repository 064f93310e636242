"""What the gateway tells of itself arrives: spans and metrics at a collector, a caller's trace at the provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.simulator import Simulator
from tests.patience import until
from tests.stories.house import House, World, at, config_of

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra headgate[otlp] is not installed")

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """Takes OTLP over HTTP and keeps what came, by path."""

    def __init__(self) -> None:
        self.received: dict[str, list[bytes]] = {}

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                size = next(int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:"))
                self.received.setdefault(head[0].split()[1], []).append(await reader.readexactly(size))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            await writer.wait_closed()


async def test_spans_and_metrics_arrive_at_a_collector(build: Callable[[], House], tmp_path: Path) -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    collector = Collector()
    async with await asyncio.start_server(collector, "127.0.0.1", 0) as server, Simulator() as simulator:
        port = server.sockets[0].getsockname()[1]
        house = build()
        house.start(
            config_of({"only": at(simulator)}, telemetry={"otlp": f"http://127.0.0.1:{port}", "spans": 1.0}),
            {"OTEL_EXPORTER_OTLP_COMPRESSION": "none"},
        )
        world = World(house)
        got = await world.chat(headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
        await world.chat(text="untraced", headers={"traceparent": f"00-{TRACE[::-1]}-b7ad6b7169203331-00"})
        assert got.status == 200
        assert await asyncio.to_thread(house.stop) == 0  # a stop sends what waits
        await world.close()
        await until(lambda: {"/v1/traces", "/v1/metrics"} <= collector.received.keys())

        spans = [
            span
            for body in collector.received["/v1/traces"]
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        assert [(span.trace_id.hex(), span.parent_span_id.hex()) for span in spans] == [(TRACE, "b7ad6b7169203331")]
        attributes = {pair.key: pair.value for pair in spans[0].attributes}
        assert attributes["gen_ai.request.model"].string_value == "chat"
        assert attributes["gen_ai.usage.output_tokens"].int_value > 0
        names = {
            metric.name
            for body in collector.received["/v1/metrics"]
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        assert {"headgate_calls_total", "headgate_tokens_total"} <= names

        sent = simulator.requests[0].header(b"traceparent")
        assert sent is not None
        assert sent.decode() == f"00-{TRACE}-{spans[0].span_id.hex()}-01"
    everything = b"".join(body for bodies in collector.received.values() for body in bodies)
    assert b"Hello" not in everything, "no prompt leaves"
