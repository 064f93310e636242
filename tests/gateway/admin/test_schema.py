"""The admin surface against its own OpenAPI document: whatever is sent, no 5xx, and no answer that breaks it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from ruamel.yaml import YAML
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.stories.house import ADMIN_KEY, ROOT, House, body_of

_ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
_CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def surface(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.schemas.BaseSchema]:
    """A gateway with the shipped config that has answered some calls, and its document."""
    house = House(tmp_path_factory.mktemp("schema"))
    config = YAML(typ="safe").load(ROOT / "config.yaml")
    config.pop("server")
    house.start(config)
    try:
        for model in ("demo", "chat", "nobody"):
            httpx.post(f"{house.url}/v1/chat/completions", json=body_of(model=model), verify=False)
        yield schemathesis.openapi.from_url(f"{house.url}/admin/openapi.json", headers=_ADMIN)
    finally:
        house.stop()


def test_no_request_breaks_the_surface_and_no_answer_its_schema(surface: schemathesis.schemas.BaseSchema) -> None:
    asked = 0
    for found in surface.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=operation.as_strategy())
        def holds(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            case.validate_response(case.call(headers=_ADMIN), checks=_CHECKS)

        holds()
    assert asked > 20
