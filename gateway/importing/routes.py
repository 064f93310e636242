"""LiteLLM's groups, aliases, fallbacks and strategies -> routes.

Sources: https://docs.litellm.ai/docs/routing, https://docs.litellm.ai/docs/proxy/reliability,
https://docs.litellm.ai/docs/proxy/tag_routing and LiteLLM's own `simple_shuffle.py` (2026-11).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from gateway.importing.draft import Data, Draft, Entry, name_for
from gateway.importing.given import Given
from gateway.importing.models import Group, Member, Models

_STRATEGIES: Final = {
    "simple-shuffle": "weighted",
    "least-busy": "least_loaded",
    "usage-based-routing": "least_loaded",
    "usage-based-routing-v2": "least_loaded",
    "latency-based-routing": "fastest",
    "cost-based-routing": "cheapest",
}
_STRATEGY_WHY: Final = {
    "least_loaded": "of two that are drawn, the one with fewer calls in flight",
    "fastest": "by the time that a call is predicted to take, measured over five minutes",
    "cheapest": "by the cost that a call is expected to have",
}
_TAG: Final = "route"  # the tag of keys and teams that stands for LiteLLM's tags
_DEFAULT_TAG: Final = "default"
_ATTEMPTS: Final = 3  # of a route that says nothing
_MOST_ATTEMPTS: Final = 10
_SECTIONS: Final = ("router_settings", "litellm_settings")  # the first holds, says LiteLLM


class Spread(msgspec.Struct, frozen=True):
    """How a route chooses: its deployments, with weights where it draws by them."""

    among: list[Data] | dict[str, Data]
    pick: str


class Routes:
    """Makes a route of each group: the group's deployments first, then those of its fallbacks."""

    def __init__(self, root: Given, models: Models, draft: Draft) -> None:
        self._root = root
        self._models = models
        self._draft = draft
        self._retries = self._take_retries()
        self._checks = _flag(root, "enable_pre_call_checks")
        self._tags = _flag(root, "enable_tag_filtering")
        self._names: set[str] = set()
        self._aliases: dict[str, str] = {}  # to the group's name

    def take(self) -> None:
        """Takes over all that says where calls go."""
        self._take_aliases()
        fallbacks = self._take_fallbacks()
        pick = self._take_strategy()
        patterned: list[Entry] = []
        for group in list(self._models.groups.values()):
            asked = [group.name, *(alias for alias, target in self._aliases.items() if target == group.name)]
            for entry in self._of(group, asked, fallbacks.get(group.name, fallbacks.get("*", [])), pick):
                (patterned if "*" in group.name else self._draft.routes).append(entry)
        # The nearest pattern holds, as LiteLLM sorts them; here the first that matches.
        self._draft.routes += sorted(patterned, key=_looseness)
        self._take_default()

    # -- one group -------------------------------------------------------------------------------------------------

    def _of(self, group: Group, asked: list[str], fallbacks: Sequence[Member], pick: str) -> Iterator[Entry]:
        tagged = {tag: None for member in group.members for tag in member.tags if tag != _DEFAULT_TAG}
        if self._tags and tagged:
            for tag in tagged:
                members = [member for member in group.members if tag in member.tags]
                when: dict[str, Data] = {"model": _plain(asked), "tag": {_TAG: _plain([tag])}}
                yield self._route(f"{group.name}-{tag}", when, members, fallbacks, pick, group.at)
            default = [member for member in group.members if _DEFAULT_TAG in member.tags]
            members = default or [member for member in group.members if not member.tags] or group.members
        else:
            members = group.members
        yield self._route(group.name, {"model": _plain(asked)}, members, fallbacks, pick, group.at)

    def _route(
        self,
        name: str,
        when: dict[str, Data],
        members: Sequence[Member],
        fallbacks: Sequence[Member],
        pick: str,
        remark: str,
    ) -> Entry:
        named = name_for(name, self._names)
        self._names.add(named)
        own = {member.deployment for member in members}
        behind = list(dict.fromkeys(each.deployment for each in fallbacks if each.deployment not in own))
        spread = self._spread(members, behind, pick)
        body: dict[str, Data] = {"name": named}
        if when:
            body["when"] = when
        body |= {"among": spread.among, "pick": spread.pick}
        attempts = self._attempts(members, len(behind))
        if attempts != _ATTEMPTS:
            body["on_failure"] = {"attempts": attempts}
        return Entry(body, remark)

    def _spread(self, members: Sequence[Member], behind: Sequence[str], pick: str) -> Spread:
        if len(members) == 1:
            return Spread([members[0].deployment, *behind], "in_order")
        orders = [member.order for member in members]
        if self._checks and any(order is not None for order in orders):
            last = max(order for order in orders if order is not None) + 1
            tiers = sorted(members, key=lambda member: last if member.order is None else member.order)
            first = [member for member in tiers if member.order == tiers[0].order]
            if len(first) == 1:
                return Spread([*(member.deployment for member in tiers), *behind], "in_order")
            rest = [member.deployment for member in tiers[len(first) :]]
            return self._drawn(first, [*rest, *behind])
        if pick == "weighted" or behind:
            return self._drawn(members, behind)
        return Spread([member.deployment for member in members], pick)

    @staticmethod
    def _drawn(members: Sequence[Member], behind: Sequence[str]) -> Spread:
        """Draws among members by weight; those behind have none, so that they are asked after failures alone."""
        key = next((key for key in ("weight", "rpm", "tpm") if key in members[0].weights), None)
        weights = [member.weights.get(key, 0.0) if key is not None else 1.0 for member in members]
        if not sum(weights):
            weights = [1.0] * len(members)
        drawn: dict[str, Data] = {
            member.deployment: int(weight) if weight.is_integer() else weight
            for member, weight in zip(members, weights, strict=True)
        }
        return Spread(drawn | dict.fromkeys(behind, 0), "weighted")

    def _attempts(self, members: Sequence[Member], behind: int) -> int:
        own = [member.retries for member in members if member.retries is not None]
        retries = max(own) if own else self._retries
        if retries is None:
            return min(max(_ATTEMPTS, len(members) + behind), _MOST_ATTEMPTS)
        return min(retries + 1 + behind, _MOST_ATTEMPTS)

    # -- settings --------------------------------------------------------------------------------------------------

    def _take_retries(self) -> int | None:
        retries: int | None = None
        for section in _SECTIONS:
            for key in ("num_retries", "max_retries"):
                given = _at(self._root, section, key)
                if given is None or given.whole is None or given.whole < 0:
                    continue
                if retries is None:
                    retries = given.whole
                given.near(
                    "policies.routes[].on_failure.attempts",
                    "tries in all, the first and those of fallbacks among them, at most 10; another deployment is "
                    "asked rather than the same one again",
                )
        return retries

    def _take_strategy(self) -> str:
        pick = "weighted"
        for section in reversed(_SECTIONS):
            given = _at(self._root, section, "routing_strategy")
            if given is None or given.text not in _STRATEGIES:
                continue
            pick = _STRATEGIES[given.text or ""]
            if pick == "weighted":
                given.exact("pick: weighted", "in_order where there is one deployment to choose from")
            else:
                told = f"{_STRATEGY_WHY[pick]}; where there are fallbacks, drawn alike among the group's own"
                given.near(f"pick: {pick}", told)
        self._tell_members(pick)
        return pick

    def _tell_members(self, pick: str) -> None:
        """Says of every model's weights, limits and order what they have become."""
        listed = self._root.get("model_list")
        for entry in listed.items() if listed is not None else ():
            params = entry.get("litellm_params")
            for key, given in params.fields() if params is not None else ():
                if key == "weight" and given.number is not None and pick == "weighted":
                    given.exact("a weight in the route's among")
                elif key in ("rpm", "tpm") and given.number is not None and pick == "weighted":
                    given.near(
                        "a weight in the route's among", "calls are spread by it; nothing holds a deployment to it"
                    )
                elif key == "order" and given.number is not None and self._checks:
                    given.exact("the order of the route's among")
                elif key == "order":
                    given.lost("LiteLLM itself heeds it with enable_pre_call_checks alone")
                elif key in ("weight", "rpm", "tpm"):
                    given.lost("not held to, and not looked at by this strategy")
                elif key == "num_retries" and given.whole is not None:
                    given.near("on_failure.attempts of the route", "the most of any deployment in the group")
                elif key == "tags" and self._tags:
                    told = f"of keys and teams with the tag `{_TAG}`: callers cannot name tags in a request"
                    given.near(f"routes with when.tag.{_TAG}", told)
                elif key == "tags":
                    given.lost("receipts have the tags of keys and teams")

    def _take_aliases(self) -> None:
        aliases = self._aliases
        given = _at(self._root, "router_settings", "model_group_alias")
        for alias, target in given.fields() if given is not None else ():
            named = target if target.text is not None else target.get("model")
            group = self._group(named.text) if named is not None and named.text is not None else None
            if named is None or group is None:
                target.lost("there is no such model here")
            elif alias in self._models.groups or alias in aliases:
                target.lost("a model of this name is there already")
            else:
                aliases[alias] = group.name
                named.exact(f"when.model of route {group.name!r}: {alias!r} beside it")
                hidden = target.get("hidden")
                if hidden is not None and hidden.flag is False:
                    hidden.exact("as it is", "it is listed")
                elif hidden is not None:
                    hidden.lost("/v1/models lists every name that a route has")

    def _take_fallbacks(self) -> dict[str, list[Member]]:
        """Returns the deployments behind each group, in order; those of `*` are for groups without any of their own."""
        behind: dict[str, list[Member]] = {}
        taken: set[tuple[str, str]] = set()
        for kind in ("fallbacks", "context_window_fallbacks"):
            for section in _SECTIONS:
                for name, targets in _pairs(_at(self._root, section, kind)):
                    if name != "*" and self._group(name) is None:
                        targets.lost("there is no such model here")
                    elif (kind, name) in taken:
                        targets.lost("another line says it of this model already, and holds")
                    else:
                        self._take_targets(kind, targets, behind.setdefault(name, []))
                        taken.add((kind, name))
        for section in _SECTIONS:
            given = _at(self._root, section, "default_fallbacks")
            if given is not None and "*" not in behind:
                self._take_targets("fallbacks", given, behind.setdefault("*", []))
        return behind

    def _take_targets(self, kind: str, targets: Given, behind: list[Member]) -> None:
        for target in targets.items():
            members = self._named(target.text) if target.text is not None else []
            if not members:
                target.lost("there is no such model here")
                continue
            behind += members
            became = f"{', '.join(member.deployment for member in members)}, behind the route's own"
            if kind == "fallbacks":
                target.exact(became, "asked in this order after failures")
            else:
                target.near(became, "asked after any failure, and at once where the prompt fits into no other's window")

    def _group(self, name: str) -> Group | None:
        return self._models.group(self._aliases.get(name, name))

    def _named(self, name: str) -> list[Member]:
        group = self._group(name)
        if group is not None:
            return group.members
        return [self._models.ids[name]] if name in self._models.ids else []

    def _take_default(self) -> None:
        """Makes the route of calls that name no model."""
        given = _at(self._root, "general_settings", "completion_model")
        if given is None or given.text is None:
            return
        members = self._named(given.text)
        if not members:
            given.lost("there is no such model here")
            return
        self._draft.routes.append(self._route("default", {}, members, [], "weighted", given.line))
        given.near("the route `default`", "for calls that name no model, or `auto`; a model that is named is asked for")


def _looseness(entry: Entry) -> int:
    """Returns how little a route's pattern says, for sorting."""
    when = entry.body["when"]
    assert isinstance(when, dict)
    models = when["model"]
    assert isinstance(models, list)
    tagged = "tag" in when
    return -2 * len(str(models[0]).replace("*", "")) - tagged


def _plain(words: Sequence[str]) -> list[Data]:
    """Returns words that come from no variable, whatever is in them."""
    return [word.replace("${", "$${") for word in words]


def _at(root: Given, section: str, key: str) -> Given | None:
    found = root.get(section)
    return found.get(key) if found is not None else None


def _flag(root: Given, key: str) -> bool:
    given = _at(root, "router_settings", key)
    return given is not None and given.flag is True


def _pairs(given: Given | None) -> Iterator[tuple[str, Given]]:
    """Yields each model and its list out of `[{model: [other, …]}, …]`."""
    for each in given.items() if given is not None else ():
        yield from each.fields()
