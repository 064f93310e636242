"""What the admin surface is given: the running gateway, area by area."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.admin.access import Credentials
from gateway.admin.app import Rooms, application
from gateway.admin.audit import Audit
from gateway.admin.keeper import Keeper
from gateway.admin.sessions import Sessions
from gateway.wiring.accounts import Accounts
from gateway.wiring.levers import BreakerLevers
from gateway.wiring.runtime import VERSION, Runtime
from gateway.wiring.support import matrix


def admin_surface(
    runtime: Runtime, open_check: Callable[[list[tuple[bytes, bytes]], str], None] | None, admin_hash: str
) -> Callable[..., Awaitable[None]]:
    """Returns the app over a running gateway; `open_check` is the rule for reading without a key, None forbids it."""

    def limits() -> tuple[float, float]:
        admin = runtime.loaded.config.admin
        return admin.session_idle, admin.session_max

    def hosts() -> list[str]:
        return [name.lower() for name in runtime.loaded.config.admin.hosts]

    return application(
        Rooms(
            keeper=Keeper(Credentials(admin_hash, runtime.keys), Sessions(limits), hosts, open_check),
            audit=Audit(runtime.store),
            accounts=Accounts(runtime.store, runtime.services.ledger.settle),
            levers=BreakerLevers(runtime.services.breakers),
            support=lambda: matrix(_kinds(runtime)),
            version=VERSION,
            max_body=runtime.loaded.config.server.max_body,
        )
    )


def _kinds(runtime: Runtime) -> dict[str, str]:
    """Returns the kind of each provider of the config that serves."""
    return {name: provider.kind for name, provider in runtime.loaded.config.providers.items()}
