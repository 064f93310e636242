"""Images for Ollama, which takes their bytes alone: what must be fetched, and what was.

Source: https://docs.ollama.com/capabilities/vision (2026-11).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE, sniffed_type
from gateway.core.adapter import Fetch, Fetched
from gateway.core.blocks import Image, Json
from gateway.core.errors import BadRequest
from gateway.core.types import Call

_WEB: Final = ("https://", "http://")

_decode: Final = msgspec.json.Decoder().decode


def needed(call: Call) -> list[Fetch]:
    """Returns the images of a request that stand in it as a URL, each once, whichever dialect wrote it."""
    if not call.has_media:
        return []
    try:
        body = _decode(call.body)
    except UNREADABLE:
        return []
    turns = (body.get("messages") or body.get("input")) if isinstance(body, dict) else None
    urls = dict.fromkeys(url for turn in _dicts(turns) for url in _urls(turn.get("content")) if url.startswith(_WEB))
    return [Fetch(url, "messages", ("image/",)) for url in urls]


def _urls(content: Json) -> Iterator[str]:
    """Yields the URLs of image parts: OpenAI's two forms, and Anthropic's, inside a tool's result too."""
    for part in _dicts(content):
        kind = part.get("type")
        if kind in ("image_url", "input_image"):
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
        elif kind == "image":
            source = part.get("source")
            url = source.get("url") if isinstance(source, dict) else None
        else:
            yield from _urls(part.get("content"))
            continue
        if isinstance(url, str):
            yield url


def _dicts(value: Json) -> list[dict[str, Json]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def image(block: Image, where: str, fetched: Fetched) -> str:
    """Returns an image's bytes as base64; raises BadRequest where they are not there."""
    if block.url is not None:
        found = fetched.get(block.url)
        if found is None:
            raise BadRequest(f"{where}: Ollama takes images as data, and this URL was not fetched", param=where)
        return base64.b64encode(found[1]).decode()
    if block.data is None:
        raise BadRequest(f"{where}: Ollama keeps no files, send the image's bytes", param=where)
    data = block.data
    try:
        sniffed_type(data)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{where} is not base64", param=where) from None
    return data
