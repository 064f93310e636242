"""What storms of a process share: the places that it is pointed at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.storms.places import Sky, StormyPlace, stand


@pytest.fixture
async def places() -> AsyncIterator[tuple[Sky, dict[str, list[StormyPlace]]]]:
    """Every place, listening."""
    sky = Sky()
    standing = stand(sky)
    async with AsyncExitStack() as stack:
        for replicas in standing.values():
            for place in replicas:
                await stack.enter_async_context(place)
        yield sky, standing
