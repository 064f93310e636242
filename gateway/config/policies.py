"""Sensitivity and policies, as written: levels, guarantees, routes and tests. Every vocabulary here is closed."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from gateway.config.providers import Endpoint, Retention
from gateway.config.section import Section
from gateway.config.units import Duration, HeaderName, Name, Unit, Usd, several

Names = Annotated[list[Name], BeforeValidator(several), Unit("names")]
Words = Annotated[list[str], BeforeValidator(several), Unit("words")]
Pick = Literal["cheapest", "fastest", "least_loaded", "weighted", "in_order", "balanced"]
Dialect = Literal[
    "chat",
    "completions",
    "embeddings",
    "responses",
    "messages",
    "moderations",
    "images",
    "image_edits",
    "image_variations",
    "speech",
    "transcriptions",
    "translations",
    "rerank",
]
# The codes with which choosing ends before any upstream is asked.
ErrorCode = Literal[
    "no_permitted_deployment",
    "model_not_found",
    "model_not_allowed",
    "requirement_unmet",
    "context_length_exceeded",
]
# The reasons after which another try is allowed at all; the others are never tried again, whatever a route says.
Retried = Literal[
    "connect",
    "timeout",
    "rate_limited",
    "overloaded",
    "queue_full",
    "server_error",
    "out_of_credit",
    "unauthenticated",
    "not_found",
    "context_too_long",
    "stream_cut",
    "aborted",
]


class Source(Section):
    """One way to learn how sensitive a call is: exactly one of header, key, detector, terms."""

    header: HeaderName | None = Field(default=None, description="A request header that names a level.")
    key: Literal["sensitivity"] | None = Field(
        default=None, description="`sensitivity`: the floor of the caller's key and team."
    )
    detector: str | None = Field(default=None, description="A detector; a failing or late one counts as a hit.")
    terms: Words | None = Field(default=None, min_length=1, description="Whole words or phrases, in any case.")
    level: Name | None = Field(default=None, description="The level that a hit of the detector or of a term raises to.")


class SensitivitySettings(Section):
    """How sensitive a call is, and which location may see how much."""

    levels: list[Name] = Field(
        default=["public", "internal", "confidential", "restricted"], min_length=1, description="Low to high."
    )
    default: Name | None = Field(
        default=None, description="The level of a call that nothing raises. Default: the lowest."
    )
    media: Name | None = Field(
        default=None,
        description="The level of images, audio, files and whatever detectors cannot read. Default: `default`.",
    )
    clearance: dict[Name, Name] = Field(
        default={},
        description="Location to the highest level it may see; a location that is not named may see the lowest.",
    )
    sources: list[Source] = Field(
        default=[], alias="from", description="What raises a call's level; the highest wins, and nothing lowers it."
    )


class MaxPrice(Section):
    """A ceiling in dollars per million tokens."""

    input: Usd | None = Field(default=None, description="Of input tokens.")
    output: Usd | None = Field(default=None, description="Of output tokens.")


class When(Section):
    """Which calls a rule is for: all that is named must match; of a list, one."""

    model: Words | None = Field(default=None, description="Names a caller asks for; `*` matches any run of characters.")
    endpoint: Annotated[list[Endpoint], BeforeValidator(several)] | None = Field(
        default=None, description="Endpoint families."
    )
    dialect: Annotated[list[Dialect], BeforeValidator(several)] | None = Field(
        default=None, description="Callers' wires."
    )
    stream: bool | None = Field(default=None, description="Whether the answer is streamed.")
    team: Names | None = Field(default=None, description="Teams.")
    key: Names | None = Field(default=None, description="Names of keys.")
    user: Words | None = Field(default=None, description="Users, as keys or calls name them.")
    tag: dict[str, Words] | None = Field(default=None, description="Tag to the values that match.")
    sensitivity: Name | None = Field(default=None, description="This level or a higher one.")
    prompt_tokens_over: int | None = Field(default=None, ge=0, description="More tokens than this, by estimate.")
    prompt_tokens_under: int | None = Field(default=None, ge=1, description="Fewer tokens than this, by estimate.")


class GuaranteeRequire(Section):
    """What every deployment must have that such a call goes to."""

    location: Names | None = Field(default=None, description="One of these locations.")
    retention: Annotated[list[Retention], BeforeValidator(several)] | None = Field(
        default=None, description="One of these retentions."
    )
    provider: Names | None = Field(default=None, description="One of these providers.")
    deployment: Names | None = Field(default=None, description="One of these deployments.")
    max_price: MaxPrice | None = Field(default=None, description="A price known to be at most this.")


class Guarantee(Section):
    """What must never be broken. All that match apply together; nothing below relaxes them."""

    name: Name = Field(description="Shown wherever it removes a deployment.")
    when: When = Field(default=When(), description="Which calls; without it, all.")
    require: GuaranteeRequire = Field(description="What a deployment must have.")


class RouteRequire(Section):
    """What a deployment should meet to be picked; `if_none` says what follows where nobody does."""

    max_ttft_p95: Duration | None = Field(default=None, description="Time to first token, 95th percentile.")
    max_tpot_p95: Duration | None = Field(default=None, description="Time per output token, 95th percentile.")
    max_price: MaxPrice | None = Field(default=None, description="A price known to be at most this.")
    window: Duration = Field(default=300.0, description="How far back measurements count.")
    min_samples: int = Field(
        default=30, ge=1, description="Below so many measurements a deployment is unproven: ranked after."
    )


class Balance(Section):
    """The weights of `pick: balanced`; only their ratio counts."""

    cost: float = Field(default=0.5, ge=0, description="Of the expected cost.")
    latency: float = Field(default=0.5, ge=0, description="Of the predicted time.")


class OnFailure(Section):
    """How far a call goes when attempts fail."""

    attempts: int = Field(default=3, ge=1, le=10, description="Tries in all, the first included.")
    errors: list[Retried] | None = Field(
        default=None, description="Only after these; not set: after all that allow another try."
    )
    first_token: Duration | None = Field(
        default=None, description="Until the first content of one attempt, before all other deadlines."
    )
    deadline: Duration | None = Field(
        default=None,
        description="For the whole call, all attempts and a stream's end included; at most the deployment's `total`.",
    )
    patience: Duration = Field(
        default=0.0, description="How long to wait out a provider's Retry-After rather than go on."
    )


class Among(NamedTuple):
    """A route's deployments in their order (None: all), with weights where it gives them."""

    names: tuple[str, ...] | None
    weights: tuple[float, ...] | None = None


def _among(value: object) -> Among:
    if value == "all":
        return Among(None)
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return Among(tuple(value))
    if isinstance(value, dict) and value:
        weights = list(value.values())
        if any(isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0 for weight in weights):
            raise ValueError("a weight is a number that is not negative")
        if sum(weights) == 0:
            raise ValueError("one weight must be above 0")
        return Among(tuple(value), tuple(float(weight) for weight in weights))
    raise ValueError("write `all`, a list of deployments, or a map of deployment: weight")


class Route(Section):
    """What would be best among what the guarantees leave. The first route that matches a call serves it."""

    name: Name = Field(description="Shown in decisions, receipts and metrics.")
    when: When = Field(default=When(), description="Which calls; without it, all: such a route serves `model: auto`.")
    among: Annotated[Among, BeforeValidator(_among), Unit("`all`, names, or name: weight")] = Field(
        description="The deployments to choose from, in the order that breaks ties."
    )
    require: RouteRequire = Field(default=RouteRequire(), description="What a deployment should meet.")
    pick: Pick = Field(default="in_order", description="How to rank them.")
    balance: Balance = Field(default=Balance(), description="The weights of `pick: balanced`.")
    if_none: Pick | Literal["reject"] | None = Field(
        default=None, description="Where nobody meets `require`: rank all of them so, or `reject`. Default: as `pick`."
    )
    on_failure: OnFailure = Field(default=OnFailure(), description="What follows a failed attempt.")


class Given(Section):
    """The call and the world of a test; what is not stated is: everything enabled, up and unmeasured."""

    model: str | None = Field(default=None, description="The model asked for.")
    endpoint: Endpoint = Field(default="chat", description="The endpoint family.")
    dialect: Dialect | None = Field(default=None, description="The caller's wire. Default: the endpoint's own.")
    stream: bool = Field(default=False, description="Whether the answer is streamed.")
    team: Name | None = Field(default=None, description="The caller's team.")
    key: Name | None = Field(default=None, description="The caller's key.")
    user: str | None = Field(default=None, description="The caller's user.")
    tag: dict[str, str] = Field(default={}, description="The call's tags.")
    sensitivity: Name | None = Field(default=None, description="A level the call is labelled with.")
    prompt_tokens_over: int | None = Field(default=None, ge=0, description="The prompt has just more tokens.")
    prompt_tokens_under: int | None = Field(default=None, ge=1, description="The prompt has just fewer tokens.")
    text: str | None = Field(default=None, description="The prompt; detectors read it.")
    down: Names = Field(default=[], description="Deployments that are down.")
    ttft_p95: dict[Name, Duration] = Field(default={}, description="Deployment to its measured time to first token.")
    tpot_p95: dict[Name, Duration] = Field(default={}, description="Deployment to its measured time per output token.")
    load: dict[Name, float] = Field(default={}, description="Deployment to its load, 0 to 1.")


class Expect(Section):
    """What must come of it; all that is named must hold."""

    first: Name | None = Field(default=None, description="The deployment tried first.")
    only: Names | None = Field(default=None, description="No candidate but these, and at least one of them.")
    never: Names | None = Field(default=None, description="None of these is a candidate.")
    error: ErrorCode | None = Field(default=None, description="The error's code, where nothing can be tried.")
    sensitivity: Name | None = Field(default=None, description="The level found.")


class PolicyTest(Section):
    """One test, run at every load; a failing one refuses the config."""

    given: Given = Field(description="The call and the world.")
    expect: Expect = Field(description="What must come of it.")


class Policies(Section):
    """What must never happen, what would be best, and the tests of both."""

    guarantees: list[Guarantee] = Field(
        default=[], description="Rules that nothing relaxes; `clearance` is built in, before them."
    )
    routes: list[Route] = Field(default=[], description="The first that matches serves the call.")
    tests: list[PolicyTest] = Field(default=[], description="Checked at every load; a failing one refuses the config.")


class UnknownPrice(Section):
    """What a deployment is charged at whose price nobody knows. Without it, such a deployment is refused."""

    input: Usd = Field(description="Dollars per million input tokens.")
    output: Usd = Field(description="Dollars per million output tokens.")

    @property
    def written(self) -> dict[str, str]:
        """Both prices, in words and decimal text."""
        return {"input": str(self.input), "output": str(self.output)}
