"""What the admin surface is given: the running gateway, area by area."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.admin.access import Credentials
from gateway.admin.app import Rooms, application
from gateway.admin.audit import Audit
from gateway.admin.budget_desk import BudgetDesk
from gateway.admin.keeper import Keeper
from gateway.admin.key_desk import KeyDesk, Surroundings
from gateway.admin.sessions import Sessions
from gateway.state.protocols import KeyRow
from gateway.wiring.accounts import Accounts
from gateway.wiring.compile import written_keys
from gateway.wiring.desk import Desk
from gateway.wiring.desks import surroundings_of
from gateway.wiring.levers import BreakerLevers
from gateway.wiring.owned import owned_of
from gateway.wiring.play import Playground
from gateway.wiring.runtime import VERSION, Runtime
from gateway.wiring.support import matrix
from gateway.wiring.views import Rules, Traffic

TAKEN_OVER_S: Final = 30.0


def admin_surface(
    runtime: Runtime, open_check: Callable[[list[tuple[bytes, bytes]], str], None] | None, admin_hash: str
) -> Callable[..., Awaitable[None]]:
    """Returns the app over a running gateway; `open_check` is the rule for reading without a key, None forbids it."""

    def limits() -> tuple[float, float]:
        admin = runtime.loaded.config.admin
        return admin.session_idle, admin.session_max

    def hosts() -> list[str]:
        return [name.lower() for name in runtime.loaded.config.admin.hosts]

    loop = asyncio.get_running_loop()

    def surroundings() -> Surroundings:
        return surroundings_of(runtime.loaded.config, runtime.stored_keys)

    def changed() -> None:
        asyncio.run_coroutine_threadsafe(runtime.reload_changes(), loop).result(TAKEN_OVER_S)

    return application(
        Rooms(
            keeper=Keeper(Credentials(admin_hash, Keyring(runtime).find), Sessions(limits), hosts, open_check),
            audit=Audit(runtime.store),
            accounts=Accounts(
                runtime.store, runtime.services.ledger.settle, lambda: owned_of(runtime.loaded, runtime.compiled)
            ),
            levers=BreakerLevers(runtime.services.breakers),
            keys=KeyDesk(runtime.store, surroundings, changed),
            budgets=BudgetDesk(
                runtime.services.budgets,
                runtime.services.limits,
                runtime.services.ledger,
                lambda: {row.name: row.team for row in (*surroundings().keys, *runtime.stored_keys)},
            ),
            teams=lambda: {name: team.model_dump(mode="json") for name, team in runtime.loaded.config.teams.items()},
            support=lambda: matrix(_kinds(runtime)),
            traffic=Traffic(runtime),
            rules=Rules(runtime),
            playground=Playground(runtime),
            desk=runtime.pool.desk,
            configs=Desk(runtime),
            version=VERSION,
            max_body=runtime.loaded.config.server.max_body,
        )
    )


class Keyring:
    """The keys that hold now, by hash; of two with one hash the config's holds, as it does at `/v1`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._of: tuple[object, object] = (None, None)
        self._rows: dict[str, KeyRow] = {}

    def find(self, hash: str) -> KeyRow | None:
        """Returns the key of this hash."""
        config, stored = self._runtime.loaded.config, self._runtime.stored_keys
        if self._of[0] is not config or self._of[1] is not stored:
            self._rows = {row.hash: row for row in (*reversed(stored), *reversed(written_keys(config)))}
            self._of = (config, stored)
        return self._rows.get(hash)


def _kinds(runtime: Runtime) -> dict[str, str]:
    """Returns the kind of each provider of the config that serves."""
    return {name: provider.kind for name, provider in runtime.loaded.config.providers.items()}
