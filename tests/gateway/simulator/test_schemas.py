"""Structured answers and tool arguments satisfy the caller's schema."""

from random import Random

import jsonschema
import pytest

from gateway.simulator.schemas import example

SCHEMAS = {
    "flat": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
    "enum and const": {
        "type": "object",
        "properties": {"unit": {"enum": ["c", "f"]}, "kind": {"const": "weather"}},
        "required": ["unit", "kind"],
    },
    "nullable": {"type": "object", "properties": {"note": {"type": ["string", "null"]}}, "required": ["note"]},
    "union": {"anyOf": [{"type": "integer"}, {"type": "string", "format": "date"}]},
    "references": {
        "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
        "type": "object",
        "properties": {"line": {"type": "array", "items": {"$ref": "#/$defs/point"}, "minItems": 3}},
        "required": ["line"],
    },
    "recursive": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["value", "next", "children"],
            }
        },
        "$ref": "#/$defs/node",
    },
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ]
    },
    "bounds": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 20, "maxLength": 24},
            "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "step": {"type": "integer", "minimum": 3, "multipleOf": 5},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3, "uniqueItems": True},
        },
        "required": ["name", "share", "step", "tags"],
    },
    "tuple": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": False},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_example_satisfies_its_schema(name: str) -> None:
    for seed in range(20):
        value = example(SCHEMAS[name], Random(seed))
        jsonschema.validate(value, SCHEMAS[name], format_checker=jsonschema.FormatChecker())


def test_the_same_draws_give_the_same_example() -> None:
    assert example(SCHEMAS["bounds"], Random(7)) == example(SCHEMAS["bounds"], Random(7))
