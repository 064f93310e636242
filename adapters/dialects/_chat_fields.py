"""Reads the fields of a chat request one by one; each refusal names its field."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.blocks import Json
from gateway.core.errors import BadRequest


def wrong(field: str, expected: str) -> BadRequest:
    """Returns the error for a field that is not what is expected."""
    return BadRequest(f"{field} must be {expected}", param=field)


def path(where: str, name: str) -> str:
    """Returns the path of a field inside `where` (empty at the top)."""
    return f"{where}.{name}" if where else name


def string(holder: Mapping[str, Json], name: str, where: str = "") -> str | None:
    """Returns a string, None where the field is absent or null."""
    value = holder.get(name)
    if value is None or isinstance(value, str):
        return value
    raise wrong(path(where, name), "a string")


def required(holder: Mapping[str, Json], name: str, where: str) -> str:
    """Returns a string that must be there."""
    value = string(holder, name, where)
    if value is None:
        raise wrong(path(where, name), "a string")
    return value


def boolean(holder: Mapping[str, Json], name: str, where: str = "") -> bool | None:
    """Returns a boolean, None where the field is absent or null."""
    value = holder.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise wrong(path(where, name), "true or false")


def integer(holder: Mapping[str, Json], name: str) -> int | None:
    """Returns an integer, None where the field is absent or null."""
    value = holder.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise wrong(name, "an integer")


def number(holder: Mapping[str, Json], name: str, least: float, most: float) -> float | None:
    """Returns a number within the bounds."""
    value = holder.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise wrong(name, f"a number from {least:g} to {most:g}")
    return float(value)


def object_of(holder: Mapping[str, Json], name: str, where: str = "") -> Json:
    """Returns an object, None where the field is absent or null."""
    value = holder.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise wrong(path(where, name), "an object")


def objects(holder: Mapping[str, Json], name: str, where: str = "") -> list[dict[str, Json]]:
    """Returns a list of objects, empty where the field is absent."""
    value = holder.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(path(where, name), "a list")
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise wrong(f"{path(where, name)}.{index}", "an object")
    return value


def data_url(url: str, field: str) -> tuple[str, str]:
    """Splits a base64 data URL (RFC 2397) into its media type and its data."""
    head, comma, data = url[5:].partition(",")
    media_type, *parameters = head.split(";")
    if not comma or "base64" not in parameters:
        raise wrong(field, "an https URL or a base64 data URL")
    return media_type.strip().lower(), data
