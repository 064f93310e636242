"""Errors in OpenAI's shape: what its SDKs raise by status, code and param; and a decoder's complaint in its words."""

from __future__ import annotations

import re
from typing import Final, NoReturn

import msgspec

from gateway.core.errors import BadRequest, CallError

_encode: Final = msgspec.json.Encoder().encode

# msgspec's ValidationError is its only account of what is wrong where; these are its forms (0.18 to 0.22).
_MISSING: Final = re.compile(r"Object missing required field `([^`]+)`")
_TYPE: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_BOUND: Final = re.compile(r"Expected `(?:int|float)[^`]*` (>=|<=) ([0-9.]+)")
_EMPTY: Final = re.compile(r"Expected `(array|str)` of length >= 1")
_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`")

_NAMES: Final = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


class _Body(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class _Envelope(msgspec.Struct):
    error: _Body


def error_body(error: CallError) -> bytes:
    """Writes OpenAI's error object."""
    return _encode(_Envelope(_Body(error.message, error.type, error.param, error.code)))


def error_event(error: CallError) -> bytes:
    """Writes an error as a stream's last event: SDKs raise on it, so no `[DONE]` follows."""
    return b"data: " + error_body(error) + b"\n\n"


def not_json(why: str) -> BadRequest:
    """Returns the error for a body that is no JSON."""
    return BadRequest(f"The body of this request is not valid JSON ({why}).", code="invalid_json")


def refuse(error: msgspec.ValidationError) -> NoReturn:
    """Raises BadRequest in OpenAI's words for what the typed decoder says, with the dotted field as `param`."""
    said = str(error)
    at = _PATH.search(said)
    param = at[1] if at else ""
    missing = _MISSING.match(said)
    if missing:
        param = f"{param}.{missing[1]}" if param else missing[1]
        raise BadRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    if not param:
        raise BadRequest("The body of this request must be a JSON object.", code="invalid_type")
    if _EMPTY.match(said):
        raise BadRequest(
            f"Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param=param,
            code="empty_array",
        )
    bound = _BOUND.match(said)
    if bound:
        below = bound[1] == ">="
        raise BadRequest(
            f"Invalid '{param}': {'below minimum' if below else 'above maximum'} value."
            f" Expected a value {bound[1]} {bound[2]}.",
            param=param,
            code=f"integer_{'below_min' if below else 'above_max'}_value",
        )
    wrong = _TYPE.match(said)
    if wrong:
        expected = " or ".join(_NAMES.get(kind, kind) for kind in wrong[1].split(" | ") if kind != "null")
        got = _NAMES.get(wrong[2], wrong[2])
        raise BadRequest(
            f"Invalid type for '{param}': expected {expected}, but got {got} instead.", param=param, code="invalid_type"
        )
    raise BadRequest(f"Invalid value for '{param}'.", param=param, code="invalid_value")
