"""Nothing gets lost on the way: whatever a config of LiteLLM's holds, each value is told of once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.cli.import_litellm import check, house
from gateway.importing import import_litellm
from gateway.importing.given import written
from gateway.importing.prefixes import MODES, PREFIXES
from gateway.importing.pricing import PRICES
from gateway.importing.settings import _TOP_WHY, _WHY

_BUILD = house()

_words = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), max_size=12)
_names = st.sampled_from(["gpt-4o", "m", "zephyr-beta", "other", "*", "anthropic/*"]) | _words
_models = st.builds(
    lambda prefix, model: f"{prefix}/{model}" if prefix else model,
    st.sampled_from([*PREFIXES, "sagemaker", "nonsense", ""]),
    st.sampled_from(["gpt-4o", "claude-haiku-4-5", "us-west-2/x", "converse/y", "*", "whisper-1"]) | _words,
)
_scalars = (
    st.none() | st.booleans() | st.integers(-5, 10**9) | st.floats(allow_nan=False, allow_infinity=False) | _words
    | st.sampled_from(["os.environ/SOME_NAME", "none", "http://10.0.0.1:8000/v1", "0.000001", "30", "eu-central-1"])
)  # fmt: skip
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3), max_leaves=5
)
_PARAMS = [
    "api_key", "api_base", "api_version", "rpm", "tpm", "weight", "order", "timeout", "stream_timeout", "num_retries",
    "organization", "extra_headers", "tags", "max_parallel_requests", "drop_params", "temperature", "max_budget",
    "aws_region_name", "aws_access_key_id", "aws_secret_access_key", "aws_profile_name", "aws_role_name", "base_model",
    "vertex_project", "vertex_location", "vertex_credentials", "tenant_id", "client_id", "client_secret",
    "azure_ad_token", "litellm_credential_name", "custom_llm_provider", *PRICES,
]  # fmt: skip
_INFO = [
    "id", "mode", "base_model", "max_input_tokens", "max_output_tokens", "supports_vision", "access_groups", *PRICES,
]  # fmt: skip


def _some(keys: list[str], values: st.SearchStrategy[Any] = _values) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(keys) | _words, values, max_size=6)


_entries = st.builds(
    lambda name, model, params, info, extra: {
        **extra, "model_name": name, "litellm_params": {**params, "model": model}, "model_info": info,
    },
    _names, _models, _some(_PARAMS), _some([*_INFO, *MODES]), _some(["x"]),
)  # fmt: skip
_fallbacks = st.lists(st.dictionaries(_names, st.lists(_names, max_size=3), max_size=2), max_size=2)
_SETTINGS = [
    "num_retries", "routing_strategy", "request_timeout", "timeout", "allowed_fails", "cooldown_time", "cache",
    "cache_params", "callbacks", "enable_pre_call_checks", "enable_tag_filtering", "master_key", "completion_model",
    "global_max_parallel_requests", "max_request_size_mb", "json_logs", "redis_host", "redis_password",
    *(key for keys in _WHY.values() for key in keys),
]  # fmt: skip
_sections = st.builds(
    lambda rest, fallbacks, aliases: {**rest, "fallbacks": fallbacks, "model_group_alias": aliases},
    _some(_SETTINGS), _fallbacks, st.dictionaries(_names, _names | _values, max_size=2),
)  # fmt: skip
_configs = st.builds(
    lambda models, router, library, general, environment, rest: {
        **rest, "model_list": models, "router_settings": router, "litellm_settings": library,
        "general_settings": general, "environment_variables": environment,
    },
    st.lists(_entries, max_size=4), _sections, _sections, _some(_SETTINGS), _some(["OPENAI_API_KEY"], _scalars),
    _some([*_TOP_WHY, "credential_list"]),
)  # fmt: skip


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[str]:
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [leaf for key, each in inner for leaf in _leaves(each, (*path, key))] if inner else [written(path)]


# Without shrinking, which takes minutes here: a failure prints the config as it is.
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(_configs)
def test_every_value_is_told_of_once_and_what_is_made_loads(config: dict[str, Any]) -> None:
    made = import_litellm(json.dumps(config), "litellm.yaml", _BUILD)
    assert sorted(line.key for line in made.report.lines) == sorted(_leaves(config))
    check(made, Path("headgate.yaml"), {})
    assert all((line.became is None) == (line.verdict == "unsupported") for line in made.report.lines)
