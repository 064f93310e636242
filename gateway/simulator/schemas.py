"""Values that satisfy a JSON Schema: what a tool's arguments and a structured answer are made of."""

from __future__ import annotations

from random import Random
from typing import Final

from gateway.core.blocks import Json

_FORMATS: Final = {
    "date": "2026-01-31",
    "time": "12:30:00Z",
    "date-time": "2026-01-31T12:30:00Z",
    "duration": "PT30S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "3f2b8c1e-5a4d-4f60-9b7a-1c2d3e4f5a6b",
    "uri": "https://example.com/",
}
_WORDS: Final = ("river", "gate", "stone", "willow", "harbour", "meadow", "lantern", "copper")
_DEEPEST: Final = 8  # a schema that holds itself must end somewhere


def example(schema: Json, draw: Random) -> Json:
    """Returns a value that satisfies `schema`, the same for the same draws.

    Knows what providers' structured outputs take: types, enum, const, bounds, formats, local references, anyOf,
    oneOf and allOf; not `pattern`, `not` and conditions.
    """
    return _value(schema, schema, draw, 0)


def _value(schema: Json, root: Json, draw: Random, depth: int) -> Json:
    if not isinstance(schema, dict):
        return "river"
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return draw.choice(schema["enum"])
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            rest = {key: value for key, value in schema.items() if key != union}
            options = sorted(schema[union], key=_weight) if depth >= _DEEPEST // 2 else schema[union]
            return _value(_merged([rest, _resolved(options[0], root)]), root, draw, depth + 1)
    match _kind(schema, depth):
        case "object":
            return _object(schema, root, draw, depth)
        case "array":
            fewest = schema.get("minItems", 0 if depth >= _DEEPEST else 1)
            size = min(max(fewest, 0 if depth >= _DEEPEST else 2), schema.get("maxItems", fewest + 2))
            prefix = schema.get("prefixItems", [])
            items = [_value(item, root, draw, depth + 1) for item in prefix]
            if schema.get("items") is not False:
                while len(items) < size:
                    items.append(_item(schema, root, draw, depth, len(items)))
            return items
        case "integer":
            return int(_number(schema, draw))
        case "number":
            return _number(schema, draw)
        case "boolean":
            return draw.random() < 0.5
        case "null":
            return None
        case _:
            return _string(schema, draw)


def _resolved(schema: Json, root: Json) -> Json:
    """Follows a local reference and folds `allOf` in."""
    hops = 0
    while isinstance(schema, dict) and "$ref" in schema and hops < _DEEPEST:
        target = root
        for part in schema["$ref"].removeprefix("#").strip("/").split("/"):
            if part:
                target = target.get(part.replace("~1", "/").replace("~0", "~"), {})
        schema = _merged([{key: value for key, value in schema.items() if key != "$ref"}, target])
        hops += 1
    if isinstance(schema, dict) and schema.get("allOf"):
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        return _merged([rest, *(_resolved(part, root) for part in schema["allOf"])])
    return schema


def _merged(schemas: list[Json]) -> dict[str, Json]:
    merged: dict[str, Json] = {}
    for schema in schemas:
        if not isinstance(schema, dict):
            continue
        for key, value in schema.items():
            if key == "properties":
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required":
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged[key] = value
    return merged


def _weight(schema: Json) -> int:
    """Ranks a union's options by how little they nest, so that a recursive schema ends."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    return {"null": 0, "object": 2, "array": 2, None: 3}.get(kind if isinstance(kind, str) else None, 1)


def _kind(schema: dict[str, Json], depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = "null" if depth >= _DEEPEST and "null" in kind else next((k for k in kind if k != "null"), "null")
    if kind is None:
        if "properties" in schema:
            return "object"
        return "array" if "items" in schema or "prefixItems" in schema else "string"
    return str(kind)


def _object(schema: dict[str, Json], root: Json, draw: Random, depth: int) -> dict[str, Json]:
    properties: dict[str, Json] = schema.get("properties", {})
    required = schema.get("required", [])
    wanted = [name for name in properties if name in required or depth < _DEEPEST // 2]
    wanted += [name for name in required if name not in properties]
    value = {name: _value(properties.get(name, {}), root, draw, depth + 1) for name in wanted}
    for number in range(schema.get("minProperties", 0) - len(value)):
        value[f"extra_{number}"] = _value(schema.get("additionalProperties", {}), root, draw, depth + 1)
    return value


def _item(schema: dict[str, Json], root: Json, draw: Random, depth: int, position: int) -> Json:
    item = _value(schema.get("items", {}), root, draw, depth + 1)
    if not schema.get("uniqueItems"):
        return item
    options = _resolved(schema.get("items", {}), root).get("enum")
    if options:
        return options[position % len(options)]
    return f"{item}-{position}" if isinstance(item, str) else item + position


def _number(schema: dict[str, Json], draw: Random) -> float:
    low = schema.get("minimum")
    high = schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + (1 if schema.get("type") == "integer" else 1e-3)
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - (1 if schema.get("type") == "integer" else 1e-3)
    if low is None:
        low = 0 if high is None else high - 10
    if high is None:
        high = low + 100
    step = schema.get("multipleOf")
    if step:
        return float(-(-low // step) * step)
    if schema.get("type") == "integer":
        return draw.randint(int(-(-low // 1)), int(high // 1))
    return min(max(round(draw.uniform(low, high), 2), low), high)


def _string(schema: dict[str, Json], draw: Random) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    text = draw.choice(_WORDS)
    while len(text) < schema.get("minLength", 0):
        text += " " + draw.choice(_WORDS)
    return text[: schema.get("maxLength", len(text))]
