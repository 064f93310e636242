"""Images, audio, video and documents as Gemini's parts: their bytes, or where Google finds them itself.

Sources (2026-11): https://ai.google.dev/gemini-api/docs/file-input-methods, …/image-understanding, …/audio,
…/document-processing, …/video-understanding#youtube.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final

from adapters._blocks import sniffed_type
from gateway.core.adapter import Fetch, Fetched
from gateway.core.blocks import Audio, Document, Image, Json
from gateway.core.errors import BadRequest

# What callers write -> what the API knows.
_ALIASES: Final[Mapping[str, str]] = {
    "image/jpg": "image/jpeg",
    "audio/mpeg3": "audio/mp3",
    "audio/x-mp3": "audio/mp3",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-aiff": "audio/aiff",
    "audio/x-m4a": "audio/m4a",
    "video/quicktime": "video/mov",
    "application/x-pdf": "application/pdf",
    "application/json": "text/plain",
    "application/yaml": "text/plain",
    "application/x-yaml": "text/plain",
    "application/x-ndjson": "text/plain",
}
_BY_EXTENSION: Final[Mapping[str, str]] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "xml": "text/xml",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mov": "video/mov",
    "webm": "video/webm",
}

# Where Google looks itself: its buckets, the files a caller gave the API before, YouTube.
_FILES: Final = "https://generativelanguage.googleapis.com/"
_YOUTUBE: Final = re.compile(r"https://(?:www\.|m\.)?(?:youtube\.com/(?:watch|embed|shorts|live)|youtu\.be/)")
_REMOTE: Final = ("https://", "http://")


def image(block: Image, fetched: Fetched, where: str) -> dict[str, Json]:
    """Writes an image; raises BadRequest naming the part."""
    if block.url is not None:
        return _by_url(block.url, fetched, "image/jpeg", where)
    if block.file_id is not None:
        return _kept(block.file_id, block.media_type, None, where)
    return _inline(block.data or "", block.media_type, where)


def audio(block: Audio, where: str) -> dict[str, Json]:
    """Writes audio; OpenAI names a format, Google a media type."""
    return _inline(block.data, f"audio/{block.format}", where)


def document(block: Document, fetched: Fetched, where: str) -> dict[str, Json]:
    """Writes a file of any kind the API reads."""
    if block.text is not None:
        return _inline(base64.b64encode(block.text.encode()).decode(), "text/plain", where)
    if block.url is not None:
        return _by_url(block.url, fetched, "application/pdf", where)
    if block.file_id is not None:
        return _kept(block.file_id, block.media_type, block.name, where)
    if block.data is None:
        raise BadRequest(f"{where} has no content", param=where)
    return _inline(block.data, block.media_type or _named(block.name or ""), where)


def _inline(data: str, media_type: str | None, where: str) -> dict[str, Json]:
    """Writes bytes; where they show what they are, that counts, whatever the caller named."""
    try:
        shown = sniffed_type(data)
        binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{where} is not base64", param=where) from None
    named = _alias(shown or media_type)
    if not named:
        raise BadRequest(f"{where}: its media type is not known: name it", param=where)
    return {"inlineData": {"mimeType": named, "data": data}}


def _by_url(url: str, fetched: Fetched, otherwise: str, where: str) -> dict[str, Json]:
    if _is_googles(url):
        return {"fileData": _file_data(url, None, url)}
    found = fetched.get(url)
    if found is not None:
        media_type = found[0].partition(";")[0].strip().lower()
        return _inline(base64.b64encode(found[1]).decode(), media_type or _named(url), where)
    if not url.startswith("https://"):
        raise BadRequest(f"{where}: its URL must be https, gs or data", param=where)
    # Nobody fetched it for us: Google may (https://ai.google.dev/gemini-api/docs/file-input-methods#external-urls).
    return {"fileData": {"mimeType": _named(url) or otherwise, "fileUri": url}}


def _kept(name: str, media_type: str | None, shown: str | None, where: str) -> dict[str, Json]:
    """Writes a file that Google keeps; an id of another provider's is none of its."""
    if not (name.startswith("files/") or _is_googles(name)):
        raise BadRequest(f"{where}: Google keeps no file {name[:80]!r}: send its content", param=where)
    return {"fileData": _file_data(name, media_type, shown)}


def _file_data(uri: str, media_type: str | None, name: str | None) -> dict[str, Json]:
    if uri.startswith("files/"):
        uri = f"{_FILES}v1beta/{uri}"
    named = _alias(media_type) or _named(name or uri)
    if _YOUTUBE.match(uri):
        named = "video/*"
    return {"mimeType": named, "fileUri": uri} if named else {"fileUri": uri}


def _is_googles(url: str) -> bool:
    return url.startswith(("gs://", _FILES)) or _YOUTUBE.match(url) is not None


def _named(name: str) -> str | None:
    """Returns the media type that a name or a path ends in."""
    path = name.partition("?")[0].partition("#")[0]
    return _BY_EXTENSION.get(path.rsplit(".", 1)[-1].lower()) if "." in path else None


def _alias(media_type: str | None) -> str | None:
    plain = (media_type or "").partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain) or None


# -- what must be fetched -----------------------------------------------------------------------------------------

_FIELDS: Final = frozenset({"image_url", "file_url", "file_data"})
_CONTAINERS: Final = frozenset({"content", "file", "output"})


def wanted(body: Json) -> list[Fetch]:
    """Returns the media of a caller's request that Google does not fetch itself, whichever dialect wrote them.

    OpenAI's `image_url` (a string, or an object with `url`), `file_url` and `file_data`; Anthropic's `source` of type
    url. Tools and schemas are not looked into.
    """
    holder = body if isinstance(body, dict) else {}
    found: dict[str, str] = {}
    for field in ("messages", "input", "system"):
        for url, where in _urls(holder.get(field), field):
            found.setdefault(url, where)
    return [Fetch(url, where) for url, where in found.items()]


def _urls(value: Json, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _urls(item, f"{where}.{index}")
    elif isinstance(value, dict):
        for name, inner in value.items():
            url = None
            if name in _FIELDS:
                url = inner.get("url") if isinstance(inner, dict) else inner
            elif name == "source" and isinstance(inner, dict) and inner.get("type") == "url":
                url = inner.get("url")
            elif name in _CONTAINERS:
                yield from _urls(inner, f"{where}.{name}")
            if isinstance(url, str) and url.startswith(_REMOTE) and not _is_googles(url):
                yield url, f"{where}.{name}"
