"""OpenAI's images, as callers speak it: https://platform.openai.com/docs/api-reference/images (2026-11)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from adapters.dialects._relayed import Relayed, RelayedForm
from gateway.core.types import Call, Headers


class _Request(msgspec.Struct, gc=False):
    prompt: str
    model: str | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    stream: bool | None = None
    user: str | None = None


_request: Final = msgspec.json.Decoder(_Request)


class ImagesDialect(Relayed):
    """The caller's wire of `POST /v1/images/generations`."""

    name = "images"
    endpoint = "images"
    path = "/v1/images/generations"
    shows_media = False

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`."""
        request = self._read(body, _request)
        return self._call(
            call_id,
            body,
            headers,
            received_at,
            model=request.model,
            user=request.user,
            stream=request.stream is True,
            n=request.n or 1,
            has_media=self.shows_media,
            opaque=True,
        )


class _EditsInJson(ImagesDialect):
    """Edits of images that are named rather than sent."""

    name = "image_edits"
    path = "/v1/images/edits"
    shows_media = True


class ImageEditsDialect(RelayedForm):
    """The caller's wire of `POST /v1/images/edits`: a form, or JSON that names its images."""

    name = "image_edits"
    endpoint = "images"
    path = "/v1/images/edits"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`."""
        if self._form is None:
            return _IN_JSON.parse(call_id, body, headers, received_at)
        return super().parse(call_id, body, headers, received_at)


class ImageVariationsDialect(RelayedForm):
    """The caller's wire of `POST /v1/images/variations`."""

    name = "image_variations"
    endpoint = "images"
    path = "/v1/images/variations"


_IN_JSON: Final = _EditsInJson()
