"""Puts the door in front of a runtime, and serves until told to stop."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from adapters.dialects._relayed import RelayedForm
from gateway.config import watch
from gateway.door import inference, models, probes, responses
from gateway.door.app import Door, Handler, Receive, Send
from gateway.door.exchange import Message
from gateway.door.guard import OpenGuard, is_loopback
from gateway.door.protocol import DoorLimits
from gateway.door.server import Server
from gateway.door.uploads import Held
from gateway.telemetry import configure_logging
from gateway.wiring.kinds import DIALECTS
from gateway.wiring.runtime import Runtime, tell_defect

_log = structlog.get_logger("headgate")

ADMIN_KEY = "HEADGATE_ADMIN_KEY"
KEYS_EVERY_S = 2.0

_PATHS = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/responses": "responses",
    "/messages": "messages",
    "/messages/count_tokens": "count_tokens",
    "/moderations": "moderations",
    "/images/generations": "images",
    "/images/edits": "image_edits",
    "/images/variations": "image_variations",
    "/audio/speech": "speech",
    "/audio/transcriptions": "transcriptions",
    "/audio/translations": "translations",
    "/rerank": "rerank",
}
# Where a dialect's clients look for a call's id beside `x-request-id`.
_ID_HEADERS = {"messages": b"request-id", "count_tokens": b"request-id"}


async def serve(
    path: Path,
    environ: Mapping[str, str],
    listen: tuple[str, int] | None,
    ready: Callable[[Runtime, str, int, str | None], None],
) -> None:
    """Serves a config until SIGTERM or SIGINT; `ready` is told where, and a new admin key if one was made.

    Raises ConfigError where the config cannot serve, and OSError where the address cannot be had.
    """
    configure_logging(not os.isatty(2))  # until the config says otherwise: what starts up has things to tell
    runtime = Runtime(path, environ, listen)
    await runtime.start()
    server: Server | None = None
    try:
        config = runtime.loaded.config
        host, port = runtime.address
        configure_logging({"auto": not os.isatty(2), "json": True, "text": False}[config.telemetry.logs])
        admin_hash, admin_key = _admin_key(environ, config.store.path or Path(config.store.journal))
        server = Server(
            _door(runtime, host, admin_hash, lambda: server is not None and server.draining),
            host,
            port,
            DoorLimits(
                head_bytes=config.server.max_headers,
                head_timeout_s=config.server.header_timeout,
                body_timeout_s=config.server.body_timeout,
                idle_timeout_s=config.server.keep_alive,
                write_timeout_s=config.server.write_timeout,
            ),
            config.server.shutdown_grace,
            lambda got: ready(runtime, host, got, admin_key),
        )
        watching = [
            asyncio.create_task(watch(lambda: runtime.loaded.files, runtime.reload), name="config watch"),
            asyncio.create_task(_watch_keys(runtime), name="key watch"),
            asyncio.create_task(runtime.keep_history(), name="history"),
        ]
        for task in watching:
            task.add_done_callback(tell_defect)
        try:
            await server.serve()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
    finally:
        await runtime.stop()


async def _watch_keys(runtime: Runtime) -> None:
    while True:
        await asyncio.sleep(KEYS_EVERY_S)
        await runtime.reload_changes()


def _door(runtime: Runtime, host: str, admin_hash: str, draining: Callable[[], bool]) -> Door:
    pipeline, config = runtime.pipeline, runtime.loaded.config
    guard, held = OpenGuard(), Held(config.server.max_held)
    routes: dict[str, dict[str, Handler]] = {}
    for prefix in ("/v1", ""):  # some clients are given the base URL without its version
        for path, name in _PATHS.items():
            dialect, limit = DIALECTS[name], config.server.max_body
            handle = inference.handler(pipeline, dialect, guard, limit, _ID_HEADERS.get(name))
            if isinstance(dialect, RelayedForm):
                handle = inference.form_handler(pipeline, dialect, guard, limit, held, handle)
            routes[prefix + path] = {"POST": handle}
        routes[f"{prefix}/models"] = {"GET": models.handler(pipeline, guard, f"{prefix}/models", DIALECTS["messages"])}
    routes["/healthz"] = {"GET": probes.health()}
    routes["/readyz"] = {
        "GET": probes.readiness(
            lambda: ["the gateway is stopping"] if draining() else runtime.problems(), runtime.notes
        )
    }
    if config.telemetry.prometheus:
        routes["/metrics"] = {"GET": probes.metrics(runtime.services.telemetry.prometheus)}
    return Door(
        routes,
        {
            "/v1/models/": {"GET": models.handler(pipeline, guard, "/v1/models", DIALECTS["messages"])},
            **{
                f"{prefix}/responses/": {
                    "*": responses.handler(pipeline, DIALECTS["responses"], guard, f"{prefix}/responses/")
                }
                for prefix in ("/v1", "")
            },
            "/admin": {"*": _admin(runtime, is_loopback(host), admin_hash)},
        },
        pipeline.next_id,
    )


def _admin(runtime: Runtime, loopback: bool, admin_hash: str) -> Handler:
    """Returns the admin surface; FastAPI is imported by the first request that asks for it."""
    loaded: list[Callable[..., Awaitable[None]]] = []

    async def handle(scope: Message, receive: Receive, send: Send) -> None:
        if not loaded:
            from gateway.wiring.rooms import admin_surface

            loaded.append(admin_surface(runtime, OpenGuard().check if loopback else None, admin_hash))
        await loaded[0](scope, receive, send)

    return handle


def _admin_key(environ: Mapping[str, str], beside: Path) -> tuple[str, str | None]:
    """Returns the hash of the admin key, and the key itself where it was made just now.

    The environment's holds. Without one the first start makes a key, shows it once, and keeps its hash beside the
    database's file or, where that is a server, the journal.
    """
    given = environ.get(ADMIN_KEY)
    if given:
        return hashlib.sha256(given.encode()).hexdigest(), None
    file = beside.with_name(f"{beside.name}.admin-key")
    try:
        return file.read_text().strip(), None
    except FileNotFoundError:
        made = f"hg-admin-{secrets.token_urlsafe(24)}"
        hashed = hashlib.sha256(made.encode()).hexdigest()
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as written:
            written.write(hashed + "\n")
        return hashed, made
