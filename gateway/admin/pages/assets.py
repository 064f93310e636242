"""Static files, served from the package: read once, known by the hash of what is in them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

STATIC: Final = Path(__file__).parents[1] / "static"
PREFIX: Final = "/admin/static/"

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
    ".png": "image/png",
}
_FOREVER: Final = "public, max-age=31536000, immutable"


class Asset(msgspec.Struct, frozen=True):
    """A file's bytes, as they are and by gzip, and the tag they are known by."""

    body: bytes
    gzipped: bytes
    tag: str
    type: str


class Assets:
    """The static files by name. A name is looked up, never joined to a path: there is nothing to climb out of."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._assets: Mapping[str, Asset] = {
            file.relative_to(folder).as_posix(): _read(file)
            for file in sorted(folder.rglob("*"))
            if file.suffix in _TYPES
        }

    def __getitem__(self, name: str) -> Asset:
        return self._assets[name]

    def url(self, name: str) -> str:
        """Returns the address of a file as it is now; another content has another address. Raises KeyError."""
        return f"{PREFIX}{name}?v={self._assets[name].tag}"

    def answer(self, request: Request, name: str) -> Response:
        """Returns the answer that is this file, 304 where the browser has it, 404 where there is none."""
        asset = self._assets.get(name)
        if asset is None:
            return Response(status_code=404)
        named = request.query_params.get("v") == asset.tag
        headers = {
            "etag": f'"{asset.tag}"',
            "cache-control": _FOREVER if named else "no-cache",
            "vary": "accept-encoding",
        }
        if f'"{asset.tag}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        body = asset.body
        if "gzip" in request.headers.get("accept-encoding", "") and len(asset.gzipped) < len(body):
            headers["content-encoding"], body = "gzip", asset.gzipped
        return Response(body, headers=headers, media_type=asset.type)


def _read(file: Path) -> Asset:
    body = file.read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:16]
    return Asset(body, gzip.compress(body, 9, mtime=0), tag, _TYPES[file.suffix])
