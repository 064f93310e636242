"""Takes a form from its caller: read until a place can be chosen for it, then passed on as the provider takes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Final

from gateway.core.errors import ClientGone, Overloaded, TooLarge
from gateway.door.app import Receive
from gateway.door.exchange import Message
from gateway.door.forms import FormReader, boundary_of, text_of

SMALL_BYTES: Final = 1024 * 1024  # a form no larger than this is read whole, so that it can be sent again


class Held:
    """What the forms of all callers that are held may take up together.

    A form is held while it cannot be routed: many clients write `model` behind the file. Holding more than is allowed
    would let a few callers fill the memory, so then a form is refused, and its caller told what would not be.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0

    def change(self, before: int, after: int) -> None:
        """Takes, or gives back, the difference; raises Overloaded where there is none to be had."""
        self._taken_bytes += after - before
        if after > before and after > SMALL_BYTES and self._taken_bytes > self._limit_bytes:
            self._taken_bytes -= after - before
            raise Overloaded(
                "too many forms are held until their `model` comes: write `model` before the file, or try again",
                code="forms_held",
                retry_after_s=1.0,
            )


class CallersForm:
    """A form as its caller sends it; implements `Form`."""

    def __init__(self, scope: Message, receive: Receive, limit_bytes: int, held: Held) -> None:
        """Raises BadRequest where the content type is no form's, TooLarge where the length is past the limit."""
        headers = dict(scope["headers"])
        self.content_type: bytes = headers.get(b"content-type", b"")
        self.upload: CallersUpload | None = None
        told = headers.get(b"content-length")
        self._told = int(told) if told is not None else None
        self._reader = FormReader(boundary_of(self.content_type))
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._size = 0
        self._held = held
        self._holding = 0
        self._whole = False
        if self._told is not None and self._told > limit_bytes:
            raise self._too_large()

    @property
    def fields(self) -> Mapping[str, str]:
        """What came of its fields."""
        return self._reader.fields

    @property
    def text(self) -> bytes:
        """What they say."""
        return text_of(self._reader.fields)

    async def open(self) -> None:
        """Reads until a place can be chosen; raises BadRequest, TooLarge, Overloaded, ClientGone."""
        reader = self._reader
        small = self._told is not None and self._told <= SMALL_BYTES
        while not self._whole and (small or not reader.routable):
            await self.read()
            if not reader.routable:
                self._hold(reader.held)
        if not self._whole:
            length = self._told - reader.consumed if self._told is not None else None
            self.upload = CallersUpload(self, reader, length)

    def head(self, model: str) -> bytes:
        """Returns the form as far as it came, asking for this model."""
        return self._reader.head(model)

    def withhold(self, names: Collection[str]) -> None:
        """Refuses fields of these names, those that came and those that will."""
        self._reader.withhold(names)

    def watch(self, judge: Callable[[bytes], None]) -> None:
        """Has fields that come later judged."""
        if self.upload is not None:
            self.upload.judge = judge

    def close(self) -> None:
        """Gives back what it held."""
        self._hold(0)

    # -- for the upload ----------------------------------------------------------------------------------------------

    @property
    def whole(self) -> bool:
        """All of it has come."""
        return self._whole

    def begin(self) -> None:
        """What was held has been sent."""
        self._reader.begin()
        self._hold(0)

    async def read(self) -> None:
        """Reads on; raises BadRequest, TooLarge, ClientGone."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body: bytes = message["body"]
        self._size += len(body)
        if self._size > self._limit_bytes:
            raise self._too_large()
        self._reader.feed(body)
        if not message["more_body"]:
            self._reader.end()
            self._whole = True

    def _hold(self, size_bytes: int) -> None:
        self._held.change(self._holding, size_bytes)
        self._holding = size_bytes

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the request's body is larger than {self._limit_bytes} bytes (server.max_body)")


class CallersUpload:
    """The rest of a form; implements `Upload`."""

    def __init__(self, form: CallersForm, reader: FormReader, length: int | None) -> None:
        self.length = length
        self.spent = False
        self.expires_at = math.inf
        self.judge: Callable[[bytes], None] | None = None
        self._form = form
        self._reader = reader

    async def next(self) -> bytes | None:
        """Returns what has come since, None at the end; see `Upload`."""
        form, reader = self._form, self._reader
        if not self.spent:
            self.spent = True
            form.begin()
        while not (data := reader.take()):
            if form.whole:
                return None
            await form.read()
            if reader.late:
                if self.judge is not None:
                    self.judge(b"\n".join(value for _, value in reader.late))
                reader.late.clear()
        return data
