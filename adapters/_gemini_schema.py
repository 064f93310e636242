"""Fits JSON Schema into what Gemini takes: JSON Schema itself with its references bare, or the older OpenAPI subset.

Sources (2026-11): https://ai.google.dev/api/generate-content#FIELDS.response_json_schema (the keywords that are held
to, and that nothing but `$…` may stand beside `$ref`) and https://ai.google.dev/api/caching#Schema (the subset).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.core.blocks import Json

_ENFORCED: Final = frozenset(
    {
        "type",
        "format",
        "title",
        "description",
        "enum",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "anyOf",
        "oneOf",
        "properties",
        "additionalProperties",
        "required",
        "propertyOrdering",
        "definitions",
    }
)
_SILENT: Final = frozenset({"default", "example", "examples", "deprecated", "readOnly", "writeOnly", "strict"})
_MAPS: Final = frozenset({"properties", "$defs", "definitions"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_DEEPEST: Final = 24  # of references within references: beyond it a schema goes on as any object


def json_schema(schema: Json) -> tuple[Json, tuple[str, ...]]:
    """Returns the schema as Gemini takes it, and the keywords that it does not hold a model to."""
    loose: dict[str, None] = {}
    return _bare(schema, schema, loose, 0), tuple(loose)


def _bare(schema: Json, root: Json, loose: dict[str, None], depth: int) -> Json:
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and depth < _DEEPEST:
        beside = {name: value for name, value in schema.items() if not name.startswith("$")}
        target = _resolve(reference, root)
        if beside and isinstance(target, dict) and not _mentions(target, reference):
            return _bare({**target, **beside}, root, loose, depth + 1)
        schema = {name: value for name, value in schema.items() if name.startswith("$")}
    written: dict[str, Json] = {}
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            written[name] = {key: _bare(inner, root, loose, depth) for key, inner in value.items()}
        elif name == "allOf" and isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            written |= _bare(value[0], root, loose, depth)  # how generators write a reference with a description
        elif name in _LISTS and isinstance(value, list):
            written[name] = [_bare(inner, root, loose, depth) for inner in value]
            if name not in _ENFORCED:
                loose[name] = None
        elif name in ("items", "additionalProperties", "not"):
            written[name] = _bare(value, root, loose, depth)
            if name not in _ENFORCED:
                loose[name] = None
        elif name == "const":
            written["enum"] = [value]  # `const` is not among the keywords that are held to
        else:
            written[name] = value
            if name not in _ENFORCED and name not in _SILENT and not name.startswith(("$", "x-")):
                loose[name] = None
    return written


def rooted(schema: Json) -> Json:
    """Returns a tool's schema with `type: object` at its root; a `$ref` there is resolved."""
    if not isinstance(schema, dict) or not schema:
        return {"type": "object", "properties": {}}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target = _resolve(reference, schema)
        if isinstance(target, dict):
            schema = {**{name: value for name, value in schema.items() if name != "$ref"}, **target}
    return schema if schema.get("type") == "object" else {**schema, "type": "object"}


# -- the OpenAPI subset -------------------------------------------------------------------------------------------

_KEPT: Final = frozenset(
    {
        "title",
        "description",
        "format",
        "pattern",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "minProperties",
        "maxProperties",
        "required",
        "propertyOrdering",
        "nullable",
    }
)


def openapi(schema: Json) -> tuple[Json, tuple[str, ...]]:
    """Returns the schema as the OpenAPI subset, references put in place, and the keywords that were lost."""
    lost: dict[str, None] = {}
    return _openapi(schema, schema, lost, ()), tuple(lost)


def _openapi(schema: Json, root: Json, lost: dict[str, None], within: tuple[str, ...]) -> dict[str, Json]:
    if not isinstance(schema, dict):
        return {"type": "OBJECT"}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target = _resolve(reference, root)
        if not isinstance(target, dict) or reference in within:
            lost["$ref"] = None  # a schema that holds itself has no end to write out
            return {"type": "OBJECT"}
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        return _openapi({**target, **beside}, root, lost, (*within, reference))
    written: dict[str, Json] = {}
    for name, value in schema.items():
        if name in _KEPT:
            written[name] = value
        elif name == "type":
            _type(written, value)
        elif name == "const":
            _enum(written, [value])
        elif name == "enum" and isinstance(value, list):
            _enum(written, value)
        elif name == "properties" and isinstance(value, dict):
            written[name] = {key: _openapi(inner, root, lost, within) for key, inner in value.items()}
        elif name == "items":
            written[name] = _openapi(value, root, lost, within)
        elif name in ("anyOf", "oneOf") and isinstance(value, list):
            _any(written, [_openapi(inner, root, lost, within) for inner in value if inner != {"type": "null"}])
            if len(value) > len([inner for inner in value if inner != {"type": "null"}]):
                written["nullable"] = True
        elif name == "allOf" and isinstance(value, list):
            for inner in value:
                written |= _openapi(inner, root, lost, within)
        elif name not in _SILENT and not name.startswith("$") and name not in ("definitions", "additionalProperties"):
            lost[name] = None
    if written.get("type") == "ARRAY" and "items" not in written:
        written["items"] = {"type": "STRING"}
    return written


def _type(written: dict[str, Json], value: Json) -> None:
    kinds = value if isinstance(value, list) else [value]
    named = [str(kind).upper() for kind in kinds if kind != "null"]
    if len(named) < len(kinds):
        written["nullable"] = True
    if len(named) == 1:
        written["type"] = named[0]
    elif named:
        written["anyOf"] = [{"type": kind} for kind in named]


def _enum(written: dict[str, Json], values: list[Json]) -> None:
    """Writes an enumeration, which holds strings only; null is what `nullable` says."""
    if None in values:
        written["nullable"] = True
    written["enum"] = [value if isinstance(value, str) else _text(value) for value in values if value is not None]
    written["type"] = "STRING"


def _any(written: dict[str, Json], options: list[dict[str, Json]]) -> None:
    if len(options) == 1:
        written.update(options[0])
    elif options:
        written["anyOf"] = options


def _text(value: Json) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


# -- references ---------------------------------------------------------------------------------------------------


def _resolve(reference: str, root: Json) -> Json:
    """Returns what a reference within the document points at (RFC 6901), or None."""
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        return None
    target = root
    for step in reference[2:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        target = target.get(key) if isinstance(target, dict) else None
    return target


def _mentions(schema: Json, reference: str) -> bool:
    """Says whether a schema refers to itself."""
    if isinstance(schema, Mapping):
        return schema.get("$ref") == reference or any(_mentions(value, reference) for value in schema.values())
    return isinstance(schema, list) and any(_mentions(item, reference) for item in schema)
