"""What every provider of embeddings shares that does not speak OpenAI's wire: its limits held, its vectors written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from gateway.core.blocks import Begin, Embedded, Metered
from gateway.core.dialect import Dialect, Writer
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, Reason, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Call, Deployment


class Vectors(msgspec.Struct, frozen=True):
    """What a provider answered: a vector for each input, in their order."""

    vectors: Sequence[Sequence[float]]
    usage: Usage | None = None
    model: str = ""
    id: str = ""


def texts(request: EmbeddingRequest, provider: str, most: int | None) -> list[str]:
    """Returns the inputs of a provider that embeds texts, at most `most` a request.

    Raises BadRequest with `param`: tokens are another model's vocabulary, and cannot be told back as text.
    """
    if most is not None and len(request.inputs) > most:
        raise BadRequest(
            f"input: {provider} embeds at most {most} inputs a request, not {len(request.inputs)}", param="input"
        )
    found = []
    for index, item in enumerate(request.inputs):
        if not isinstance(item, str):
            where = "input" if len(request.inputs) == 1 else f"input.{index}"
            raise BadRequest(f"{where}: {provider} embeds texts, not tokens", param=where)
        found.append(item)
    return found


def decoder(call: Call, deployment: Deployment, dialect: Dialect, read: Callable[[bytes], Vectors]) -> VectorDecoder:
    """Returns the decoder of an answer that `read` reads; it raises UpstreamError for one that holds no vectors."""
    return VectorDecoder(
        dialect.writer(call, deployment.model), lambda: len(dialect.embedding_request(call).inputs), read
    )


class VectorDecoder:
    """Gathers a body that comes in one piece, and writes its vectors; one missing is an error, never a gap."""

    __slots__ = (
        "_asked",
        "_pieces",
        "_read",
        "_writer",
        "complete",
        "dropped",
        "finish",
        "output_bytes",
        "progress",
        "started",
        "usage",
    )

    def __init__(self, writer: Writer, asked: Callable[[], int], read: Callable[[bytes], Vectors]) -> None:
        self.started = False
        self.progress = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.output_bytes = 0
        self.dropped = 0
        self.complete = False
        self._writer = writer
        self._asked = asked
        self._read = read
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the body; raises UpstreamError where vectors are missing."""
        answer = self._read(b"".join(self._pieces))
        asked = self._asked()
        if len(answer.vectors) != asked or not all(answer.vectors):
            raise UpstreamError(
                Reason.SERVER_ERROR, f"the provider answered {len(answer.vectors)} vectors for {asked} inputs"
            )
        self.usage = answer.usage
        self.started = self.complete = True
        self.progress = 1
        writer = self._writer
        out = [writer.write(Begin(answer.id, answer.model))]
        out.extend(writer.write(Embedded(index, vector)) for index, vector in enumerate(answer.vectors))
        if answer.usage is not None:
            out.append(writer.write(Metered(answer.usage)))
        out.append(writer.end())
        return (b"".join(out),)
