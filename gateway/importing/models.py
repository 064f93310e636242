"""LiteLLM's `model_list` -> deployments, and the groups that share a name.

Source: https://docs.litellm.ai/docs/proxy/configs (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from gateway.config.providers import Kind
from gateway.config.units import write_duration
from gateway.importing.draft import Data, Draft, Entry, name_for
from gateway.importing.given import Given
from gateway.importing.places import Params, Places
from gateway.importing.prefixes import MODES, PREFIXES, Prefix, family_of, split
from gateway.importing.pricing import take_price
from gateway.importing.variables import Variables, is_variable

_RESERVED: Final = ("auto",)
_SHORTEST_S: Final = 0.001
_LONGEST_S: Final = 1e6
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
# Words that LiteLLM puts before a model's name to choose an API; ours follows from the kind and the caller.
_WAYS: Final = ("converse/", "invoke/", "responses/", "o_series/", "o1_series/", "gpt5_series/", "gemini/")

# Settings of a model that are sent with each call, were it there. We add nothing to what callers ask.
_DEFAULTS: Final = (
    "temperature", "max_tokens", "max_completion_tokens", "top_p", "top_k", "n", "stop", "seed", "presence_penalty",
    "frequency_penalty", "response_format", "tools", "tool_choice", "reasoning_effort", "thinking", "extra_body",
    "user", "logit_bias", "metadata",
)  # fmt: skip
_WHY: Final[Mapping[str, str]] = {
    **dict.fromkeys(_DEFAULTS, "Headgate sends what callers ask, and adds no defaults of its own"),
    "cooldown_time": "breakers rest alike for all deployments (`breakers`)",
    "mock_response": "answers are never made up; `kind: simulator` is a provider that answers without a model",
    "max_budget": "budgets of a deployment are not held",
    "budget_duration": "budgets of a deployment are not held",
    "organization": "write one provider for each organization, with `headers: {openai-organization: …}`",
    "use_in_pass_through": "there are no pass-through endpoints",
    "aws_session_name": "sessions are named by the gateway",
}
_INFO_WHY: Final[Mapping[str, str]] = {
    "access_groups": "keys say what they may ask for (`models`, `routes`): until they do, any may ask for this",
    "team_id": "keys say what they may ask for (`models`, `routes`): until they do, any may ask for this",
    "supported_environments": "write one config for each environment: this model is served in all",
}


class House(msgspec.Struct, frozen=True):
    """What the importer must know of this build: its kinds of providers, what they serve, whose prices are known."""

    kinds: Mapping[str, Kind]
    serves: Mapping[str, frozenset[str]]
    is_priced: Callable[[str, str], bool]  # kind, model


class Member(msgspec.Struct, frozen=True):
    """A deployment of a group, and by what LiteLLM chooses among them."""

    deployment: str
    weights: Mapping[str, float] = {}  # weight, rpm, tpm
    order: int | None = None
    retries: int | None = None
    tags: tuple[str, ...] = ()


class Group(msgspec.Struct):
    """All models of one `model_name`; calls are spread over them."""

    name: str
    at: str
    members: list[Member] = msgspec.field(default_factory=list)


class Models:
    """Takes over the list, and models that its patterns stand for where something names them."""

    def __init__(
        self, root: Given, draft: Draft, variables: Variables, house: House, timeouts: dict[str, Data]
    ) -> None:
        self.groups: dict[str, Group] = {}
        self.ids: dict[str, Member] = {}  # by `model_info.id`, which fallbacks may name
        self._draft = draft
        self._variables = variables
        self._house = house
        self._places = Places(draft, variables, timeouts)
        self._credentials = _credentials(root)
        self._patterns: list[tuple[str, Given]] = []  # model_name with *, and its entry

    def take(self, entries: Iterable[Given]) -> None:
        """Takes over every entry; those without a pattern make deployments."""
        for entry in entries:
            name, params = entry.get("model_name"), entry.get("litellm_params")
            model = params.get("model") if params is not None else None
            if name is None or name.text is None or params is None or model is None or model.text is None:
                entry.lost("an entry needs model_name and litellm_params.model")
            elif is_variable(model):
                entry.lost("which provider this is cannot be told without the variable's value")
            elif "*" in model.text:
                self._pattern(entry, name, model)
            else:
                self._add(entry, name.text, model.text)

    def group(self, name: str) -> Group | None:
        """Returns the group of a name, made of a pattern where one stands for it."""
        if name not in self.groups:
            for pattern, entry in self._patterns:
                params = entry.get("litellm_params")
                model = params.get("model") if params is not None else None
                if model is not None and model.text is not None and fnmatchcase(name, pattern):
                    self._add(entry, name, _filled(pattern, name, model.text))
                    break
        return self.groups.get(name)

    def _pattern(self, entry: Given, name: Given, model: Given) -> None:
        provider, rest, _ = split(model.text or "", None)
        prefix = PREFIXES.get(provider)
        told = "deployments name their models: write one for each that you use"
        params = entry.get("litellm_params")
        if prefix is None or params is None:
            entry.lost(f"any model of any provider: {told}")
            return
        name.near("deployments, one for each model that something here names", told)
        model.near("deployments, one for each model that something here names", told)
        made, _ = self._places.take(provider, prefix, Params(params, self._credential(params)), None)
        self._patterns.append((name.text or "", entry))
        self._draft.wildcards.append(
            f"a-model: {{provider: {made}, model: {rest.replace('*', 'a-model')}}}   # {entry.line}"
        )
        self._draft.to_do.append(
            f"{entry.at}: write a deployment of provider {made} for each model that callers ask for"
        )

    def _add(self, entry: Given, name: str, written: str) -> None:
        params = entry.get("litellm_params")
        assert params is not None
        own = params.get("custom_llm_provider")
        provider, model, told = split(written, own.text if own is not None else None)
        prefix = PREFIXES.get(provider)
        if prefix is None:
            entry.lost(f"there is no kind of provider for LiteLLM's {provider or written!r} here")
            return
        model, region, shortened = _bare(model)
        info = entry.get("model_info")
        serves = self._house.serves[prefix.kind]
        mode = info.get("mode") if info is not None else None
        family = MODES.get(mode.text or "") if mode is not None else family_of(model)
        if family is not None and family not in serves:
            entry.lost(f"a provider of kind {prefix.kind!r} does not serve {family} here")
            return
        place_name, place = self._places.take(provider, prefix, Params(params, self._credential(params)), region)
        kind = str(place.body["kind"])
        body: dict[str, Data] = {"provider": place_name}
        body |= self._model(kind, model, params, info)
        if family is not None and family not in ("chat", "completions"):
            body["endpoints"] = [family]
        if mode is not None and family is not None:
            mode.exact(f"endpoints: [{family}]" if "endpoints" in body else f"endpoints, {family} among them")
        body |= self._limits(params, info)
        price = take_price([source for source in (params, info) if source is not None])
        if price is not None:
            body["price"] = price if isinstance(price, str) else dict(price)
        elif prefix.free or place.private:
            body["price"] = "free"
        deployment = self._name(info, model)
        known = str(body.get("base_model") or body["model"])
        if price is None and "price" not in body and not self._house.is_priced(kind, known):
            self._draft.unpriced.append(deployment)
        self._draft.deployments[deployment] = Entry(body, entry.line)
        self._tell_model(entry, name, deployment, kind, prefix, told and not shortened)
        if own is not None:
            own.exact(f"providers.{place_name}.kind: {kind}")
        group = self.groups.setdefault(name, Group(name, entry.line))
        member = _member(deployment, params)
        group.members.append(member)
        id = info.get("id") if info is not None else None
        if id is not None and id.value is not None:
            self.ids[str(id.value)] = member
        for source, reasons in ((params, _WHY), (info, _INFO_WHY)):
            for key, given in source.fields() if source is not None else ():
                if key in reasons:
                    given.lost(reasons[key])

    def _tell_model(self, entry: Given, name: str, deployment: str, kind: str, prefix: Prefix, plain: bool) -> None:
        params, named = entry.get("litellm_params"), entry.get("model_name")
        model = params.get("model") if params is not None else None
        became = f"deployments.{deployment}"
        if model is not None and prefix.note:
            model.near(became, prefix.note)
        elif model is not None and plain:
            model.exact(became)
        elif model is not None:
            model.near(became, f"read as a model of kind {kind}")
        if named is not None:
            named.exact(f"a route for {name!r}, among it {deployment}")

    def _model(self, kind: str, model: str, params: Given, info: Given | None) -> dict[str, Data]:
        body: dict[str, Data] = {"model": model.replace("${", "$${")}
        for source in (info, params):
            base = source.get("base_model") if source is not None else None
            if base is None or base.text is None or is_variable(base):
                continue
            word = split(base.text, None)[1] if "/" in base.text else base.text
            word = word.replace("${", "$${")
            if kind == "azure" and "deployment_name" not in body:
                body = {"model": word, "deployment_name": model.replace("${", "$${")}
                base.exact(f"model: {word}", "the deployment's own name stands in deployment_name")
            else:
                body["base_model"] = word
                base.exact(f"base_model: {word}")
        return body

    def _limits(self, params: Given, info: Given | None) -> dict[str, Data]:
        body: dict[str, Data] = {}
        for key, word in (("max_input_tokens", "context_window"), ("max_output_tokens", "max_output")):
            given = info.get(key) if info is not None else None
            if given is not None and given.whole is not None and given.whole > 0:
                body[word] = given.whole
                if word == "max_output":
                    given.exact(f"max_output: {given.whole}")
                else:
                    given.near(f"context_window: {given.whole}", "prompt and answer together have to fit")
        vision = info.get("supports_vision") if info is not None else None
        if vision is not None and vision.flag is False:
            body["modalities"] = ["text"]
            vision.exact("modalities: [text]")
        elif vision is not None and vision.flag is True:
            vision.exact("as it is", "a deployment is assumed to read images unless its `modalities` say otherwise")
        parallel = params.get("max_parallel_requests")
        if parallel is not None and parallel.whole is not None and parallel.whole > 0:
            body["in_flight"] = parallel.whole
            parallel.near(f"in_flight: {parallel.whole}", "calls beyond it wait for their turn, rather than fail")
        timeouts = take_timeouts(params)
        if timeouts:
            body["timeouts"] = timeouts
        return body

    def _name(self, info: Given | None, model: str) -> str:
        id = info.get("id") if info is not None else None
        hint = str(id.value) if id is not None and id.text is not None and not is_variable(id) else model
        name = name_for(hint.rpartition("/")[2] or hint, self._draft.deployments, _RESERVED)
        if id is not None and id.value is not None:
            if name == id.value:
                id.exact(f"deployments.{name}")
            else:
                id.near(f"deployments.{name}", "named so that it is a name here, and the only one")
        return name

    def _credential(self, params: Given) -> Given | None:
        named = params.get("litellm_credential_name")
        found = self._credentials.get(named.text or "") if named is not None else None
        if named is not None and found is not None:
            named.exact("the credential's values, at the provider")
        return found


def take_timeouts(source: Given) -> dict[str, Data]:
    """Takes over `timeout` and `stream_timeout` (seconds; https://docs.litellm.ai/docs/proxy/timeout, 2026-11)."""
    timeouts: dict[str, Data] = {}
    whole = source.get("timeout") or source.get("request_timeout")
    first = source.get("stream_timeout")
    if whole is not None and whole.number is not None and _SHORTEST_S <= whole.number < _LONGEST_S:
        timeouts = {"answer": write_duration(whole.number), "first_token": write_duration(whole.number)}
        told = "for each attempt: of a stream, until it begins (`timeouts.total` bounds the whole call)"
        whole.near(f"timeouts: {{answer: {timeouts['answer']}, first_token: {timeouts['answer']}}}", told)
    if first is not None and first.number is not None and _SHORTEST_S <= first.number < _LONGEST_S:
        timeouts["first_token"] = write_duration(first.number)
        first.exact(f"timeouts.first_token: {timeouts['first_token']}")
    return timeouts


def _member(deployment: str, params: Given) -> Member:
    def number(key: str) -> float | None:
        given = params.get(key)
        return given.number if given is not None and given.number is not None and given.number >= 0 else None

    weights = {key: value for key in ("weight", "rpm", "tpm") if (value := number(key)) is not None}
    tags = params.get("tags")
    order, retries = number("order"), number("num_retries")
    return Member(
        deployment,
        weights,
        int(order) if order is not None else None,
        int(retries) if retries is not None else None,
        tuple(tag.text for tag in tags.items() if tag.text is not None) if tags is not None else (),
    )


def _bare(model: str) -> tuple[str, str | None, bool]:
    """Takes the words off a model's name that choose an API or a region; returns it, the region, and whether it did."""
    region, bare = None, model
    while True:
        way = next((word for word in _WAYS if bare.startswith(word) and len(bare) > len(word)), None)
        first, slash, rest = bare.partition("/")
        if way is not None:
            bare = bare.removeprefix(way)
        elif slash and rest and _REGION.fullmatch(first):
            region, bare = first, rest
        else:
            return bare, region, bare != model


def _filled(pattern: str, name: str, model: str) -> str:
    """Puts what the stars of a pattern stand for in a name into a model's name."""
    found = re.fullmatch("(.*)".join(map(re.escape, pattern.split("*"))), name, re.DOTALL)
    for part in found.groups() if found is not None else ():
        model = model.replace("*", part, 1)
    return model.replace("*", name)


def _credentials(root: Given) -> dict[str, Given]:
    """Returns `credential_list` by name."""
    found: dict[str, Given] = {}
    listed = root.get("credential_list")
    for each in listed.items() if listed is not None else ():
        name, values = each.get("credential_name"), each.get("credential_values")
        if name is not None and name.text is not None and values is not None:
            found[name.text] = values
            name.exact("the name of values that stand at each provider that uses them")
    return found
