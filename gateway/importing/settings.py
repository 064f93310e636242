"""The rest of LiteLLM's settings: its cache, its limits, its keys, what it logs; and why so many have no counterpart.

Sources: https://docs.litellm.ai/docs/proxy/config_settings, https://docs.litellm.ai/docs/proxy/caching,
https://docs.litellm.ai/docs/proxy/users (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.config.units import write_duration
from gateway.importing.draft import Data, Draft, name_for
from gateway.importing.given import Given
from gateway.importing.models import take_timeouts
from gateway.importing.variables import Variables, is_variable

_PORT: Final = 4000  # LiteLLM's own, so that callers need not change theirs
_CALLBACKS: Final = ("callbacks", "success_callback", "failure_callback", "service_callbacks")
_BREAKERS: Final = ("window", "minimum_calls", "rest", "longest_rest")
_REDIS: Final = ("redis", "redis-semantic")

_BUDGETS: Final = "write it as `budgets`, with its amounts as text and the calendar's periods"
_NO_GUARDRAILS: Final = "see `sensitivity.from`: what detectors of personal data find decides where a call may go"
_WHY: Final[Mapping[str, Mapping[str, str]]] = {
    "litellm_settings": {
        "max_budget": _BUDGETS,
        "budget_duration": _BUDGETS,
        "max_end_user_budget": _BUDGETS,
        "max_internal_user_budget": _BUDGETS,
        "content_policy_fallbacks": "what a provider refuses for its content is not tried elsewhere",
        "set_verbose": "logs tell what changes; no prompt is in any of them",
        "guardrails": _NO_GUARDRAILS,
        "modify_params": "what a provider cannot express is dropped and declared, or refused where the key is `strict`",
        "ssl_verify": "certificates are always verified; `ca_file` names one's own authority, for each provider",
    },
    "router_settings": {
        "content_policy_fallbacks": "what a provider refuses for its content is not tried elsewhere",
        "provider_budget_config": _BUDGETS,
        "disable_cooldowns": "breakers cannot be switched off; they can be forced closed (`/admin/breakers`)",
        "retry_policy": "`on_failure.errors` says after which failures a route goes on, not how often",
        "allowed_fails_policy": "a breaker learns from the kinds of failures that are the provider's",
        "retry_after": "waits double with each try, and a provider's Retry-After is heeded (`on_failure.patience`)",
        "routing_strategy_args": "a strategy is set by `require` and `balance` of a route",
        "optional_pre_call_checks": "the context window is checked before every call",
        "max_fallbacks": "`on_failure.attempts` bounds all tries together",
        "tag_filtering_match_any": "a route's `when.tag` matches any of its values",
    },
    "general_settings": {
        "database_url": "LiteLLM's tables are its own: receipts and keys begin anew in `store.url`",
        "custom_auth": "there is no code of one's own in the way of a call: make keys (`headgate keys`)",
        "enable_jwt_auth": "callers bring keys: make them (`headgate keys`)",
        "allowed_ips": "who may connect is the network's matter: until it is, every address may",
        "alerting": "metrics are for alerts (docs/metrics.md)",
        "store_model_in_db": "models stand in the config alone: write those of LiteLLM's database into it",
        "background_health_checks": "breakers learn from the calls themselves",
        "pass_through_endpoints": "there are no pass-through endpoints",
    },
}
_TOP_WHY: Final = {
    "guardrails": _NO_GUARDRAILS,
    "include": "files that LiteLLM merges are not read: import them one by one, or merge them before",
    "callback_settings": "there are no callbacks",
    "mcp_servers": "tools are the caller's: MCP servers are not served",
}


class Settings:
    """Takes over what is not a model and not a route."""

    def __init__(self, root: Given, draft: Draft, variables: Variables) -> None:
        self._root = root
        self._draft = draft
        self._variables = variables

    def take(self) -> None:
        """Takes over all of it."""
        self._access()
        self._cache()
        self._breakers()
        self._limits()
        self._telemetry()
        self._drops()
        self._teams()

    def explain(self) -> None:
        """Says why what is left has no counterpart; last, so that it says so of nothing else."""
        for section, reasons in _WHY.items():
            for key, why in reasons.items():
                given = self._at(section, key)
                if given is not None:
                    given.lost(why)
        for key, why in _TOP_WHY.items():
            given = self._root.get(key)
            if given is not None:
                given.lost(why)
        self._environment()

    # --------------------------------------------------------------------------------------------------------------

    def _at(self, section: str, key: str) -> Given | None:
        found = self._root.get(section)
        return found.get(key) if found is not None else None

    def _access(self) -> None:
        draft, master = self._draft, self._at("general_settings", "master_key")
        draft.listen = f"127.0.0.1:{_PORT}"
        if master is None or master.value is None:
            draft.auth, draft.auth_remark = (
                "open",
                "LiteLLM asked nobody for a key; so does this, on this machine alone",
            )
            draft.to_do.append(
                "for callers elsewhere: `auth: keys`, `headgate keys create NAME`, and another server.listen"
            )
            return
        draft.auth_remark = master.line
        become = "auth: keys, and the variable HEADGATE_ADMIN_KEY"
        master.near(become, "it opens /admin alone: callers need keys of their own, and its value was not copied")
        draft.to_do += [
            f"set HEADGATE_ADMIN_KEY to a key of your own; that of {master.at} was not copied",
            "make a key for each caller: `headgate keys create NAME` (keys in LiteLLM's database cannot be read out)",
            f"for callers elsewhere than on this machine: server.listen, such as 0.0.0.0:{_PORT}",
        ]

    def _cache(self) -> None:
        draft = self._draft
        switch, params = self._at("litellm_settings", "cache"), self._at("litellm_settings", "cache_params")
        if switch is None or switch.flag is not True:
            draft.cache, draft.cache_remark = {"at": "never"}, "LiteLLM kept no answers"
            if switch is not None and switch.flag is False:
                switch.exact("cache.at: never")
            if params is not None:
                params.lost("LiteLLM itself keeps no answers unless `cache` is true")
            return
        mode, ttl, kind = (params.get(key) if params is not None else None for key in ("mode", "ttl", "type"))
        asked = mode is not None and mode.text == "default_off"
        draft.cache = {"at": "asked" if asked else "temperature_0"}
        draft.cache_remark = switch.line
        told = "of calls at temperature 0 alone, and shared within a team (`cache.share`)"
        switch.near(f"cache.at: {draft.cache['at']}", "shared within a team (`cache.share`)" if asked else told)
        if mode is not None and mode.text in ("default_off", "default_on"):
            became = f"cache.at: {draft.cache['at']}"
            mode.near(became, "callers ask by the header `cache-control: max-age`" if asked else told)
        if ttl is not None and ttl.number is not None and 0.001 <= ttl.number < 1e9:
            draft.cache["ttl"] = write_duration(ttl.number)
            ttl.exact(f"cache.ttl: {draft.cache['ttl']}")
        if kind is not None and kind.text == "local":
            kind.exact("as it is", "answers are kept in the process unless `shared.url` is set")
        elif kind is not None and kind.text in _REDIS:
            told = "" if kind.text == "redis" else "the same question is the same, a similar one is not"
            kind.near("shared.url", told or "the cache alone is kept there")
        elif kind is not None:
            kind.near("the cache in the process", "there is one in the process, and one in Redis")
        if kind is None or kind.text in _REDIS:
            self._redis(params)

    def _redis(self, params: Given | None) -> None:
        """Joins where Redis is into one URL."""
        router = self._root.get("router_settings")
        for source, prefix in ((params, ""), (router, "redis_")):
            if source is None:
                continue
            url = source.get("redis_url") or source.get("url")
            if url is not None and url.text is not None:
                self._draft.shared = {"url": self._variables.secret(url, "REDIS_URL", needed=True)}
                self._variables.stand_ins[str(self._draft.shared["url"])[2:-1]] = "redis://unset.invalid"
                url.near(f"shared.url: {self._draft.shared['url']}", "the cache alone is kept there")
                return
            host = source.get(f"{prefix}host")
            if host is None or host.text is None:
                continue
            port, password, secure = (source.get(f"{prefix}{key}") for key in ("port", "password", "ssl"))
            scheme = "rediss" if secure is not None and secure.flag else "redis"
            url_text = f"{scheme}://"
            if password is not None and password.value is not None:
                written = self._variables.secret(password, "REDIS_PASSWORD", needed=True)
                url_text += f":{written}@"
                password.near(f"shared.url, by way of {written}", "encoded as a URL wants it, if it has marks")
            url_text += self._variables.plain(host)
            host.near("shared.url", "the cache alone is kept there")
            if port is not None and port.value is not None:
                url_text += f":{self._variables.plain(port, '6379')}"
                port.exact("shared.url")
            if secure is not None and secure.flag is not None:
                secure.exact(f"shared.url: {scheme}://…")
            self._draft.shared = {"url": url_text}
            return

    def _breakers(self) -> None:
        breakers: dict[str, Data] = {}
        for section in ("router_settings", "litellm_settings"):
            fails, rest = self._at(section, "allowed_fails"), self._at(section, "cooldown_time")
            if fails is not None and fails.whole is not None and 0 <= fails.whole < 10**6:
                if "window" not in breakers:
                    breakers |= {"window": "1m", "minimum_calls": fails.whole + 1}
                told = "so many failures in a row open a breaker; in a window of so many calls, half of them"
                fails.near(f"breakers.minimum_calls: {breakers['minimum_calls']}", told)
            if rest is not None and rest.number is not None and 0.001 <= rest.number < 1e6:
                if "rest" not in breakers:
                    breakers |= {"rest": write_duration(rest.number), "longest_rest": write_duration(4 * rest.number)}
                rest.near(
                    f"breakers.rest: {breakers['rest']}", "each further rest is twice as long, up to longest_rest"
                )
        self._draft.breakers = {key: breakers[key] for key in sorted(breakers, key=_BREAKERS.index)}

    def _limits(self) -> None:
        whole = self._at("general_settings", "global_max_parallel_requests")
        if whole is not None and whole.whole is not None and whole.whole > 0:
            self._draft.limits["in_flight"] = whole.whole
            whole.near(
                f"limits.in_flight: {whole.whole}", "calls beyond it wait (`limits.queue`) rather than fail at once"
            )
        each = self._at("router_settings", "default_max_parallel_requests")
        if each is None or each.whole is None:
            each = self._at("general_settings", "max_parallel_requests")
        if each is not None and each.whole is not None and each.whole > 0:
            for entry in self._draft.deployments.values():
                entry.body.setdefault("in_flight", each.whole)
            each.near(f"deployments.*.in_flight: {each.whole}", "calls beyond it wait for their turn, rather than fail")
        size = self._at("general_settings", "max_request_size_mb")
        if size is not None and size.whole is not None and 0 < size.whole < 10**6:
            self._draft.max_body = f"{size.whole}MiB"
            size.exact(f"server.max_body: {size.whole}MiB")
        checks = self._at("router_settings", "enable_pre_call_checks")
        if checks is not None and checks.flag is not None:
            checks.near("as it is", "prompts are held against context windows before every call")
        tags = self._at("router_settings", "enable_tag_filtering")
        if tags is not None and tags.flag is not None:
            tags.near("routes with when.tag", "tags are those of keys and teams")

    def _telemetry(self) -> None:
        for key in _CALLBACKS:
            given = self._at("litellm_settings", key)
            for each in given.items() if given is not None and any(given.items()) else [given] if given else ():
                if each.text == "prometheus":
                    each.near("telemetry.prometheus, which is on", "metrics have other names (docs/metrics.md)")
                elif each.text is not None and each.text.startswith(("otel", "opentelemetry")):
                    each.lost("write `telemetry.otlp` with your collector's address")
                else:
                    each.lost("there are no callbacks: receipts, metrics and OpenTelemetry tell what happened")
        logs = self._at("litellm_settings", "json_logs")
        if logs is not None and logs.flag is not None:
            if logs.flag:
                self._draft.telemetry["logs"] = "json"
                logs.exact("telemetry.logs: json")
            else:
                logs.exact("as it is", "text on a terminal, else JSON")
        for section, key, kept in (
            ("litellm_settings", "turn_off_message_logging", True),
            ("general_settings", "store_prompts_in_spend_logs", False),
        ):
            given = self._at(section, key)
            if given is not None and given.flag is kept:
                given.exact("telemetry.bodies: never", "prompts and answers are in no log, span or receipt")
            elif given is not None and given.flag is not None:
                given.lost("prompts and answers are in no log, span or receipt")

    def _drops(self) -> None:
        listed = self._root.get("model_list")
        entries = list(listed.items()) if listed is not None else []
        places = [self._root.get("litellm_settings"), *(entry.get("litellm_params") for entry in entries)]
        for place in places:
            given = place.get("drop_params") if place is not None else None
            if given is not None and given.flag is True:
                given.exact("as it is", "what a provider cannot express is dropped, and declared in a header")
            elif given is not None and given.flag is False:
                given.lost("what a provider cannot express is dropped and declared; keys can be `strict`")

    def _teams(self) -> None:
        given = self._at("litellm_settings", "default_team_settings")
        for each in given.items() if given is not None else ():
            id = each.get("team_id")
            if id is None or id.text is None or is_variable(id):
                continue
            name = name_for(id.text, self._draft.teams)
            self._draft.teams[name] = {}
            id.near(f"teams.{name}", "its keys are made anew; there are no callbacks of a team")

    def _environment(self) -> None:
        """Says of `environment_variables` which of them the made config reads."""
        given = self._root.get("environment_variables")
        for name, value in given.fields() if given is not None else ():
            if name in self._variables.read:
                told = f"set {name} where the gateway starts: a config sets no variables, and no value was copied"
                value.near(f"${{{name}}}", told)
            else:
                value.lost("nothing in the made config reads it")


def timeouts_of(root: Given) -> dict[str, Data]:
    """Takes over the time that every call has."""
    timeouts: dict[str, Data] = {}
    for section in ("litellm_settings", "router_settings"):
        given = root.get(section)
        if given is not None:
            timeouts |= take_timeouts(given)
    return timeouts
