"""A config as written in `config.yaml`: closed sections with their defaults, from which the reference is made."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from gateway.config.budgets import Budget, BudgetTerms, Notify, RateLimit, RateTerms
from gateway.config.policies import Policies, SensitivitySettings, UnknownPrice
from gateway.config.providers import Deployment, Provider
from gateway.config.secret import Secret
from gateway.config.section import Section
from gateway.config.units import Address, Duration, KeyHash, Name, Network, Size, SizeOrZero, Unit, Url, split_address

SQLITE: Final = "sqlite:///"
POSTGRES: Final = ("postgresql://", "postgres://")


class Server(Section):
    """The callers' side of the gateway."""

    listen: Address = Field(default="127.0.0.1:8080", description="Where callers connect; port 0 takes a free one.")
    max_body: Size = Field(default=32 * 2**20, gt=0, description="The largest request body.")
    max_held: Size = Field(
        default=128 * 2**20,
        gt=0,
        description="What forms may take up together that are held until their `model` comes; those that name it "
        "before their file are passed on as they come.",
    )
    max_headers: Size = Field(default=64 * 2**10, gt=0, description="The largest head of a request.")
    header_timeout: Duration = Field(default=10.0, gt=0, description="Until a request's head is whole.")
    body_timeout: Duration = Field(
        default=60.0,
        gt=0,
        description="Until a request's body is whole: this, and a second more for each 16 KiB that came.",
    )
    write_timeout: Duration = Field(
        default=120.0, gt=0, description="How long a caller may read nothing while an answer waits."
    )
    keep_alive: Duration = Field(default=75.0, gt=0, description="How long an idle connection is kept.")
    shutdown_grace: Duration = Field(default=30.0, description="How long open calls may go on after SIGTERM.")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        return split_address(self.listen)


class Team(Section):
    """What all keys of a team share."""

    sensitivity: Name | None = Field(default=None, description="A floor for the team's calls.")
    tags: dict[str, str] = Field(default={}, description="Tags that every call of the team carries.")
    limits: RateTerms | None = Field(default=None, description="How fast all of its keys together may call.")


def _moment(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('a moment is text: write "2027-01-31T00:00:00Z"')
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a moment: write it as 2027-01-31T00:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone: end it in Z or +01:00")
    return moment


class Key(Section):
    """Who may call. Keys can also be made by `headgate keys create` and live in the store."""

    name: Name = Field(description="Shown in receipts; the key itself is nowhere.")
    hash: KeyHash = Field(description="The SHA-256 of the key.")
    team: Name | None = Field(default=None, description="The team it belongs to.")
    user: str | None = Field(default=None, description="The user it belongs to.")
    tags: dict[str, str] = Field(default={}, description="Tags that every call with it carries.")
    sensitivity: Name | None = Field(default=None, description="A floor for its calls.")
    models: list[str] | None = Field(default=None, description="The models it may name; not set: all.")
    routes: list[Name] | None = Field(default=None, description="The routes it may use; not set: all.")
    expires: Annotated[datetime, BeforeValidator(_moment), Unit("moment")] | None = Field(
        default=None, description="From when on it is refused, such as `2027-01-31T00:00:00Z`."
    )
    enabled: bool = Field(default=True, description="`false` refuses it.")
    strict: bool = Field(
        default=False, description="Refuse what a provider cannot express, rather than drop and declare it."
    )
    role: Literal["admin", "owner", "viewer"] | None = Field(
        default=None,
        description="What it may do on the [admin surface](admin.md): all, what is its team's, or look; not set: "
        "nothing.",
    )
    budgets: list[BudgetTerms] = Field(default=[], description="Budgets of this key, beside those of `budgets`.")
    limits: RateTerms | None = Field(default=None, description="How fast it may call, beside `rate_limits`.")


class Cache(Section):
    """Kept answers."""

    at: Literal["temperature_0", "asked", "never"] = Field(
        default="temperature_0",
        description="Which calls: those at temperature 0, those that ask by `cache-control: max-age`, none.",
    )
    ttl: Duration = Field(default=86400.0, gt=0, description="How long an answer is kept.")
    max: Size = Field(default=512 * 2**20, gt=0, description="All answers together; the least used go first.")
    max_entry: Size = Field(default=2**20, gt=0, description="One answer; a larger one is not kept.")
    share: Literal["key", "team", "all"] = Field(default="team", description="Who may be given the same answer.")


class Responses(Section):
    """Answers to Responses that were translated: kept in this process's memory, so that calls go on from them by id."""

    keep: SizeOrZero = Field(
        default=64 * 2**20, description="All of them together; those used longest ago go first. `0` keeps none."
    )
    ttl: Duration = Field(default=3600.0, gt=0, description="How long one is kept after its last use.")
    max_entry: Size = Field(
        default=4 * 2**20,
        gt=0,
        description="One with the conversation it was made of; a larger one, or one over an eighth of `keep`, is not "
        "kept.",
    )


class Limits(Section):
    """How much work is taken on at a time."""

    in_flight: int = Field(default=2000, ge=1, description="Calls in flight.")
    queue: int = Field(default=500, ge=0, description="Calls that wait for one to end; more are shed with 503.")
    queue_wait: Duration = Field(default=20.0, description="How long a call waits at most.")


class Media(Section):
    """Media that callers name by URL, where a provider wants the bytes: what the gateway fetches, and from where."""

    allow_http: bool = Field(default=False, description="Fetch `http://…` as well; else `https://…` alone.")
    max_bytes: Size = Field(default=20 * 2**20, gt=0, description="The largest medium.")
    max_bytes_per_call: Size = Field(default=50 * 2**20, gt=0, description="All media of a call together.")
    max_per_call: int = Field(default=20, ge=1, description="How many a call may name.")
    timeout: Duration = Field(default=10.0, gt=0, description="Until all of a call's media are there.")
    allow_private: list[Network] = Field(
        default=[],
        description="Networks to fetch from although they are private, for stores of one's own; else every address "
        "that is not the public internet's is refused. What tells a machine its own credentials always is.",
    )


class Breakers(Section):
    """When an endpoint rests. Each credential of a deployment has its own breaker."""

    window: Duration = Field(default=30.0, gt=0, description="How far back calls count.")
    minimum_calls: int = Field(
        default=5,
        ge=1,
        description="Calls in the window below which rates decide nothing; so many failures in a row open it too.",
    )
    failure_rate: float = Field(default=0.5, gt=0, le=1, description="Share of failed calls at which it opens.")
    slow_rate: float = Field(default=0.5, gt=0, le=1, description="Share of slow calls at which it opens.")
    rest: Duration = Field(default=5.0, gt=0, description="The first rest; each further one doubles.")
    longest_rest: Duration = Field(default=20.0, gt=0, description="The longest rest.")
    probes: int = Field(default=2, ge=1, description="Answers that close a half-open one.")


class Store(Section):
    """Where receipts, decisions and keys are kept."""

    url: Secret = Field(
        default=Secret(f"{SQLITE}headgate.db", f"{SQLITE}headgate.db"),
        description="`sqlite:///` and the path of a file, relative to the working directory; or "
        "`postgresql://user:password@host:5432/database`, which several gateways can share and which takes "
        "`pip install headgate[postgres]`.",
    )
    journal: str = Field(
        default="journal",
        min_length=1,
        description="A directory of this host: receipts are safe here before they are in the database.",
    )
    journal_max: Size = Field(
        default=256 * 2**20, gt=0, description="What may wait in the journal; beyond it new calls are refused."
    )
    sync: Literal["interval", "always", "off"] = Field(
        default="interval", description="When the journal is forced to disk. A killed process loses nothing either way."
    )
    sync_interval: Duration = Field(default=0.2, gt=0, description="For `interval`: what a power cut may cost.")

    @property
    def path(self) -> Path | None:
        """The database's file, or None where it is a server."""
        url = self.url.reveal()
        return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) and url != SQLITE else None

    @property
    def is_postgres(self) -> bool:
        """Whether a server of PostgreSQL is named."""
        return self.url.reveal().startswith(POSTGRES)


class Shared(Section):
    """What several processes share."""

    url: Secret | None = Field(
        default=None, description="`redis://…` or `rediss://…`: the cache is kept there instead of in process."
    )


class Telemetry(Section):
    """What the gateway tells about itself."""

    prometheus: bool = Field(default=True, description="Serve `/metrics`.")
    otlp: Url | None = Field(
        default=None,
        description="An OTLP/HTTP collector, such as `http://localhost:4318`; takes `pip install headgate[otlp]`.",
    )
    spans: float = Field(
        default=0.01, ge=0, le=1, description="Share of calls traced, where a caller's `traceparent` does not decide."
    )
    bodies: Literal["never"] = Field(default="never", description="Prompts and answers are in no log, span or receipt.")
    logs: Literal["auto", "json", "text"] = Field(default="auto", description="`auto`: text on a terminal, else JSON.")


class Admin(Section):
    """The admin surface and its pages, under `/admin`. No edit over HTTP changes this section."""

    hosts: list[str] = Field(
        default=[],
        description="Names that browsers call it by, such as `gateway.example.com`; on a loopback listener loopback "
        "names need no mention. Not set elsewhere: any.",
    )
    session_idle: Duration = Field(default=3600.0, gt=0, description="How long a session lasts that nobody uses.")
    session_max: Duration = Field(default=43200.0, gt=0, description="How long a session lasts at most.")
    editable: list[Annotated[str, Unit("path")]] = Field(
        default=[],
        description="Paths that the file alone could change otherwise, such as `providers.*.base_url`; `*` is any key.",
    )
    environment: list[Annotated[str, Unit("name of a variable")]] = Field(
        default=[],
        description="Variables that an edit may name as `${NAME}`, beside those that the file uses.",
    )


class Config(Section):
    """A whole config."""

    server: Server = Field(default=Server(), description="The callers' side.")
    auth: Literal["keys", "open"] = Field(
        default="keys", description="`open` asks for no key, and answers on a loopback address only."
    )
    teams: dict[Name, Team] = Field(default={}, description="Teams by name.")
    keys: list[Key] = Field(default=[], description="Who may call.")
    providers: dict[Name, Provider] = Field(default={}, description="Where calls can go, by name.")
    deployments: dict[Name, Deployment] = Field(default={}, description="Models at places, by name.")
    unknown_price: UnknownPrice | None = Field(default=None, description="What an unknown price counts as; never zero.")
    sensitivity: SensitivitySettings = Field(default=SensitivitySettings(), description="How sensitive a call is.")
    policies: Policies = Field(default=Policies(), description="Guarantees, routes and their tests.")
    cache: Cache = Field(default=Cache(), description="Kept answers.")
    responses: Responses = Field(default=Responses(), description="Kept Responses.")
    limits: Limits = Field(default=Limits(), description="How much work is taken on.")
    rate_limits: list[RateLimit] = Field(default=[], description="How fast callers may call.")
    budgets: list[Budget] = Field(default=[], description="How much may be spent.")
    notify: Notify | None = Field(default=None, description="Who is told when a budget runs low.")
    media: Media = Field(default=Media(), description="Media by URL.")
    breakers: Breakers = Field(default=Breakers(), description="When an endpoint rests.")
    store: Store = Field(default=Store(), description="Receipts, decisions and keys.")
    shared: Shared = Field(default=Shared(), description="What several processes share.")
    admin: Admin = Field(default=Admin(), description="The admin surface and its pages.")
    telemetry: Telemetry = Field(default=Telemetry(), description="Metrics, spans and logs.")
