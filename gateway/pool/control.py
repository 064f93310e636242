"""All pools under one roof: those that are launched here, and those that were found."""

from __future__ import annotations

from gateway.pool.states import Control, ReplicaView


class Both:
    """Implements `states.Control`: a pool that is launched is asked of `launched`, every other of `found`."""

    def __init__(self, found: Control, launched: Control | None = None) -> None:
        self._found = found
        self._launched = launched

    def of(self, pool: str) -> Control:
        """Returns who has a say over a pool."""
        return self._launched if self._launched is not None and pool in self._launched.pools() else self._found

    def is_launched(self, pool: str) -> bool:
        """Says whether a pool's replicas are processes of ours."""
        return self.of(pool) is self._launched

    def pools(self) -> list[str]:
        """Returns all pools."""
        launched = self._launched.pools() if self._launched is not None else []
        return list(dict.fromkeys([*self._found.pools(), *launched]))

    def status(self) -> list[ReplicaView]:
        """Returns every replica, by pool."""
        launched = self._launched.status() if self._launched is not None else []
        views = [view for view in self._found.status() if not self.is_launched(view.pool)] + launched
        order = {pool: place for place, pool in enumerate(self.pools())}
        return sorted(views, key=lambda view: order[view.pool])  # stable: a pool's own order stays

    def logs(self, pool: str, replica: str, lines: int) -> list[str]:
        """Returns the last lines that a replica has said."""
        return self.of(pool).logs(pool, replica, lines)

    async def drain(self, pool: str, replica: str) -> None:
        """Takes a replica out."""
        await self.of(pool).drain(pool, replica)

    async def restart(self, pool: str, replica: str | None) -> None:
        """Starts a replica anew, or all of them one by one."""
        await self.of(pool).restart(pool, replica)

    async def scale(self, pool: str, replicas: int) -> None:
        """Has so many replicas."""
        await self.of(pool).scale(pool, replicas)

    def suspect(self, pool: str, replica: str, why: str) -> None:
        """Sends a replica no new calls."""
        self.of(pool).suspect(pool, replica, why)

    def cleared(self, pool: str, replica: str) -> None:
        """Takes a suspicion back."""
        self.of(pool).cleared(pool, replica)

    async def replace(self, pool: str, replica: str, why: str) -> None:
        """Ends a replica that is of no use, and starts it anew."""
        await self.of(pool).replace(pool, replica, why)
