"""What many calls have in common: who asks for what by which route, and which deployment it goes to.

A gateway sees few of these pairings and many calls of each, so a pairing's part of a receipt is encoded once.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.core.types import Call, Deployment, Principal, Tags

_REMEMBERED: Final = 8192  # pairings, some 1 KB each; forgotten all at once when full

_encode: Final = msgspec.json.Encoder().encode
_Key = tuple[str, str | None, Tags, str | None, str | None, str | None, str | None, str, bool]


class Pairing(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of a receipt that a pairing settles; the names are the receipt's."""

    team: str | None = None
    tags: Tags = ()
    route: str | None = None
    deployment: str | None = None
    provider: str | None = None
    model: str | None = None
    upstream_model: str | None = None
    sensitivity: str | None = None
    dialect: str | None = None
    endpoint: str | None = None
    stream: bool = False
    config_revision: int = 0


class Paired(msgspec.Struct, frozen=True):
    """A pairing, and its JSON up to the place where a receipt's own members follow."""

    facts: Pairing
    json: bytes


class Pairings:
    """The pairings of one config's calls, remembered."""

    def __init__(self, revision: int) -> None:
        self._revision = revision
        self._known: dict[_Key, Paired] = {}

    def of(
        self, call: Call, principal: Principal, route: str | None, deployment: Deployment | None, level: str | None
    ) -> Paired:
        """Returns the pairing of a call; one that was refused may name any model, and is not remembered."""
        name = deployment.name if deployment is not None else None
        key = (principal.key, principal.team, principal.tags, route, name, call.model, level, call.dialect, call.stream)
        known = self._known.get(key)
        if known is None:
            facts = Pairing(
                principal.team,
                principal.tags,
                route,
                name,
                deployment.provider if deployment is not None else None,
                call.model,
                deployment.model if deployment is not None else None,
                level,
                call.dialect,
                call.endpoint,
                call.stream,
                self._revision,
            )
            known = Paired(facts, _encode(facts)[:-1] + b",")
            if name is not None:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known
