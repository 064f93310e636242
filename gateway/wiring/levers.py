"""The breakers as the admin surface sees and steers them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.breakers import Breakers
from gateway.core.errors import CallError


class UnknownEndpoint(CallError):
    """The config has no such endpoint."""

    status = 404
    type = "invalid_request_error"
    code = "endpoint_not_found"


class BreakerLevers:
    """Shows conditions as data; times in it are seconds from now."""

    def __init__(self, breakers: Breakers) -> None:
        self._breakers = breakers

    def conditions(self) -> list[Mapping[str, Any]]:
        """Every endpoint: its state, why, and its recent history."""
        now = time.monotonic()
        return [self._shown(condition.endpoint, now) for condition in self._breakers.conditions(now)]

    def force(self, endpoint: str, state: str) -> Mapping[str, Any]:
        """Keeps calls away from an endpoint ("open"), or lets them through again; raises UnknownEndpoint."""
        now = time.monotonic()
        try:
            if state == "open":
                self._breakers.force_open(endpoint, now)
            else:
                self._breakers.force_close(endpoint, now)
        except KeyError:
            raise UnknownEndpoint(f"there is no endpoint {endpoint[:100]!r}") from None
        return self._shown(endpoint, now)

    def _shown(self, endpoint: str, now: float) -> Mapping[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(self._breakers.condition(endpoint, now))
        shown["until"] = _from_now(shown["until"], now)
        for change in shown["history"]:
            change["at"], change["until"] = _from_now(change["at"], now), _from_now(change["until"], now)
        return shown


def _from_now(moment: float | None, now: float) -> float | None:
    return None if moment is None or moment in (float("inf"), float("-inf")) else round(moment - now, 3)
