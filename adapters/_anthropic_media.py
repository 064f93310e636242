"""Images and documents as Anthropic's blocks.

Source: https://platform.claude.com/docs/en/build-with-claude/vision and …/pdf-support (2026-11-20).
"""

from __future__ import annotations

import binascii
from typing import Final

from adapters._blocks import sniffed_type
from gateway.core.blocks import Document, Image, Json, Text
from gateway.core.errors import BadRequest

_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def image(block: Image, where: str) -> dict[str, Json]:
    """Writes an image; the bytes say its media type, which the API checks, whatever the caller named."""
    if block.file_id is not None:
        return {"type": "image", "source": {"type": "file", "file_id": block.file_id}}
    if block.url is not None:
        if not block.url.startswith("https://"):
            raise BadRequest(f"{where}: an image's URL must be https or data", param=where)
        return {"type": "image", "source": {"type": "url", "url": block.url}}
    data = block.data or ""
    media_type = sniffed_type(data) or block.media_type
    if media_type == "image/jpg":
        media_type = "image/jpeg"
    if media_type not in _IMAGES:
        raise BadRequest(f"{where}: Anthropic takes PNG, JPEG, GIF and WebP, not {media_type}", param=where)
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def document(block: Document, where: str) -> dict[str, Json]:
    """Writes a file as a document, or as an image where it is one."""
    data = block.data
    if block.url is not None:
        source: Json = {"type": "url", "url": block.url}
    elif block.file_id is not None:
        source = {"type": "file", "file_id": block.file_id}
    elif block.content:
        source = {"type": "content", "content": [_part(part, where) for part in block.content]}
    elif block.text is not None:
        source = {"type": "text", "media_type": "text/plain", "data": block.text}
    elif data is None:
        raise BadRequest(f"{where} has no content", param=where)
    else:
        media_type = sniffed_type(data) or block.media_type or ""
        if media_type in _IMAGES:
            return image(Image(media_type=media_type, data=data), where)
        if media_type == "application/pdf":
            source = {"type": "base64", "media_type": media_type, "data": data}
        elif media_type.startswith("text/") or media_type == "application/json":
            text = binascii.a2b_base64(data).decode("utf-8", "replace")
            source = {"type": "text", "media_type": "text/plain", "data": text}
        else:
            named = media_type or "of no named type"
            raise BadRequest(f"{where}: Anthropic takes PDF, text and images, not a file {named}", param=where)
    written: dict[str, Json] = {"type": "document", "source": source}
    told = {"title": block.name or None, "context": block.context, "citations": block.citations}
    written.update({name: value for name, value in told.items() if value is not None})
    return written


def _part(part: Text | Image, where: str) -> dict[str, Json]:
    return {"type": "text", "text": part.text} if isinstance(part, Text) else image(part, where)
