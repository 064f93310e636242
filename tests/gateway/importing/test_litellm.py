"""What LiteLLM's settings become: the meaning, value by value."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.cli.import_litellm import check
from gateway.config.models import Config
from gateway.core.errors import ConfigError
from gateway.importing import House, Imported, Line, import_litellm
from gateway.wiring.runtime import dry_compile, read_config
from tests.gateway.importing.conftest import EXAMPLES


def _config(imported: Imported, tmp_path: Path, **environ: str) -> Config:
    path = tmp_path / "headgate.yaml"
    path.write_text(imported.text)
    loaded = read_config(path, {**imported.stand_ins, **environ})
    dry_compile(loaded)
    return loaded.config


def _line(imported: Imported, key: str) -> Line:
    found = [line for line in imported.report.lines if line.key == key]
    assert len(found) == 1, key
    return found[0]


def _of(build: House, params: str, rest: str = "") -> Imported:
    text = f"model_list:\n  - model_name: m\n    litellm_params: {{{params}}}\n{rest}"
    return import_litellm(text, "litellm.yaml", build)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_becomes_a_config_that_loads_and_whose_rules_are_proven(
    path: Path, imported: dict[str, Imported]
) -> None:
    compiled = check(imported[path.stem], Path("headgate.yaml"), {})
    assert compiled.snapshot.deployments
    assert compiled.warnings == ()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_import_is_the_same_byte_for_byte_each_time(path: Path, imported: dict[str, Imported], build: House) -> None:
    again = import_litellm(path.read_text(), path.name, build)
    assert (again.text, again.report) == (imported[path.stem].text, imported[path.stem].report)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_no_secret_of_an_example_is_in_the_config_or_the_report(path: Path, imported: dict[str, Imported]) -> None:
    secrets = [
        "sk-1234", "sk-a-mistral-key-in-clear-0123456789", "hunter2", "top-secret", "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "database-password",
    ]  # fmt: skip
    made = imported[path.stem]
    told = made.text + repr(made.report)
    assert [secret for secret in secrets if secret in told] == []


def test_a_group_draws_by_the_rates_that_it_names_and_falls_back_behind_them(
    imported: dict[str, Imported], tmp_path: Path
) -> None:
    config = _config(imported["load_balancing"], tmp_path)
    zephyr, gpt = config.policies.routes
    assert zephyr.when.model == ["zephyr-beta", "zephyr"]
    assert zephyr.among.names == ("zephyr-7b-beta", "zephyr-7b-beta-2", "my-gpt-4o")
    assert zephyr.among.weights == (60.0, 600.0, 0.0)
    assert zephyr.on_failure.attempts == 4  # router_settings: two retries, and the fallback
    assert (gpt.when.model, gpt.pick) == (["gpt-4o", "gpt-4"], "in_order")
    assert config.deployments["my-gpt-4o"].timeouts.answer == 20.0
    assert config.deployments["my-gpt-4o"].timeouts.first_token == 5.5
    assert config.providers["openai-zephyr-one"].timeouts.answer == 30.0  # router_settings hold over litellm_settings
    assert (config.breakers.minimum_calls, config.breakers.rest) == (4, 30.0)
    assert _line(imported["load_balancing"], "router_settings.model_group_alias.gpt-4").verdict == "exact"
    lost = _line(imported["load_balancing"], "litellm_settings.context_window_fallbacks[0].zephyr-beta[0]")
    assert (lost.verdict, lost.became, lost.at) == ("unsupported", None, "load_balancing.yaml:30:47")


def test_prices_per_token_become_exact_prices_per_million(imported: dict[str, Imported], tmp_path: Path) -> None:
    deployments = _config(imported["ordered"], tmp_path).deployments
    second, first = deployments["second"].price, deployments["first"].price
    assert second is not None
    assert first is not None
    assert (second.input, second.output) == (Decimal("0.25"), Decimal("2.00"))
    assert (first.input, first.output, first.cached_input) == (Decimal("0.15"), Decimal("0.60"), Decimal("0.075"))
    assert 'price: {input: "421.00", output: "0.00"}' in imported["ordered"].text
    assert _line(imported["ordered"], "model_list[2].model_info.input_cost_per_token").verdict == "exact"
    assert _line(imported["ordered"], "model_list[1].litellm_params.input_cost_per_second").verdict == "unsupported"


def test_a_price_below_the_nano_dollar_says_that_it_was_rounded(build: House) -> None:
    made = _of(build, "model: gpt-4o, input_cost_per_token: 0.0000000000000001, output_cost_per_token: 0.000001")
    assert _line(made, "model_list[0].litellm_params.input_cost_per_token").verdict == "approximate"
    assert _line(made, "model_list[0].litellm_params.output_cost_per_token").verdict == "exact"
    assert 'price: {input: "0.00", output: "1.00"}' in made.text


def test_order_tags_and_merged_keys_are_heeded(imported: dict[str, Imported], tmp_path: Path) -> None:
    config = _config(imported["ordered"], tmp_path)
    routes = {route.name: route for route in config.policies.routes}
    assert routes["ordered"].among.names == ("first", "second")
    assert (routes["drawn"].pick, routes["drawn"].among.weights) == ("weighted", (9.0, 1.0))
    assert routes["tiered-free"].when.tag == {"route": ["free"]}
    assert routes["tiered-free"].among.names == ("free-model",)
    assert routes["tiered"].among.names == ("paid-model",)  # the default tag's
    assert config.providers["openai-first"].api_key is not None  # by way of the merge key
    assert _line(imported["ordered"], "model_list[0].litellm_params.api_key").at == "ordered.yaml:4:12"
    assert list(config.teams) == ["team-1"]


def test_a_name_that_a_pattern_stands_for_gets_a_deployment(imported: dict[str, Imported], tmp_path: Path) -> None:
    config = _config(imported["fallbacks"], tmp_path)
    haiku = config.deployments["claude-haiku-4-5"]
    assert (haiku.provider, haiku.model) == ("anthropic", "claude-haiku-4-5")
    small, large, _ = config.policies.routes
    assert small.among.names == ("mistral-small-latest", "claude-haiku-4-5", "llama-3.3-70b-versatile")
    assert large.among.names == ("llama-3.3-70b-versatile", "mistral-small-latest")  # default_fallbacks
    assert _line(imported["fallbacks"], "model_list[0].model_name").verdict == "approximate"


def test_clouds_keep_their_identities_and_their_addresses(imported: dict[str, Imported], tmp_path: Path) -> None:
    config = _config(imported["clouds"], tmp_path)
    providers = config.providers
    assert (providers["vertex_ai"].project, providers["vertex_ai"].region) == ("adroit-crow-1234", "europe-west4")
    assert providers["bedrock"].secret_access_key is not None
    assert providers["bedrock"].secret_access_key.source == "${AWS_SECRET_ACCESS_KEY}"
    azure = config.deployments["prod-mini"]
    assert (azure.model, azure.deployment_name, azure.context_window) == ("gpt-4o-mini", "prod-mini", 100000)
    assert providers["azure"].api_version == "2024-10-21"  # of the credential that it names
    assert providers["azure-acme"].client_id == "7f0d"
    assert config.deployments["llama3.2"].in_flight == 4
    assert config.deployments["eu.anthropic.claude-sonnet-4-5-20250929-v1:0"].provider == "bedrock"
    assert "sagemaker" in _line(imported["clouds"], "model_list[8].litellm_params.model").why


def test_a_cache_a_default_model_and_headers_come_along(imported: dict[str, Imported], tmp_path: Path) -> None:
    made = imported["caching"]
    config = _config(made, tmp_path)
    assert (config.cache.at, config.cache.ttl) == ("temperature_0", 600.0)
    assert config.policies.routes[-1].name == "default"
    assert config.policies.routes[-1].when.model is None
    assert config.deployments["whisper-1"].endpoints == ["transcriptions"]
    assert config.deployments["text-embedding-3-small"].endpoints == ["embeddings"]
    headers = config.providers["openai-chat"].headers
    assert headers["ai-resource-group"].reveal() == "blue"
    assert headers["x-api-token"].source == "${OPENAI_CHAT_X_API_TOKEN}"
    assert config.telemetry.logs == "json"
    assert config.server.max_body == 8 * 2**20
    told = next(each for each in made.report.variables if each.name == "OPENAI_CHAT_X_API_TOKEN")
    assert told.instruction == "put the value of caching.yaml:12 there; it was not copied"


@pytest.mark.parametrize(
    ("params", "kind", "address"),
    [
        ("model: gpt-4o", "openai", None),
        ('model: openai/x, api_base: "http://10.0.0.5:8000/v1"', "openai_compatible", "http://10.0.0.5:8000/v1"),
        (
            'model: anthropic/claude-haiku-4-5, api_base: "https://proxy.example"',
            "anthropic",
            "https://proxy.example/v1",
        ),
        ("model: claude-haiku-4-5", "anthropic", None),
        ("model: deepseek/deepseek-chat", "deepseek", None),
        ("model: together_ai/meta/llama", "together", None),
        ("model: fireworks_ai/x", "fireworks", None),
        ("model: xai/grok-4", "xai", None),
        ("model: cohere_chat/command-r", "cohere", None),
        ("model: perplexity/sonar", "perplexity", None),
        ('model: ollama/llama3, api_base: "http://gpu:11434"', "ollama_native", "http://gpu:11434"),
        ("model: hosted_vllm/qwen, api_base: os.environ/POOL", "vllm", "https://unset.invalid"),
        ("model: deepinfra/x", "openai_compatible", "https://api.deepinfra.com/v1/openai"),
        ("model: mistral-small, custom_llm_provider: mistral", "mistral", None),
    ],
)
def test_each_prefix_becomes_its_kind(
    params: str, kind: str, address: str | None, build: House, tmp_path: Path
) -> None:
    config = _config(_of(build, params), tmp_path)
    (provider,) = config.providers.values()
    assert (provider.kind, provider.base_url) == (kind, address)


@pytest.mark.parametrize(
    ("strategy", "pick"),
    [
        ("simple-shuffle", "weighted"),
        ("least-busy", "least_loaded"),
        ("latency-based-routing", "fastest"),
        ("cost-based-routing", "cheapest"),
    ],
)
def test_each_strategy_becomes_its_pick(strategy: str, pick: str, build: House, tmp_path: Path) -> None:
    entry = "  - {model_name: m, litellm_params: {model: gpt-4o-mini}}\n"
    made = _of(build, "model: gpt-4o", f"{entry}router_settings: {{routing_strategy: {strategy}}}")
    assert _config(made, tmp_path).policies.routes[0].pick == pick


def test_a_master_key_asks_for_keys_and_none_leaves_the_door_open_to_this_machine(build: House, tmp_path: Path) -> None:
    closed = _of(build, "model: gpt-4o", "general_settings: {master_key: sk-very-secret}")
    assert _config(closed, tmp_path).auth == "keys"
    assert "sk-very-secret" not in closed.text + repr(closed.report)
    assert any("HEADGATE_ADMIN_KEY" in each for each in closed.report.to_do)
    opened = _config(_of(build, "model: gpt-4o"), tmp_path)
    assert (opened.auth, opened.server.listen) == ("open", "127.0.0.1:4000")


def test_redis_becomes_one_url_without_its_password(build: House, tmp_path: Path) -> None:
    made = _of(
        build,
        "model: gpt-4o",
        "litellm_settings:\n  cache: true\n"
        "  cache_params: {type: redis, host: cache.internal, port: 6380, password: hush}",
    )
    shared = _config(made, tmp_path, REDIS_PASSWORD="hush").shared.url
    assert shared is not None
    assert shared.source == "redis://:${REDIS_PASSWORD}@cache.internal:6380"
    assert "hush" not in made.text + repr(made.report)


def test_a_model_that_a_kind_does_not_serve_is_left_out_with_all_that_is_said_of_it(build: House) -> None:
    made = _of(build, "model: groq/some-painter", "    model_info: {mode: image_generation, id: painter}")
    assert [line.verdict for line in made.report.lines] == ["unsupported"] * 4
    assert made.report.to_do[-1] == "no model could be taken over: the config serves nothing yet"


def test_names_with_a_dollar_in_them_are_names(build: House, tmp_path: Path) -> None:
    text = 'model_list: [{model_name: "a${B}", litellm_params: {model: "openai/c${D}"}}]'
    config = _config(import_litellm(text, "litellm.yaml", build), tmp_path)
    assert config.policies.routes[0].when.model == ["a${B}"]
    assert [each.model for each in config.deployments.values()] == ["c${D}"]


def test_nothing_that_a_config_says_gets_out_of_a_comment(build: House, tmp_path: Path) -> None:
    text = r"""model_list:
  - model_name: "x/*"
    litellm_params: {model: "openai/a\nauth: open # *"}
  - {model_name: m, litellm_params: {model: gpt-4o, "odd\nauth: open": 1}}
general_settings: {master_key: os.environ/KEY}
"""
    made = import_litellm(text, "lite\nllm.yaml", build)
    assert _config(made, tmp_path).auth == "keys"


def test_what_is_no_yaml_is_refused_with_its_place(build: House) -> None:
    with pytest.raises(ConfigError) as refused:
        import_litellm("model_list:\n  - model_name: *\n", "litellm.yaml", build)
    assert refused.value.problems[0].startswith("litellm.yaml:2:18:")


def test_the_command_writes_config_and_report_and_keeps_what_is_there(tmp_path: Path) -> None:
    source = EXAMPLES[0].parent / "clouds.yaml"
    made, report = tmp_path / "headgate.yaml", tmp_path / "report.json"
    ran = CliRunner().invoke(main, ["import", "litellm", str(source), "-o", str(made), "--report", str(report)])
    assert ran.exit_code == 0, ran.output
    assert "ok: 8 deployments load, and their rules are proven" in ran.stdout
    told = json.loads(report.read_text())
    assert {line["verdict"] for line in told["exact"]} == {"exact"}
    assert told["source"] == str(source)
    before = made.read_text()
    again = CliRunner().invoke(main, ["import", "litellm", str(source), "-o", str(made)])
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    assert made.read_text() == before
