"""JSON Schema as Gemini takes it: bare references, keywords that are held to, and the older OpenAPI subset."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters._gemini_schema import json_schema, openapi, rooted

CITY = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def test_nothing_stands_beside_a_reference() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/city"}, "b": {"$ref": "#/$defs/city", "description": "d"}},
        "$defs": {"city": CITY},
    }
    written, loose = json_schema(schema)
    assert written["properties"] == {"a": {"$ref": "#/$defs/city"}, "b": {**CITY, "description": "d"}}
    assert (written["$defs"], loose) == ({"city": CITY}, ())


def test_a_reference_to_what_holds_it_stays_a_reference() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node", "description": "d"}}}
    schema = {"$ref": "#/$defs/node", "$defs": {"node": node}}
    written, _ = json_schema(schema)
    assert written["$defs"]["node"]["properties"]["next"] == {"$ref": "#/$defs/node"}


def test_a_constant_is_an_enumeration_and_one_alternative_is_itself() -> None:
    written, loose = json_schema({"allOf": [{"const": 1}], "description": "d", "default": 1, "$schema": "x"})
    assert written == {"enum": [1], "description": "d", "default": 1, "$schema": "x"}
    assert loose == ()


def test_keywords_that_no_model_is_held_to_are_named() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "x", "minLength": 1}}, "not": {}}
    assert json_schema(schema)[1] == ("pattern", "minLength", "not")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, {"type": "STRING"}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": "INTEGER", "nullable": True}),
        ({"enum": [1, "a", None, True]}, {"type": "STRING", "enum": ["1", "a", "true"], "nullable": True}),
        ({"const": "x"}, {"type": "STRING", "enum": ["x"]}),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        (
            {"allOf": [{"type": "object"}, {"properties": {"a": {"type": "number"}}}]},
            {"type": "OBJECT", "properties": {"a": {"type": "NUMBER"}}},
        ),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}, "description": "d"},
            {"type": "STRING", "description": "d"},
        ),
        (
            {"type": "object", "additionalProperties": False, "$schema": "x", "default": {}, "examples": []},
            {"type": "OBJECT"},
        ),
    ],
)
def test_the_older_subset_says_the_same_in_fewer_words(schema: Any, expected: Any) -> None:
    assert openapi(schema) == (expected, ())


def test_a_schema_that_holds_itself_ends_as_any_object() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    written, lost = openapi({"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert written == {"type": "OBJECT", "properties": {"next": {"type": "OBJECT"}}}
    assert lost == ("$ref",)


def test_a_tools_schema_is_an_object_at_its_root() -> None:
    assert rooted(None) == {"type": "object", "properties": {}}
    assert rooted({"properties": {}}) == {"properties": {}, "type": "object"}
    assert rooted({"$ref": "#/$defs/c", "$defs": {"c": CITY}}) == {"$defs": {"c": CITY}, **CITY}


NAMES = st.sampled_from(["a", "b", "c~d", "e/f"])
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "number", "boolean", "null"])}),
        st.fixed_dictionaries({"type": st.lists(st.sampled_from(["string", "null", "integer"]), max_size=3)}),
        st.fixed_dictionaries({"enum": st.lists(st.sampled_from([1, "x", None, True, 2.5]), min_size=1, max_size=3)}),
        st.fixed_dictionaries({"const": st.sampled_from([1, "x", None])}),
        st.fixed_dictionaries({"$ref": st.sampled_from(["#/$defs/a", "#/$defs/b", "#", "#/nowhere", "https://x"])}),
        st.just(True),
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=3)}),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=3), "description": st.just("d")}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"$ref": st.just("#/$defs/a"), "description": st.just("d")}),
    ),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(SCHEMAS, st.dictionaries(st.sampled_from(["a", "b"]), SCHEMAS, max_size=2))
def test_any_schema_is_written_to_an_end_and_taken_by_googles_type(schema: Any, defs: dict[str, Any]) -> None:
    whole = {**schema, "$defs": defs} if isinstance(schema, dict) else schema
    json.dumps(json_schema(whole)[0])
    types.Schema.model_validate_json(json.dumps(openapi(whole)[0]))
