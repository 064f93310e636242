"""The running gateway: services that outlive a config, the config that serves, and the way from one to the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import structlog

from adapters.dialects._responses_kept import ResponsesWire
from gateway.accounting.journal import Journal
from gateway.accounting.ledger import Ledger
from gateway.admission import Admission
from gateway.attempts import LESSONS, RetryBudget
from gateway.breakers import Breakers, Change
from gateway.cache import Flights
from gateway.config import Loaded, load, read
from gateway.config.checks import is_loopback
from gateway.core.errors import ConfigError
from gateway.core.types import Endpoint, Origin
from gateway.kept import KeptAnswers
from gateway.kept_content import KeptContent
from gateway.measure import Measurements
from gateway.pipeline import Pipeline, Services
from gateway.pool.discovery import Discovery, Dns, Members
from gateway.pool.events import EventRing
from gateway.pool.health import Watcher
from gateway.pool.health.devices import Nvml
from gateway.pool.router import Pools
from gateway.pool.supervisor import Supervisor
from gateway.prices import Catalogue
from gateway.simulator import Simulator
from gateway.state.cache import MemoryResponseCache, ResponseCache
from gateway.state.protocols import KeyRow, KeyStore, Store, StoreUnavailable
from gateway.state.revisions import RevisionRow
from gateway.telemetry import Telemetry, names
from gateway.telemetry.history import EVERY_S, History
from gateway.upstream.http1 import Http1Transport
from gateway.wiring import launched
from gateway.wiring.answers import Answers
from gateway.wiring.compile import Compiled, compile_config
from gateway.wiring.gauges import observe
from gateway.wiring.kinds import KINDS, SIMULATOR
from gateway.wiring.labels import DETECTORS
from gateway.wiring.places import Signers, Transports, names_of, places_of
from gateway.wiring.pool_watch import PoolWatch
from gateway.wiring.pools import Replicas, health_of
from gateway.wiring.revising import Revising
from gateway.wiring.rules import windows_of
from gateway.wiring.settings import breaker_settings_of, keep_settings_of, limits_of
from gateway.wiring.spending import Spending
from gateway.wiring.stored import Stored
from gateway.wiring.stores import porter_of, store_of
from gateway.wiring.truth import Current, Truth

_log = structlog.get_logger("headgate")

VERSION = version("headgate")


def read_config(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Loads a config file with the kinds and detectors that this build has; raises ConfigError."""
    return load(path, environ, KINDS, DETECTORS)


def read_revision(row: RevisionRow, path: Path, environ: Mapping[str, str]) -> Loaded:
    """Loads a revision as if it stood at `path`, for looking at: its secrets are what they are shown as."""
    return read(row.text.encode(), path, environ, KINDS, DETECTORS, f"revision {row.number}")


def dry_compile(loaded: Loaded, stored: KeyStore | None = None) -> Compiled:
    """Compiles a config as if to serve it, opening nothing; raises ConfigError."""
    places = places_of(
        loaded,
        Catalogue(datetime.now(UTC).date()),
        Transports(),
        Signers(),
        lambda: Origin("http", "127.0.0.1", 9),
        launched=launched.supposed(loaded),
    )
    return compile_config(loaded, places, stored.keys() if stored is not None else (), MemoryResponseCache(0, 0.0), 0)


class Runtime:
    """Owns every service of one process; the stage that configs serve on (a `revising.Stage`).

    `start` raises ConfigError, or StoreUnavailable; from then on the store may come and go. `reload` keeps the old
    config on any problem.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        listen: tuple[str, int] | None = None,
        discovery: Discovery | None = None,
    ) -> None:
        self.path = path
        self._listen = listen  # in the place of the config's
        self._environ = environ
        self._revision = 0
        self._simulator: Simulator | None = None
        self._transports = Transports()
        self._signers = Signers()
        self.events = EventRing()  # what befalls replicas
        self._members = Members(discovery or Dns(), self.events)
        self._following: asyncio.Task[None] | None = None
        self.answers = Answers()
        self._pools = Pools()
        self._aside = Http1Transport()  # for what is asked of replicas beside calls
        around = launched.surroundings(self._pools, self._aside, self.events, environ)
        self.supervisor = Supervisor(around, self.reload)
        self.reload_problems: tuple[str, ...] = ()
        self.history: History
        self.loaded: Loaded
        self.compiled: Compiled
        self.pipeline: Pipeline
        self.services: Services
        self.store: Store
        self._stored: Stored
        self.pool: PoolWatch
        self._watcher: Watcher
        self.revising: Revising

    async def start(self) -> None:
        """Loads the config and brings everything up but the listener."""
        self.loaded = loaded = read_config(self.path, self._environ)
        self._refuse_an_open_door(loaded)
        self.store = await asyncio.to_thread(store_of, loaded)
        self._stored = Stored(self.store)
        self.revising = Revising(Truth(self.path, self.store), self)
        try:
            loaded, compiled = await self.revising.begin()
            self._refuse_an_open_door(loaded)
            config = loaded.config
            telemetry = Telemetry(VERSION, config.telemetry.otlp, config.telemetry.spans)
            journal = Journal(
                Path(config.store.journal),
                max_bytes=config.store.journal_max,
                sync=config.store.sync,
                sync_interval_s=config.store.sync_interval,
            )
        except (ConfigError, StoreUnavailable):
            await self.supervisor.stop()
            self.store.close()
            raise
        ledger = Ledger(journal, self.store, porter=porter_of(loaded))
        self._spending = spending = Spending(self.store, ledger)
        try:
            await spending.apply(config, self._stored.keys)
        except (StoreUnavailable, OSError):
            journal.shut()
            self.store.close()
            raise
        spending.start()
        ledger.start()
        kept = KeptAnswers(self.store, KeptContent(ResponsesWire()))
        kept.start()
        measurements = Measurements()
        self.services = Services(
            transports=self._transports,
            signers=self._signers,
            breakers=Breakers(LESSONS, breaker_settings_of(config), self._breaker_changed),
            retries=RetryBudget(),
            measurements=measurements,
            admission=Admission(limits_of(config)),
            flights=Flights(),
            ledger=ledger,
            budgets=spending.budgets,
            limits=spending.limits,
            telemetry=telemetry,
            kept=kept,
            pools=self._pools,
        )
        self.pool = PoolWatch(self._pools, measurements, self.services.breakers, self.events, self.supervisor)
        self._watcher = Watcher(
            self._pools,
            Replicas(self._transports, self.pool.fleet.heard),
            measurements.at_endpoints,
            self.events,
            self.supervisor,
            Nvml(),
        )
        self._pools.heard = self._watcher.hear
        telemetry.metrics.observe(names.REVISION, lambda: [((), self._revision)])
        spending.observe(telemetry.metrics)
        observe(self.services, self.answers)
        self.history = History(telemetry.metrics)
        self.pipeline = Pipeline(self.services, compiled.snapshot)
        self._applied(loaded, compiled)
        self._following = asyncio.create_task(
            self._members.follow(lambda: names_of(self.loaded.config), self._readdress), name="discovery"
        )
        self._following.add_done_callback(tell_defect)
        self.pool.begin(telemetry.metrics, self.reprice)

    async def stop(self) -> None:
        """Ends what `start` began; every receipt is in the store or, where that is away, in the journal."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await self.pool.close()
        await self._watcher.aclose()
        await self.supervisor.stop()
        await self._aside.aclose()
        await self.services.flights.close()
        for transport in self._transports.values():
            await transport.aclose()
        if self._simulator is not None:
            await self._simulator.close()
        await self.answers.close()
        self.services.kept.content.close()
        await self._spending.stop()
        await asyncio.to_thread(self.services.kept.stop)
        await asyncio.to_thread(self.services.ledger.stop)
        await asyncio.to_thread(self.services.telemetry.close)
        self.store.close()

    async def reload(self) -> None:
        """Serves the file as it is now, or keeps serving what did and says why."""
        await self.revising.take_file()

    async def reload_changes(self) -> None:
        """Takes over what the store was given: the newest revision, keys made or changed; gives it missed prices.

        Keys are taken over by the config that serves: a mistake in its file must not keep one from being switched off.
        """
        try:
            newest, keys_changed = await asyncio.to_thread(self._stored.look)
        except StoreUnavailable:  # the mover tells of it
            newest, keys_changed = self._revision, False
        await self.revising.converge(newest)
        if keys_changed:
            async with self.revising.one_at_a_time:
                try:
                    compiled = await self.compile(self.loaded, self._revision)
                except ConfigError as error:  # what it names has changed meanwhile: a certificate, a proxy
                    self.refuse(error.problems)
                else:
                    await self._renew(compiled)

    async def keep_history(self) -> None:
        """Reads the counters in even steps, for whoever watches; ends when cancelled."""
        while True:
            self.history.read(time.time())
            await asyncio.sleep(EVERY_S)

    async def reprice(self, providers: Sequence[str]) -> None:
        """Serves the same config with what was measured of its pools' speed; each price has a version of its own."""
        async with self.revising.one_at_a_time:
            try:
                compiled = await self.compile(self.loaded, self._revision)
            except ConfigError as error:
                for provider in providers:
                    self.pool.fleet.forget(provider)
                _log.error("pool_price_refused", pools=providers, problems=error.problems)
                return
            await self._renew(compiled)
            self.pool.repriced(providers)

    # -- the stage ------------------------------------------------------------------------------------------------

    def read(self, config: Current) -> Loaded:
        """Reads and checks a config; raises ConfigError."""
        return read(config.content, self.path, self._environ, KINDS, DETECTORS, config.name)

    def admit(self, loaded: Loaded) -> None:
        """Raises ConfigError for what is read at the start only, and for a door that must not be open."""
        self._refuse_what_needs_a_start(loaded)
        self._refuse_an_open_door(loaded)

    async def compile(self, loaded: Loaded, number: int) -> Compiled:
        """Compiles a config that is to serve as a revision; raises ConfigError."""
        config = loaded.config
        await self._members.learn(names_of(config))
        if any(provider.kind == SIMULATOR for provider in config.providers.values()) and self._simulator is None:
            self._simulator = Simulator()
            await self._simulator.listen()
        replicas = launched.prepared(self.supervisor, loaded)
        return await asyncio.to_thread(self._compile_now, loaded, await self.answers.of(config), number, replicas)

    async def apply(self, loaded: Loaded, compiled: Compiled) -> None:
        """Lets a config serve the calls that begin from now on."""
        await self._spending.apply(loaded.config, self._stored.keys)
        self.pipeline.apply(compiled.snapshot)
        self._applied(loaded, compiled)
        _log.info("config_applied", revision=self._revision)
        await self._transports.retire({endpoint.transport for endpoint in compiled.snapshot.endpoints})

    def refuse(self, problems: list[str]) -> None:
        """Tells of a config that does not serve."""
        self.reload_problems = tuple(problems)
        self.services.telemetry.metrics.count(names.RELOADS, ("refused",))
        _log.error("config_refused", problems=problems, serving_revision=self._revision)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return self._listen or self.loaded.config.server.address

    @property
    def stored_keys(self) -> Sequence[KeyRow]:
        """The store's keys, as they were read last; a change of them is another sequence."""
        return self._stored.keys

    def problems(self) -> list[str]:
        """Says what keeps new calls from being served well."""
        found = []
        if self.services.ledger.mover.trouble is not None:
            found.append(f"receipts wait in the journal: {self.services.ledger.mover.trouble}")
        return found

    def notes(self) -> dict[str, str]:
        """Says how launched pools stand; calls that can go elsewhere are served meanwhile."""
        return launched.notes(self.supervisor.status(), launched.specs_of(self.loaded))

    # ------------------------------------------------------------------------------------------------------------

    async def _readdress(self) -> None:
        """Serves the same config with the members that its pools have now; the revision stays."""
        async with self.revising.one_at_a_time:
            try:
                compiled = await self.compile(self.loaded, self._revision)
            except ConfigError as error:  # what else it is made of has changed: a file of TLS, a price that went
                _log.error("config_refused", problems=error.problems, serving_revision=self._revision)
                return
            await self._renew(compiled)

    async def _renew(self, compiled: Compiled) -> None:
        """Serves the same config as it was compiled anew, with the keys that compiling has read."""
        await self._spending.apply(self.loaded.config, self._stored.keys)
        self.pipeline.apply(compiled.snapshot)
        self.compiled = compiled
        self.pool.watch(compiled.snapshot.deployments, self.loaded.config)
        self._watcher.watch(compiled.snapshot.deployments, health_of(self.loaded.config))

    def _compile_now(
        self, loaded: Loaded, cached: ResponseCache, number: int, replicas: Mapping[str, Sequence[Origin]]
    ) -> Compiled:
        self._stored.read_keys()
        measured = self.pool.fleet.factors if self._following is not None else {}
        places = places_of(
            loaded,
            Catalogue(datetime.now(UTC).date()),
            self._transports,
            self._signers,
            self._simulated,
            self._members.addresses,
            launched=replicas,
            measured=measured,
        )
        compiled = compile_config(loaded, places, self._stored.keys, cached, number)
        self._stored.keep(each.price for each in places.deployments.values() if each.price is not None)
        return compiled

    def _simulated(self) -> Origin:
        assert self._simulator is not None
        return Origin("http", self._simulator.host, self._simulator.port)

    def _refuse_what_needs_a_start(self, loaded: Loaded) -> None:
        old, new = self.loaded.config, loaded.config
        fixed = (
            ("server", old.server, new.server),
            ("store", old.store, new.store),
            ("telemetry", old.telemetry, new.telemetry),
        )
        problems = [
            f"{loaded.at(name)}: `{name}` is read at the start only: restart to change it"
            for name, before, after in fixed
            if before != after
        ]
        if problems:
            raise ConfigError(problems)

    def _refuse_an_open_door(self, loaded: Loaded) -> None:
        host, _ = self.address
        if loaded.config.auth == "open" and not is_loopback(host):
            where = loaded.at("auth")
            raise ConfigError([f"{where}: `auth: open` answers on a loopback address only, and this listens on {host}"])

    def _applied(self, loaded: Loaded, compiled: Compiled) -> None:
        self._revision = compiled.snapshot.revision
        self.loaded, self.compiled, self.reload_problems = loaded, compiled, ()
        self.services.telemetry.metrics.count(names.RELOADS, ("applied",))
        measurements = self.services.measurements
        measurements.watch(windows_of(loaded.config.policies))
        measurements.keep(loaded.config.deployments)
        self.pool.watch(compiled.snapshot.deployments, loaded.config)
        self.services.admission.apply(limits_of(loaded.config))
        self.services.breakers.apply(breaker_settings_of(loaded.config))
        self.services.kept.content.apply(keep_settings_of(loaded.config))
        self._watcher.watch(compiled.snapshot.deployments, health_of(loaded.config))
        self.supervisor.apply(launched.specs_of(loaded))

    def _breaker_changed(self, endpoint: Endpoint, change: Change) -> None:
        self.services.telemetry.metrics.count(names.BREAKER_CHANGES, (endpoint.id, change.state))
        _log.warning("breaker_changed", endpoint=endpoint.id, state=change.state, why=change.why)


def tell_defect(task: asyncio.Task[None]) -> None:
    """Says that a watch has ended by a defect: the gateway serves on, and no longer hears of changes."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("watch_ended", watch=task.get_name(), exc_info=error)
