"""Providers and deployments, as written: where calls can go, with which credential, and what stands there."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from pydantic import BeforeValidator, Field

from gateway.config.clouds import CloudSettings
from gateway.config.health import Health
from gateway.config.launched import LaunchedPool
from gateway.config.own_gpus import OwnGpus
from gateway.config.secret import Secret
from gateway.config.section import Section
from gateway.config.units import Duration, HeaderName, Name, Unit, Url, Usd
from gateway.core import types

Retention = Literal["none", "zdr", "30d", "unknown"]
Endpoint = Literal["chat", "completions", "embeddings", "moderations", "images", "speech", "transcriptions", "rerank"]
Modality = Literal["text", "image", "audio", "file"]
Routing = Literal["prefix", "least_loaded", "two_choices", "round_robin"]
Capability = Literal["tools", "json_schema", "logprobs", "n"]

OWN_KINDS: Final = ("vllm", "simulator")  # what runs on one's own machines, unless the config says otherwise


class Kind(msgspec.Struct, frozen=True):
    """What the loader must know of a provider's kind; the adapters know the rest.

    `needs_base_url`: there is no default server; `needs_region`: the default one's address has a region in it.
    `needs_key`: without a credential its provider is disabled.
    `settings` are those of `CloudSettings` that it takes.
    """

    needs_key: bool = True
    needs_base_url: bool = False
    needs_region: bool = False
    settings: frozenset[str] = frozenset()


class Timeouts(Section):
    """Deadlines; what is not set here comes from the provider, then from the defaults."""

    connect: Duration | None = Field(default=None, description="For the TCP connection. Default 2s.")
    tls: Duration | None = Field(default=None, description="For the TLS handshake. Default 3s.")
    first_token: Duration | None = Field(
        default=None, description="Until the first content of an answer that is streamed. Default 60s."
    )
    answer: Duration | None = Field(
        default=None, description="Until one that is not streamed is there, for each attempt. Default: as `total`."
    )
    idle: Duration | None = Field(
        default=None, description="Between two pieces of content; keep-alive comments are none. Default 30s."
    )
    total: Duration | None = Field(default=None, description="For the whole call. Default 600s (10m).")

    def onto(self, base: types.Timeouts) -> types.Timeouts:
        """Returns `base` with what is set here in its place."""
        return types.Timeouts(
            connect_s=base.connect_s if self.connect is None else self.connect,
            tls_s=base.tls_s if self.tls is None else self.tls,
            first_token_s=base.first_token_s if self.first_token is None else self.first_token,
            answer_s=base.answer_s if self.answer is None else self.answer,
            idle_s=base.idle_s if self.idle is None else self.idle,
            total_s=base.total_s if self.total is None else self.total,
        )


class Provider(OwnGpus, CloudSettings):
    """A place that calls can go to, and the credentials for it."""

    kind: str = Field(
        description="Which wire it speaks: openai, anthropic, vllm, groq, …, openai_compatible, simulator."
    )
    base_url: Url | None = Field(default=None, description="Its server, path prefix included. Most kinds know theirs.")
    endpoints: list[Url] = Field(
        default=[], description="For `vllm`: several replicas of one model, instead of `base_url`."
    )
    exact_usage: bool = Field(
        default=False,
        description="For `vllm`: have each chunk of a stream tell what has been used so far, so that one that is "
        "left or cut is booked to the token, not by its size. It costs the server some work for each token.",
    )
    discover: Literal["dns"] | None = Field(
        default=None,
        description="For `vllm`: `dns` takes the hosts of `endpoints` for names, and each of a name's addresses for a "
        "replica, asked again every 5 s.",
    )
    health: Health = Field(default=Health(), description="For `vllm`: how its replicas are watched.")
    pool: LaunchedPool | None = Field(
        default=None, description="For `vllm`: replicas that are launched here, instead of `base_url` or `endpoints`."
    )
    routing: Routing | None = Field(
        default=None,
        description="For `vllm`: which replica a call goes to. `two_choices` (the default) and `least_loaded`: by "
        "calls in flight; `prefix`: by its cache and its load; `round_robin`: in turn.",
    )
    data_parallel_ranks: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="For `vllm` that balances data-parallel ranks itself: how many stand behind each address. Each has "
        "a cache of its own, and calls are pinned to one.",
    )
    prefix_cache: Literal["tenant", "shared"] = Field(
        default="tenant",
        description="For `vllm`: whether teams (or keys without one) share cached prefixes. With `tenant` nobody can "
        "tell by the time that an answer takes what another has asked.",
    )
    api_key: Secret | None = Field(
        default=None, description="`${NAME}`, `{file: path}`, or a literal. Without a value the provider is disabled."
    )
    api_keys: list[Secret] = Field(
        default=[], description="Several credentials instead of `api_key`; calls spread over them."
    )
    headers: dict[HeaderName, Secret] = Field(default={}, description="Headers sent with every call; shown to nobody.")
    timeouts: Timeouts = Field(default=Timeouts(), description="Deadlines for its calls.")
    location: Name | None = Field(
        default=None,
        description="Where it stands: eu, us, … Default: self_hosted for `vllm` and `simulator`, else unknown.",
    )
    retention: Retention | None = Field(
        default=None, description="What it keeps of a call. Default none for `vllm` and `simulator`, else unknown."
    )
    clearance: Name | None = Field(default=None, description="The highest level it may see; else its location's.")
    transport: Literal["http1", "http2", "httpx"] = Field(
        default="http1",
        description="`http2` offers HTTP/2; a server that does not take it is spoken to over HTTP/1.1. `httpx` is that "
        "library's own way of both.",
    )
    proxy: Secret | None = Field(
        default=None, description="The outbound proxy, `http://user:password@host:port`; the environment's is not used."
    )
    ca_file: str | None = Field(
        default=None, min_length=1, description="A PEM file of authorities to trust instead of the system's."
    )
    cert_file: str | None = Field(
        default=None, min_length=1, description="A PEM file with our own certificate, for servers that ask for one."
    )
    key_file: str | None = Field(
        default=None, min_length=1, description="A PEM file with its key, in clear; not needed if `cert_file` has it."
    )

    @property
    def tls_files(self) -> tuple[str | None, str | None, str | None]:
        """`ca_file`, `cert_file` and `key_file`."""
        return self.ca_file, self.cert_file, self.key_file

    @property
    def place(self) -> str:
        """The location, with the kind's default."""
        return self.location or ("self_hosted" if self.kind in OWN_KINDS else "unknown")

    @property
    def keeps(self) -> str:
        """The retention, with the kind's default."""
        return self.retention or ("none" if self.kind in OWN_KINDS else "unknown")

    @property
    def api_credentials(self) -> list[Secret]:
        """The keys that are present."""
        given = self.api_keys if self.api_key is None else [self.api_key, *self.api_keys]
        return [secret for secret in given if secret.present]

    def no_key(self, kind: Kind) -> str | None:
        """Says why the provider is disabled for lack of a credential, or None."""
        for secret in self.cloud_settings.values():
            if isinstance(secret, Secret) and not secret.present:
                return f"no key: {secret.source} has no value"
        given = self.api_keys if self.api_key is None else [self.api_key, *self.api_keys]
        if self.api_credentials or (not given and not kind.needs_key):
            return None
        return f"no key: {given[0].source} has no value" if given else "no key"


class Price(Section):
    """Dollars per million tokens, bucket by bucket; a bucket that is not set costs what it is a kind of."""

    input: Usd = Field(description="Input tokens.")
    cached_input: Usd | None = Field(
        default=None, description="Input tokens read from the provider's cache; else as `input`."
    )
    cache_write_5m: Usd | None = Field(
        default=None, description="Input tokens written to a 5-minute cache; else as `input`."
    )
    cache_write_1h: Usd | None = Field(
        default=None, description="Input tokens written to a 1-hour cache; else as the 5-minute one."
    )
    audio_input: Usd | None = Field(default=None, description="Audio in; else as `input`.")
    image_input: Usd | None = Field(default=None, description="Images in; else as `input`.")
    output: Usd = Field(description="Output tokens.")
    reasoning: Usd | None = Field(default=None, description="Reasoning tokens; else as `output`.")
    audio_output: Usd | None = Field(default=None, description="Audio out; else as `output`.")
    per_request: Usd | None = Field(default=None, description="Dollars per answered call, beside the tokens.")

    @property
    def written(self) -> dict[str, str]:
        """The price in words and decimal text, without what is not set."""
        return {word: str(amount) for word, amount in self if amount is not None}


def _price(value: object) -> object:
    if value == "free":
        return {"input": "0", "output": "0"}
    if isinstance(value, str):
        raise ValueError(f"{value!r} is not a price: write {{input: …, output: …}} or the word free")
    return value


PriceOrFree = Annotated[Price, BeforeValidator(_price), Unit("price, or `free`")]


class Deployment(Section):
    """A model at a place: the facts that policies use."""

    provider: Name = Field(description="The provider it stands at.")
    model: str = Field(description="The model's name as the provider knows it.")
    deployment_name: str | None = Field(
        default=None, description="`azure`: the name it is deployed under, where that is not the model's."
    )
    base_model: str | None = Field(
        default=None, description="The model behind a name that hides it (an inference profile's, an endpoint's)."
    )
    price: PriceOrFree | None = Field(
        default=None, description="Dollars per million tokens, or the word `free`; else from the catalogue."
    )
    context_window: int | None = Field(
        default=None, gt=0, description="Tokens that fit, prompt and answer; else the catalogue's."
    )
    max_output: int | None = Field(default=None, gt=0, description="Tokens that one answer can have.")
    default_temperature: float | None = Field(
        default=None, ge=0, description="The temperature it uses where a call gives none; 0 makes such calls cacheable."
    )
    modalities: list[Modality] | None = Field(
        default=None, description="What it reads; not set: everything is assumed."
    )
    endpoints: list[Endpoint] = Field(
        default=["chat", "completions", "embeddings"],
        description="Which families of endpoints it serves. What is not listed is never sent there: a route of chat "
        "models gets no audio.",
    )
    capabilities: list[Capability] | None = Field(
        default=None, description="What it can do beside; not set: all of it is assumed."
    )
    timeouts: Timeouts = Field(default=Timeouts(), description="Deadlines, before those of its provider.")
    clearance: Name | None = Field(default=None, description="The highest level it may see; else its provider's.")
    in_flight: int | None = Field(default=None, ge=1, description="Calls in flight at once; further ones wait.")

    @property
    def can(self) -> frozenset[str] | None:
        """What a call may need of it, in the words of `Call.needs`; None where nothing is stated."""
        if self.modalities is None and self.capabilities is None:
            return None
        able: set[str] = set(_CAPABILITIES if self.capabilities is None else self.capabilities)
        for modality, need in _NEEDS.items():
            if self.modalities is None or modality in self.modalities:
                able.add(need)
        return frozenset(able)


_CAPABILITIES: Final = ("tools", "json_schema", "logprobs", "n")
_NEEDS: Final = {"image": "vision", "audio": "audio", "file": "file"}
