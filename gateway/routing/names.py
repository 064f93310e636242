"""What a model name means, and who may use it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from gateway.core.errors import BadRequest, CallError, Forbidden, UnknownModel
from gateway.core.types import Deployment, FailurePolicy, Principal, Request
from gateway.routing.rules import AUTO, DIRECT, Directly, Route, fits

_LONGEST_NAME = 100  # of a caller's name in an error; a longer one gets no suggestion either


class Names:
    """Resolves names: listed letter by letter, then a deployment's own, then a pattern; `auto` is the default route.

    Routes are tried in order and the first match wins; a route without `model` matches every name that routes serve.
    """

    def __init__(self, routes: Sequence[Route], deployments: Iterable[Deployment], on_failure: FailurePolicy) -> None:
        listed = dict.fromkeys([name for route in routes for name in route.names] + [AUTO])
        self.listed = {
            name: tuple(route for route in routes if route.when.model is None or name in route.names) for name in listed
        }
        self._patterned = tuple(route for route in routes if route.when.model is None or route.patterns)
        self._patterns = tuple(dict.fromkeys(pattern for route in routes for pattern in route.patterns))
        self.direct: dict[str, Route] = {}
        self._aliases: dict[str, tuple[str, ...]] = {}
        for deployment in deployments:
            route = Route(DIRECT, (deployment,), Directly(), on_failure=on_failure)
            self.direct[deployment.name] = route
            self._aliases[deployment.name] = (deployment.name, f"{deployment.provider}/{deployment.model}")
        for name, route in list(self.direct.items()):
            self.direct.setdefault(self._aliases[name][1], route)

    def resolve(self, request: Request) -> tuple[Route, tuple[str, ...]]:
        """Returns the route, and every name of the deployment where it is called directly.

        Raises UnknownModel, with a did-you-mean among the names that the caller may use, or BadRequest where the
        call names no model and no route serves such calls.
        """
        name = request.call.model or AUTO
        candidates = self.listed.get(name, ())
        for route in candidates:
            if route.when.matches_otherwise(request):
                return route, ()
        direct = self.direct.get(name)
        if direct is not None:
            return direct, self.aliases_of(direct)
        if any(fnmatchcase(name, pattern) for pattern in self._patterns):
            for route in self._patterned:
                if route.when.model is not None and not any(fnmatchcase(name, one) for one in route.patterns):
                    continue
                candidates = (*candidates, route)
                if route.when.matches_otherwise(request):
                    return route, ()
        raise self._unknown(request, candidates)

    def aliases_of(self, route: Route) -> tuple[str, ...]:
        """Returns every name of the deployment that a direct route calls; for any other route nothing."""
        return self._aliases[route.among[0].name] if route.name == DIRECT else ()

    def known(self, name: str) -> bool:
        """Tells whether a name means anything at all."""
        return name in self.listed or name in self.direct or any(fnmatchcase(name, one) for one in self._patterns)

    def usable(self, principal: Principal) -> list[str]:
        """Returns the names that a caller may use, routes' names first; without patterns and provider/model forms.

        A name behind which every deployment is disabled is left out.
        """
        names = [
            name
            for name, routes in self.listed.items()
            if any(_may_take(principal, route) and _is_enabled(route) for route in routes)
        ]
        if principal.routes is None or DIRECT in principal.routes:
            names += [name for name in self._aliases if name not in self.listed and _is_enabled(self.direct[name])]
        return [name for name in names if may_ask(principal, name)]

    def refused(self, request: Request) -> CallError:
        """Returns the error for a name that the caller's key does not list."""
        name = request.call.model or AUTO
        if self.known(name):
            return Forbidden(f"this key may not use model {name!r}", code="model_not_allowed", param="model")
        return self._unknown(request, ())

    def _unknown(self, request: Request, candidates: Sequence[Route]) -> CallError:
        name = request.call.model
        if candidates:
            routes = ", ".join(repr(route.name) for route in candidates[:5])
            return UnknownModel(f"model {name or AUTO!r}: this call meets none of the conditions of route {routes}")
        if not name:
            return BadRequest("a model is required: there is no default route", param="model")
        close: list[str] = []
        if len(name) <= _LONGEST_NAME:
            close = get_close_matches(name, self.usable(request.principal), n=1)
        suggestion = f"; did you mean {close[0]!r}?" if close else ""
        return UnknownModel(f"model {name[:_LONGEST_NAME]!r} does not exist{suggestion}")


def may_ask(principal: Principal, name: str) -> bool:
    """Tells whether a key's `models` (names and patterns; None is all) allow a name."""
    models = principal.models
    return models is None or name in models or fits(name, models)


def _may_take(principal: Principal, route: Route) -> bool:
    return principal.routes is None or route.name in principal.routes


def _is_enabled(route: Route) -> bool:
    return any(deployment.disabled is None for deployment in route.among)
