"""A citation's place and title, whatever a provider wrote there."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.blocks import Json


def placed(citation: Mapping[str, Json], name: str, otherwise: int = 0) -> int:
    """Returns where a citation begins or ends, in characters of the whole answer."""
    value = citation.get(name)
    return value if isinstance(value, int) else otherwise


def titled(citation: Mapping[str, Json], url: str) -> str:
    """Returns its title, or its URL where it has none."""
    title = citation.get("title")
    return title if isinstance(title, str) and title else url
