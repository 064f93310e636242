"""Fits JSON Schema into what Anthropic compiles to a grammar (structured outputs, strict tools).

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations (2026-11-20):
objects are closed; of the constraints on values only enum, const, some formats and minItems of 0 or 1 are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.core.blocks import Json

_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_KEPT: Final = frozenset({"type", "enum", "const", "description", "title", "required", "default", "$ref"})
_SILENT: Final = frozenset({"$schema", "$id", "$comment", "additionalProperties", "examples"})
# Without one of these a schema would mean something else; any other constraint is a hint about how a value looks.
_STRUCTURE: Final = frozenset(
    {
        "contains",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "not",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)


class Open(Exception):
    """The schema cannot be a grammar: an open object, or a construct that is not supported."""


def closed(schema: Json) -> tuple[Json, tuple[str, ...]]:
    """Returns the schema within the subset, and the constraints that became words in a description.

    Raises Open where it would then mean something else.
    """
    moved: dict[str, None] = {}
    return _closed(schema, moved), tuple(moved)


def _closed(schema: Json, moved: dict[str, None]) -> Json:
    if not isinstance(schema, dict):
        raise Open  # `true`: anything goes
    written: dict[str, Json] = {}
    hints: dict[str, Json] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "definitions"):
            if not isinstance(value, dict):
                raise Open
            written[key] = {name: _closed(inner, moved) for name, inner in value.items()}
        elif key in ("anyOf", "oneOf", "allOf"):
            if not isinstance(value, list):
                raise Open
            written["anyOf" if key == "oneOf" else key] = [_closed(inner, moved) for inner in value]
        elif key == "items":
            written[key] = _closed(value, moved)
        elif key in _STRUCTURE:
            raise Open
        elif key in _KEPT or (key == "format" and str(value) in _FORMATS) or (key == "minItems" and value in (0, 1)):
            written[key] = value
        elif key not in _SILENT:
            hints[key] = value
    if "object" in _types(schema) or "properties" in schema:
        if schema.get("additionalProperties", False) is not False or "properties" not in schema:
            raise Open
        written["additionalProperties"] = False
    if hints:
        moved.update(dict.fromkeys(hints))
        said = msgspec.json.encode(hints).decode()
        written["description"] = f"{written['description']} {said}" if written.get("description") else said
    return written


def _types(schema: Mapping[str, Json]) -> list[Json]:
    kind = schema.get("type")
    return kind if isinstance(kind, list) else [kind]


def rooted(schema: Json) -> Json:
    """Returns a tool's schema with `type: object` at its root, which the API asks for; a `$ref` there is resolved."""
    if not schema:
        return {"type": "object", "properties": {}}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target = schema
        for step in reference[2:].split("/"):
            target = target.get(step) if isinstance(target, dict) else None
        if isinstance(target, dict):
            schema = {**{key: value for key, value in schema.items() if key != "$ref"}, **target}
    return schema if schema.get("type") == "object" else {**schema, "type": "object"}
