"""The pool: two replicas for all tests of a run, as endpoints of one deployment of the house."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.patience import until
from tests.pool import environment
from tests.pool.places import BREAKERS, WITHIN_S, place
from tests.pool.replicas import Replica, start_all
from tests.stories.house import World


@pytest.fixture(scope="session")
def pool() -> Iterator[list[Replica]]:
    """Two replicas that serve."""
    if not environment.PYTHON.exists():
        pytest.skip("`make pool-test` installs what these tests need")
    replicas = start_all(("first", "second"))
    yield replicas
    for replica in replicas:
        replica.close()


@pytest.fixture
async def served(world: World, pool: list[Replica]) -> World:
    """The house, serving both replicas as endpoints of one deployment; neither has anything to do yet."""
    await until(lambda: all(replica.running == 0 for replica in pool), WITHIN_S)
    await world.serve({"tiny": place(pool)}, breakers=BREAKERS)
    return world
