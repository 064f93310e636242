"""What the admin surface shows of a running gateway: its traffic of late, and its rules."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.admin.api.policies import Question
from gateway.core.errors import BadRequest, CallError, ConfigError
from gateway.core.money import usd
from gateway.core.types import Deployment
from gateway.telemetry.history import EVERY_S, STEPS
from gateway.wiring.levers import BreakerLevers
from gateway.wiring.runtime import Runtime
from gateway.wiring.suppose import Supposed, suppose


class Traffic:
    """What has happened of late, and how things stand. Read in the loop, where the counters are written."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def told(self, seconds: float) -> Mapping[str, Any]:
        """Tells rates by step, and of the last `seconds` the deployments' latencies and the errors."""
        runtime, services = self._runtime, self._runtime.services
        history = runtime.history
        return {
            "at": time.time(),
            "every_s": EVERY_S,
            "kept_s": EVERY_S * STEPS,
            "window_s": seconds,
            "steps": [msgspec.to_builtins(step) for step in history.steps()],
            "deployments": [{**self._standing(row["deployment"]), **row} for row in history.deployments(seconds)],
            "errors": history.errors(seconds),
            "in_flight": sum(services.admission.in_flight.values()),
            "queued": services.admission.waiting,
            "breakers": BreakerLevers(services.breakers).conditions(),
            "cache": [{"entries": len(cache), "bytes": cache.size_bytes} for cache in runtime.answers.here],
            "journal_bytes": services.ledger.journal.size_bytes,
            "revision": runtime.compiled.snapshot.revision,
            "problems": [*runtime.problems(), *runtime.reload_problems],
        }

    def _standing(self, deployment: str) -> dict[str, Any]:
        found = next((each for each in self._runtime.pipeline.snapshot.deployments if each.name == deployment), None)
        return {
            "provider": None if found is None else found.provider,
            "location": None if found is None else found.location,
            "in_flight": self._runtime.services.admission.in_flight.get(deployment, 0),
        }


class Rules:
    """What may go where, and what would happen to a call that was not made."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def told(self) -> Mapping[str, Any]:
        """Tells levels, deployments with what they may see, the proof, guarantees, routes and policy tests."""
        loaded, compiled = self._runtime.loaded, self._runtime.compiled
        snapshot, matrix = compiled.snapshot, compiled.matrix
        policies = loaded.config.policies
        return {
            "revision": snapshot.revision,
            "levels": list(snapshot.levels),
            "deployments": [_facts(each, snapshot.levels) for each in snapshot.deployments],
            "matrix": [
                {"route": cell.route, "level": cell.level, "under": cell.under, "permitted": sorted(cell.permitted)}
                for cell in matrix.cells
            ],
            "warnings": [*loaded.warnings, *matrix.warnings, *compiled.notes],
            "guarantees": [_written(each) for each in policies.guarantees],
            "routes": [
                {
                    **_written(written),
                    "among": [each.name for each in route.among],
                    "pick": route.pick.name,
                    "line": loaded.at("policies", "routes", index),
                }
                for index, (written, route) in enumerate(zip(policies.routes, snapshot.routing.routes, strict=True))
            ],
            # A config with a test that fails never serves: those of the one that does have passed.
            "tests": [{**_written(each), "passed": True} for each in policies.tests],
        }

    def explain(self, question: Question) -> Mapping[str, Any]:
        """Puts a call that was not made to the engine; raises BadRequest for a name that the config lacks.

        A call that would be refused is an answer too: `refused` says why.
        """
        asked = {**question.model_dump(), "down": frozenset(question.down), "draw": secrets.randbelow(1000) / 1000}
        try:
            decision, line = suppose(self._runtime.loaded, self._runtime.pipeline.snapshot, Supposed(**asked))
        except ConfigError as error:
            raise BadRequest("; ".join(error.problems), code="invalid_parameter") from None
        except CallError as error:
            return {
                "sentence": f"refused: {error.message}",
                "decision": None,
                "refused": {"status": error.status, "code": error.code, "message": error.message},
            }
        return {"sentence": line, "decision": msgspec.to_builtins(decision), "refused": None}


def _facts(deployment: Deployment, levels: tuple[str, ...]) -> dict[str, Any]:
    price = deployment.price
    rates = None if price is None else price.tiers[0][1]
    return {
        "name": deployment.name,
        "provider": deployment.provider,
        "kind": deployment.kind,
        "model": deployment.model,
        "location": deployment.location,
        "retention": deployment.retention,
        "clearance": levels[deployment.clearance],
        "disabled": deployment.disabled,
        "context_window": deployment.context_window,
        "price": None
        if price is None or rates is None
        else {"input": usd(rates.fresh_input), "output": usd(rates.output_text), "source": price.source},
    }


def _written(section: Any) -> dict[str, Any]:
    """Returns a section as it is written, without what nobody set."""
    told: dict[str, Any] = section.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {name: value for name, value in told.items() if not (isinstance(value, float) and math.isnan(value))}
