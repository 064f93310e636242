"""Secrets: values that reach the upstream and nothing else."""

from __future__ import annotations

from typing import Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

KEPT: Final = "<kept>"


class Secret:
    """A credential and where it comes from; its value shows in no repr, message or dump.

    `source` is what the config says (`${NAME}`, `file /run/…`, or `<kept>` for a literal). A secret whose variable or
    file does not exist is absent: the config loads, and what needs it is disabled.
    """

    __slots__ = ("_value", "source")

    def __init__(self, value: str | None, source: str = KEPT) -> None:
        self._value = value
        self.source = source

    @property
    def present(self) -> bool:
        """Whether there is a value."""
        return self._value is not None

    def reveal(self) -> str:
        """Returns the value, for the wire alone; raises LookupError where it is absent."""
        if self._value is None:
            raise LookupError(f"{self.source} has no value")
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.source}{'' if self.present else ', absent'})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self.source) == (other._value, other.source)

    def __hash__(self) -> int:
        return hash((self._value, self.source))

    @classmethod
    def _read(cls, value: object) -> Secret:
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return cls(value)
        raise ValueError('a secret is text: "${NAME}", {file: path}, or the value itself')

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._read,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda secret: secret.source),
        )
