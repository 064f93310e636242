"""What the wires have in common that are relayed and never translated: their requests are read as far as routing needs.

A request is JSON or, for those that send files, a form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Self, TypeVar

import msgspec

from adapters.dialects._openai_errors import error_body, error_event
from adapters.dialects._openai_request import Marks, read_body, read_headers
from gateway.core.blocks import Conversation
from gateway.core.dialect import Writer
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, CallError
from gateway.core.forms import Form
from gateway.core.money import Usage
from gateway.core.types import Call, Headers

Body = TypeVar("Body", bound=msgspec.Struct)

_TRUE: Final = frozenset({"true", "1", "True"})  # as SDKs write a boolean into a form


class Relayed:
    """The parts of a dialect that nobody asks of a wire that is relayed as it is."""

    name = ""
    numbered = False
    endpoint = ""
    path = ""

    def conversation(self, call: Call) -> Conversation:
        raise self._unspoken()

    def embedding_request(self, call: Call) -> EmbeddingRequest:
        raise self._unspoken()

    def fields(self, call: Call, names: Sequence[str]) -> Sequence[str]:
        return names

    def writer(self, call: Call, model: str) -> Writer:
        raise self._unspoken()

    def error(self, error: CallError) -> bytes:
        return error_body(error)

    def error_event(self, error: CallError, after: bytes = b"") -> bytes:
        return error_event(error)

    def replay(self, body: bytes, streamed: bool, call: Call, usage: Usage | None = None) -> bytes:
        return body

    def _unspoken(self) -> BadRequest:
        return BadRequest(f"this deployment's provider does not speak {self.path}")

    def _read(self, body: bytes, decoder: msgspec.json.Decoder[Body]) -> Body:
        return read_body(body, decoder)

    def _call(
        self,
        call_id: str,
        body: bytes,
        headers: Headers,
        received_at: int,
        *,
        model: str | None,
        user: str | None = None,
        stream: bool = False,
        n: int = 1,
        has_media: bool = False,
        form: Form | None = None,
        opaque: bool = False,
    ) -> Call:
        marks: Marks = read_headers(headers)
        return Call(
            id=call_id,
            endpoint=self.endpoint,
            dialect=self.name,
            body=body,
            model=model or None,
            stream=stream,
            n=n,
            user=user,
            has_media=has_media,
            labels=marks.labels,
            timeout_s=marks.timeout_s,
            strict=marks.strict,
            received_at=received_at,
            form=form,
            opaque=opaque,
        )


class RelayedForm(Relayed):
    """A wire whose requests are forms: `of` is given one, and `parse` then reads it."""

    def __init__(self, form: Form | None = None) -> None:
        self._form = form

    def of(self, form: Form) -> Self:
        """Returns the dialect of one request."""
        return type(self)(form)

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`.

        A form holds a file: what detectors cannot read is media, whatever its fields say.
        """
        form = self._form
        if form is None:
            raise BadRequest(f"{self.path} takes multipart/form-data")
        fields = form.fields
        return self._call(
            call_id,
            form.text,
            headers,
            received_at,
            model=fields.get("model"),
            user=fields.get("user"),
            stream=fields.get("stream") in _TRUE,
            n=_count(fields, "n"),
            has_media=True,
            form=form,
            opaque=True,
        )


def _count(fields: Mapping[str, str], name: str) -> int:
    written = fields.get(name, "1")
    number = int(written) if written.isascii() and written.isdigit() and len(written) < 10 else 0
    if not number:
        raise BadRequest(f"{name!r} is a whole number above 0", param=name, code="invalid_value")
    return number
