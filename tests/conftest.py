"""What stories share: one gateway process for all of them, which takes over each story's config while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.stories.house import House, World

# The same examples in every run, and none that is too slow: a busy machine is no defect. For others, and the
# deadline back: --hypothesis-profile=default.
settings.load_profile("ci")

_SHOWN = 50  # of what a gateway said, the last lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Shows with a failed story what its gateways said since it began."""
    report = yield
    if report.failed:
        for house, said, logged in getattr(item, "houses", ()):
            lines = [*house.said[said:], *house.log[logged:]]
            report.sections.append(("gateway", "\n".join(lines[-_SHOWN:])))
    return report


def _watch(request: pytest.FixtureRequest, house: House) -> None:
    houses = request.node.__dict__.setdefault("houses", [])
    houses.append((house, len(house.said), len(house.log)))


@pytest.fixture(scope="session")
def running_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The process that serves the stories."""
    from tests.stories.house import House, config_of

    house = House(tmp_path_factory.mktemp("house"))
    house.start(config_of({}))
    yield house
    try:
        assert house.stop() == 0, house.told
        # A call that ended without its receipt would have left its opening line behind.
        assert not list((house.folder / "journal").glob("*.journal"))
    finally:
        house.kill()


@pytest.fixture
async def world(running_house: House, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """The gateway of the stories, with a world of the story's own around it."""
    from tests.stories.house import World

    _watch(request, running_house)
    world = World(running_house)
    yield world
    await world.close()


@pytest.fixture
def build(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], House]]:
    """Builds houses of a story's own, for those that stop or kill them; they share one folder."""
    from tests.stories.house import House

    houses: list[House] = []

    def make() -> House:
        house = House(tmp_path)
        houses.append(house)
        _watch(request, house)
        return house

    yield make
    for house in houses:
        house.kill()
