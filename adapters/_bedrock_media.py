"""Images and documents as Converse's blocks: their bytes, or where they lie in S3; never a URL.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageBlock.html and
…/API_runtime_DocumentBlock.html (2026-11).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final

from adapters._blocks import sniffed_type
from adapters._tool_names import distinct
from gateway.core.adapter import Fetched
from gateway.core.blocks import Document, Image, Json
from gateway.core.errors import BadRequest

_IMAGES: Final[Mapping[str, str]] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS: Final[Mapping[str, str]] = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/markdown": "md",
}
_EXTENSIONS: Final = frozenset({*_DOCUMENTS.values(), "txt"})
_S3: Final = "s3://"

# A name may hold letters, digits, single blanks, hyphens, parentheses and brackets, at most 200 of them.
_NOT_IN_NAME: Final = re.compile(r"[^a-zA-Z0-9\s()\[\]-]")
_NAME_MAX: Final = 190  # leaves room for a number behind


class Media:
    """Writes the media of one request; the names of its documents differ."""

    def __init__(self, fetched: Fetched) -> None:
        self._fetched = fetched
        self._names: set[str] = set()

    def image(self, block: Image, where: str) -> dict[str, Json]:
        """Writes an image; the bytes say what it is, whatever the caller named."""
        if block.url is not None and block.url.startswith(_S3):
            extension = _extension(block.url)
            named = f"image/{extension}" if extension else None
            return {"image": {"format": _image_format(named, where), "source": {"s3Location": {"uri": block.url}}}}
        media_type, data = block.media_type, block.data or ""
        if block.url is not None:
            media_type, data = self._content(block.url, where)
        return {"image": {"format": _image_format(_sniffed(data, where) or media_type, where), "source": _bytes(data)}}

    def document(self, block: Document, where: str) -> dict[str, Json]:
        """Writes a file as a document, or as an image where it is one."""
        name = block.name or ""
        if block.file_id is not None:
            raise BadRequest(f"{where}: Bedrock keeps no files: send its content", param=where)
        if block.text is not None:
            return self._document("txt", name, _bytes(base64.b64encode(block.text.encode()).decode()))
        if block.url is not None and block.url.startswith(_S3):
            form = _document_format(None, block.url, where)
            return self._document(form, name or block.url.rsplit("/", 1)[-1], {"s3Location": {"uri": block.url}})
        media_type, data = block.media_type, block.data
        if block.url is not None:
            media_type, data = self._content(block.url, where)
        if not data:
            raise BadRequest(f"{where} has no content", param=where)
        media_type = _sniffed(data, where) or media_type
        if media_type in _IMAGES:
            return self.image(Image(media_type=media_type, data=data), where)
        return self._document(_document_format(media_type, name, where), name, _bytes(data))

    def _document(self, form: str, name: str, source: Json) -> dict[str, Json]:
        bare = name.rsplit(".", 1)[0] if _extension(name) in _EXTENSIONS else name
        safe = " ".join(_NOT_IN_NAME.sub(" ", bare).split())[:_NAME_MAX].strip() or "Document"
        safe = distinct(safe, self._names, between=" ")
        self._names.add(safe)
        return {"document": {"format": form, "name": safe, "source": source}}

    def _content(self, url: str, where: str) -> tuple[str, str]:
        found = self._fetched.get(url)
        if found is None:
            raise BadRequest(f"{where}: Bedrock takes bytes, not URLs: send a data URL", param=where)
        return found[0].partition(";")[0].strip().lower(), base64.b64encode(found[1]).decode()


def _bytes(data: str) -> dict[str, Json]:
    return {"bytes": data}


def _sniffed(data: str, where: str) -> str | None:
    try:
        return sniffed_type(data)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{where} is not base64", param=where) from None


def _image_format(media_type: str | None, where: str) -> str:
    form = _IMAGES.get(media_type or "")
    if form is None:
        named = media_type or "an image of no known type"
        raise BadRequest(f"{where}: Bedrock takes PNG, JPEG, GIF and WebP, not {named}", param=where)
    return form


def _document_format(media_type: str | None, name: str, where: str) -> str:
    """Returns the format by media type, else by the name's extension; other text is plain text."""
    form = _DOCUMENTS.get(media_type or "")
    if form is None and _extension(name) in _EXTENSIONS:
        form = _extension(name)
    if form is None and media_type is not None and (media_type.startswith("text/") or media_type.endswith("json")):
        form = "txt"
    if form is None:
        named = media_type or "of no named type"
        raise BadRequest(f"{where}: Bedrock takes no file {named} ({', '.join(sorted(_EXTENSIONS))})", param=where)
    return form


def _extension(name: str) -> str:
    return name.rsplit(".", 1)[-1].lower() if "." in name else ""


# -- what must be fetched -----------------------------------------------------------------------------------------

_REMOTE: Final = "https://"


def remote_urls(body: Json) -> Iterator[str]:
    """Yields the URLs of images and files in a caller's request, whichever dialect wrote them.

    OpenAI's `image_url` (a string, or an object with `url`), `file_url` and `file_data`; Anthropic's `source` of type
    url. Tools and schemas are not looked into.
    """
    holder = body if isinstance(body, dict) else {}
    for field in ("messages", "input", "system"):
        yield from _urls(holder.get(field))


def _urls(value: Json) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _urls(item)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in ("image_url", "file_url", "file_data"):
                url = inner.get("url") if isinstance(inner, dict) else inner
            elif name == "source" and isinstance(inner, dict) and inner.get("type") == "url":
                url = inner.get("url")
            else:
                if name in ("content", "file", "output"):
                    yield from _urls(inner)
                continue
            if isinstance(url, str) and url.startswith(_REMOTE):
                yield url
