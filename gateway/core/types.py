"""The values that flow down the straight line; each stage makes a new one, none is changed after.

`msgspec.Struct(frozen=True)` rather than frozen dataclasses: making one costs 0.2 us instead of 2.5 us, and a call
makes six (measured on CPython 3.11, twelve fields).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from gateway.core.errors import Reason
from gateway.core.forms import Form
from gateway.core.keeping import Keeping
from gateway.core.money import Price
from gateway.core.own import OwnPrice, Standing

Headers = tuple[tuple[bytes, bytes], ...]  # names in lower case
Tags = tuple[tuple[str, str], ...]  # sorted by key

RETENTIONS: Final = ("none", "zdr", "30d", "unknown")

# Headers that callers label calls by, whatever a config says: `Call.labels` holds these and those that a config names.
LABEL_PREFIXES: Final = (b"x-data-", b"x-headgate-")


class Reference(msgspec.Struct, frozen=True, gc=False):
    """An id that stands for content which is kept, and the field that names it.

    `required`: it can only be one that was made through here; of another nothing is known, and it counts as media.
    `ours`: of an answer that was translated, which no provider keeps, and the gateway for a while.
    """

    id: str
    field: str
    required: bool = True
    ours: bool = False


class Call(msgspec.Struct, frozen=True, gc=False):
    """What a caller asked, as far as routing needs it; `body` is the request as it came.

    `endpoint` is the family ("chat", "completions", "embeddings"), `dialect` the caller's wire. `needs` are the
    capabilities the answer takes ("tools", "vision", "audio", "json_schema", "logprobs", "n", "file").
    `expected_input_tokens` comes from the body's size. `cache_control` and `timeout_s` are the caller's headers.
    `references` name content that is kept.
    `forwarded` are those headers that a provider of the caller's own wire is to see. Of a call that is `counting`
    only the tokens of its prompt are asked for: there is no answer, and nothing is paid.
    Of a `form` the body is what its fields say. The answer to a call that is `opaque` may be any: sound, subtitles.
    """

    id: str
    endpoint: str
    dialect: str
    body: bytes
    model: str | None = None
    stream: bool = False
    temperature: float | None = None
    max_tokens: int | None = None
    n: int = 1
    user: str | None = None
    include_usage: bool = False
    needs: frozenset[str] = frozenset()
    has_media: bool = False
    labels: tuple[tuple[str, str], ...] = ()  # headers that sensitivity or tags may be read from
    cache_control: str | None = None
    timeout_s: float | None = None
    strict: bool = False
    repeatable: bool = True  # False where the provider would do more than answer: search, or keep the conversation
    received_at: int = 0  # seconds since the epoch
    references: tuple[Reference, ...] = ()
    kept: bool = False  # whoever answers may keep the answer, and the caller name it by its id
    keeping: Keeping | None = None  # of an answer that is translated, or goes on from one
    forwarded: Headers = ()
    counting: bool = False
    form: Form | None = None
    opaque: bool = False
    tenant: str = ""  # whose it is (team, or key), where it may go to a pool that keeps tenants apart


class Principal(msgspec.Struct, frozen=True):
    """Who calls. `sensitivity` is a floor (a level's index). `models` of None allows every model."""

    key: str
    team: str | None = None
    user: str | None = None
    tags: Tags = ()
    sensitivity: int = 0
    models: frozenset[str] | None = None
    routes: frozenset[str] | None = None
    expires_at: float | None = None  # seconds since the epoch
    enabled: bool = True
    strict: bool = False


class Sensitivity(msgspec.Struct, frozen=True, gc=False):
    """How sensitive a call is: the index of its level (0 is lowest) and what raised it there."""

    level: int
    causes: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True, gc=False):
    """All that choosing may look at. Token counts are estimates (bytes per token, learned per model)."""

    call: Call
    principal: Principal
    sensitivity: Sensitivity
    input_tokens: int = 0
    output_tokens: int = 256
    tags: Tags = ()  # the principal's and the call's own


class Origin(msgspec.Struct, frozen=True):
    """Where sockets go: compiled from config, and the only place a deployment's bytes may be sent."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


class Timeouts(msgspec.Struct, frozen=True):
    """Deadlines in seconds; `answer_s` is for one attempt that is not streamed, `idle_s` between pieces of content."""

    connect_s: float = 2.0
    tls_s: float = 3.0
    first_token_s: float = 60.0
    answer_s: float = math.inf
    idle_s: float = 30.0
    total_s: float = 600.0


class Endpoint(msgspec.Struct, frozen=True):
    """One credential (or replica) of a deployment: what an attempt is aimed at, and what a breaker guards.

    `auth` is the header that carries our credential; it never appears in a log, an error or a repr.
    """

    id: str  # "gpt-mini#0"
    deployment: str
    provider: str
    origin: Origin
    auth: Headers = ()
    credential: str = ""  # a name for it: several deployments share one; never the secret itself
    transport: str = "http1"
    server: str = ""  # what retries are counted by: the provider, or each server of a pool
    signer: str = ""  # which of the process's signers adds to each request what `auth` cannot say beforehand

    def __repr__(self) -> str:
        return f"Endpoint({self.id} at {self.origin})"


class Pooled(msgspec.Struct, frozen=True):
    """How the replicas of a pool are chosen; what tenants' salts are made with, or None where they share prefixes."""

    routing: str
    salt_key: bytes | None = None

    def salt(self, tenant: str) -> str:
        """Returns what keeps a tenant's prefixes apart in the replicas' caches: the same in every gateway."""
        if self.salt_key is None:
            return ""
        return blake2b(tenant.encode(), key=self.salt_key, digest_size=16).hexdigest()


class Deployment(msgspec.Struct, frozen=True):
    """A model at a place: the facts that policies, adapters and accounting use, with nothing left to look up.

    `serves` are endpoint families; `capabilities` what `Call.needs` is held against (None: everything is assumed).
    `clearance` is the highest level (index) it may see. `price` of None is unknown, which is never zero.
    `disabled` says why it is never chosen ("no key"), or is None. `counts`: its provider counts a prompt's tokens for
    whoever asks (`Call.counting`). `options` are facts for its adapter alone
    ("deployment_name", "api_version", "base_model", "exact_usage", "project", "region"). `pooled` is of one's own
    replicas alone, and so is `own`, where their GPUs are paid by the hour: `price` is then the full one.
    """

    name: str
    provider: str
    kind: str
    model: str
    adapter: str
    base_path: bytes
    endpoints: tuple[Endpoint, ...]
    location: str = "unknown"
    retention: str = "unknown"
    clearance: int = 0
    price: Price | None = None
    context_window: int | None = None
    max_output: int | None = None
    default_temperature: float | None = None
    capabilities: frozenset[str] | None = None
    serves: frozenset[str] = frozenset({"chat", "completions", "embeddings"})
    headers: Headers = ()
    timeouts: Timeouts = Timeouts()
    disabled: str | None = None
    options: Mapping[str, str] = {}
    counts: bool = False
    pooled: Pooled | None = None
    own: OwnPrice | None = None


class Removal(msgspec.Struct, frozen=True, gc=False):
    """A deployment that was not used, the rule that removed it, and why, in words."""

    deployment: str
    rule: str
    why: str


class FailurePolicy(msgspec.Struct, frozen=True):
    """A route's `on_failure`: how far the attempt loop may go. Times in seconds."""

    attempts: int = 3
    errors: frozenset[Reason] | None = None  # None: all that docs/failures.md allows; a set can only narrow
    first_token_s: float | None = None
    deadline_s: float | None = None
    patience_s: float = 0.0


class Plan(msgspec.Struct, frozen=True):
    """Where a call may go, and in which order it will be tried.

    `permitted` is what the guarantees leave: every attempt must be in it. `candidates` are best first. `scores` are
    what the pick compared, in the order of `candidates`. `note` is a word for the decision ("nobody met 800ms").
    `own` are the prices of those candidates that stand on one's own GPUs, as they were at that moment.
    """

    route: str
    pick: str
    permitted: frozenset[str]
    candidates: tuple[Deployment, ...]
    removed: tuple[Removal, ...] = ()
    scores: tuple[float, ...] = ()
    note: str = ""
    on_failure: FailurePolicy = FailurePolicy()
    own: tuple[Standing, ...] = ()


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One try: which endpoint of which deployment, after which wait (seconds)."""

    number: int
    deployment: Deployment
    endpoint: Endpoint
    wait_s: float = 0.0
    first_token_s: float = 60.0


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How an attempt ended. `reason` of None is an answer. `now` is monotonic seconds; `draw` is in [0, 1).

    `content_left`: a content byte has gone to the caller, so nothing may be tried again.
    `sent`: bytes of the request may have reached the provider; False only where the connection never stood.
    `spent`: the request's body was passed on as it came, and is not there to be sent again.
    """

    now: float
    draw: float
    reason: Reason | None = None
    retry_after_s: float | None = None
    content_left: bool = False
    slow: bool = False
    stale_connection: bool = False
    named_by_caller: bool = False
    should_retry: bool | None = None
    sent: bool = True
    spent: bool = False
