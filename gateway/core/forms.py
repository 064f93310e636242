"""A request that is a form (`multipart/form-data`, RFC 7578): its fields, and its files as they come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol


class Upload(Protocol):
    """The rest of a body that is still on its way from the caller; taken piece by piece, once.

    `length` is how many bytes are to come, None where the caller does not say. `spent`: a piece has been taken, so
    that the request can be sent to nobody else. `expires_at` (monotonic seconds) is when it has to be through.
    """

    length: int | None
    spent: bool
    expires_at: float

    async def next(self) -> bytes | None:
        """Returns what has come since, None at the end; what is not taken holds the caller back.

        Raises CallError for a body that breaks its own rules, ClientGone where the caller leaves.
        """
        ...


class Form(Protocol):
    """A form, read until routing knows enough of it.

    `fields` are those without a file that came so far; of a name that stands twice, the last. `text` is what they say,
    for detectors. `upload` is None where the whole form is here.
    """

    @property
    def content_type(self) -> bytes: ...

    @property
    def fields(self) -> Mapping[str, str]: ...

    @property
    def text(self) -> bytes: ...

    @property
    def upload(self) -> Upload | None: ...

    def head(self, model: str) -> bytes:
        """Returns the form as far as it came, asking for this model."""
        ...

    def withhold(self, names: Collection[str]) -> None:
        """Refuses fields of these names, those that came and those that will; raises BadRequest."""
        ...

    def watch(self, judge: Callable[[bytes], None]) -> None:
        """Has the text of fields that come later judged before they go on; `judge` raises CallError."""
        ...
