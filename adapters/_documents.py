"""Documents for providers that know no more of one than its file: what else a caller says of it goes beside it."""

from __future__ import annotations

import msgspec

from adapters._blocks import Declarations
from gateway.core.blocks import Block, Document, Image, Text


def unfolded(block: Block, where: str, declarations: Declarations) -> tuple[Text | Image | Document, ...]:
    """Returns a document's context, name and parts as the words and images that they are, or its file after them.

    Empty for whatever is no document, or a file alone.
    """
    if not isinstance(block, Document) or not (block.content or block.context or block.citations):
        return ()
    if isinstance(block.citations, dict) and block.citations.get("enabled"):
        declarations.declare(f"{where}.citations", "the provider is asked for no citations, left out")
    about = (Text(block.context),) if block.context else ()
    if not block.content:
        return (*about, msgspec.structs.replace(block, context=None, citations=None))
    if block.name:
        about = (Text(f"{block.name}:"), *about)
    *parts, last = block.content
    return (*about, *parts, msgspec.structs.replace(last, cache=block.cache or last.cache))
