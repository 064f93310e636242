"""How the house is told of the pool: two replicas, found as endpoints of one deployment; and how it is talked to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from tests.pool.replicas import CONTEXT_WINDOW, NAME, Replica
from tests.stories.house import Place, World

# A model that draws its tokens at random has no use for an end of its own: answers are as long as they may be.
ENDLESS: Final = {"ignore_eos": True}
LONG: Final = CONTEXT_WINDOW - 200  # tokens: some 25 s
WITHIN_S: Final = 120.0  # for whatever is waited for: the replicas share two cores with their callers
# Short rests, so that a replica that came back is soon asked again.
BREAKERS: Final = {"rest": "300ms", "longest_rest": "1s"}


def place(replicas: Sequence[Replica], **deployment: Any) -> Place:
    """Returns the deployment that stands at these replicas."""
    return Place(
        {"kind": "vllm", "endpoints": [replica.url for replica in replicas]},
        {"model": NAME, "price": {"input": "1.00", "output": "4.00"}, **deployment},
    )


class Stream(NamedTuple):
    """A stream that has begun to speak."""

    id: str
    rest: AsyncIterator[str]


@asynccontextmanager
async def speaking(world: World, tokens: int = LONG) -> AsyncIterator[Stream]:
    """Opens a stream and waits for its first content; the caller leaves with the context."""
    async with world.streaming(max_tokens=tokens, **ENDLESS) as response:
        rest = response.aiter_text()
        await anext(rest)
        yield Stream(response.headers["x-request-id"], rest)
