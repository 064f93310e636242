"""Where a candidate's words come from, as citations with their place in the answer.

Sources (2026-11): https://ai.google.dev/gemini-api/docs/google-search (chunks, supports; a segment counts the bytes of
its text in UTF-8) and https://ai.google.dev/api/generate-content#CitationMetadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.core.blocks import Citation, Json


class Grounding:
    """One candidate's text and its sources; a stream's last metadata holds."""

    __slots__ = ("_cited", "_metadata", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._metadata: Mapping[str, Json] | None = None
        self._cited: set[str] = set()

    def say(self, text: str) -> None:
        """Notes more of the answer's text."""
        self._pieces.append(text)

    def note(self, metadata: Json) -> None:
        """Takes `groundingMetadata`, which later chunks may complete."""
        if isinstance(metadata, dict):
            self._metadata = {**(self._metadata or {}), **metadata}

    def cite(self, metadata: Json, choice: int) -> Iterator[Citation]:
        """Yields the citations of `citationMetadata` (`citationSources` at AI Studio) that are new."""
        listed = metadata.get("citations") or metadata.get("citationSources") if isinstance(metadata, dict) else None
        for source in listed if isinstance(listed, list) else ():
            if not isinstance(source, dict) or repr(source) in self._cited:
                continue
            self._cited.add(repr(source))
            beside = {key: value for key, value in source.items() if key not in ("uri", "startIndex", "endIndex")}
            place = {"start_index": source.get("startIndex") or 0, "end_index": source.get("endIndex") or 0}
            url = {"url": source["uri"]} if isinstance(source.get("uri"), str) else {}
            yield Citation({**beside, **url, **place}, choice)

    def citations(self, choice: int) -> Iterator[Citation]:
        """Yields a citation for each support of each source, and what must be shown with a search."""
        metadata = self._metadata
        if metadata is None:
            return
        text = "".join(self._pieces)
        chunks = metadata.get("groundingChunks")
        sources = [_source(chunk) for chunk in chunks] if isinstance(chunks, list) else []
        supports = metadata.get("groundingSupports")
        supported = False
        for support in supports if isinstance(supports, list) else ():
            if not isinstance(support, dict):
                continue
            start, end = _place(support.get("segment"), text)
            numbers = support.get("groundingChunkIndices")
            for number in numbers if isinstance(numbers, list) else ():
                if isinstance(number, int) and 0 <= number < len(sources):
                    supported = True
                    yield Citation({**sources[number], "start_index": start, "end_index": end}, choice)
        if not supported:
            for source in sources:
                yield Citation({**source, "start_index": 0, "end_index": 0}, choice)
        queries, entry = metadata.get("webSearchQueries"), metadata.get("searchEntryPoint")
        if queries or entry:
            # Google's terms ask that its suggestions be shown beside an answer that searched.
            yield Citation({"type": "search", "queries": queries or [], "entry_point": entry}, choice)


def _source(chunk: Json) -> dict[str, Json]:
    """Returns a source with its address, where it has one that a reader can follow."""
    if not isinstance(chunk, dict):
        return {}
    for kind in ("web", "retrievedContext", "maps", "image"):
        found = chunk.get(kind)
        if isinstance(found, dict):
            uri = found.get("uri")
            beside = {key: value for key, value in found.items() if key != "uri"}
            if isinstance(uri, str) and uri.startswith(("https://", "http://")):
                return {"url": uri, **beside}
            return {"type": kind, **found}
    return dict(chunk)


def _place(segment: Json, text: str) -> tuple[int, int]:
    """Returns where a segment stands in the text, in characters."""
    if not isinstance(segment, dict):
        return 0, 0
    start, end = segment.get("startIndex") or 0, segment.get("endIndex") or 0
    if not isinstance(start, int) or not isinstance(end, int):
        return 0, 0
    if not text.isascii():
        raw = text.encode()
        start, end = len(raw[:start].decode("utf-8", "ignore")), len(raw[:end].decode("utf-8", "ignore"))
    said = segment.get("text")
    if isinstance(said, str) and said and text[start:end] != said and (found := text.find(said)) >= 0:
        return found, found + len(said)  # counted within one of several parts
    return min(start, len(text)), min(end, len(text))
