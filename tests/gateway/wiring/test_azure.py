"""A config's Azure providers: which settings make an identity, where calls go, and what is refused with its field."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.wiring.kinds import WIRES
from gateway.wiring.places import Signers
from gateway.wiring.runtime import dry_compile, read_config

RESOURCE = "kind: azure, endpoint: 'https://r.openai.azure.com'"
APPLICATION = "tenant_id: t, client_id: c, client_secret: '${SECRET}'"


def written(folder: Path, provider: str, environ: dict[str, str] | None = None, deployment: str = ""):
    path = folder / "config.yaml"
    path.write_text(
        f"auth: open\nproviders:\n  p: {{{provider}}}\n"
        f"deployments: {{d: {{provider: p, model: gpt-4o, price: free{deployment}}}}}\n"
    )
    return read_config(path, environ or {})


def problems(folder: Path, provider: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        dry_compile(written(folder, provider, environ))
    return str(caught.value)


def place(folder: Path, provider: str, environ: dict[str, str] | None = None, deployment: str = ""):
    (found,) = dry_compile(written(folder, provider, environ, deployment)).snapshot.deployments
    return found


def test_a_key_makes_no_identity_and_goes_with_each_call(tmp_path: Path) -> None:
    found = place(tmp_path, f"{RESOURCE}, api_key: k, api_version: '2024-10-21'", deployment=", deployment_name: prod")
    (endpoint,) = found.endpoints
    assert (endpoint.auth, endpoint.signer) == (((b"api-key", b"k"),), "")
    assert str(endpoint.origin) == "https://r.openai.azure.com:443"
    assert found.options == {"api_version": "2024-10-21", "deployment_name": "prod"}
    assert found.disabled is None


@pytest.mark.parametrize("identity", ["", f", {APPLICATION}", ", client_id: c", ", tenant_id: t, client_id: c"])
def test_without_a_key_an_identity_signs(tmp_path: Path, identity: str) -> None:
    found = place(tmp_path, RESOURCE + identity, {"SECRET": "s"})
    (endpoint,) = found.endpoints
    assert endpoint.auth == ()
    assert endpoint.signer.startswith("azure:")
    assert found.disabled is None


def test_a_secret_or_a_key_without_a_value_disables_the_provider(tmp_path: Path) -> None:
    assert "SECRET" in str(place(tmp_path, f"{RESOURCE}, {APPLICATION}").disabled)
    assert "KEY" in str(place(tmp_path, f"{RESOURCE}, api_key: '${{KEY}}'").disabled)


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("kind: azure", "endpoint is required"),
        (f"{RESOURCE}, base_url: 'https://a.example'", "write endpoint or base_url, not both"),
        (f"{RESOURCE}, client_secret: s", "tenant_id is required beside client_secret"),
        (f"{RESOURCE}, client_secret: s, tenant_id: t", "client_id is required beside client_secret"),
        (f"{RESOURCE}, tenant_id: t", "client_id is required beside tenant_id"),
        (f"{RESOURCE}, api_key: k, {APPLICATION}", "tenant_id: write an api_key or an identity, not both"),
        (f"{RESOURCE}, api_key: k, region: eu", "the kind azure takes no region"),
        ("kind: openai, api_key: k, tenant_id: t", "the kind openai takes no tenant_id"),
        ("kind: bedrock_openai, api_key: k", "region is required"),
        ("kind: snowflake, api_key: k", "base_url is required"),
    ],
)
def test_what_is_missing_or_too_much_is_named(tmp_path: Path, provider: str, said: str) -> None:
    assert said in problems(tmp_path, provider, {"SECRET": "s"})


@pytest.mark.parametrize(
    ("provider", "origin", "path"),
    [
        ("kind: bedrock_openai, region: us-east-1", "https://bedrock-mantle.us-east-1.api.aws:443", b"/v1"),
        ("kind: bedrock_openai, base_url: 'https://m.example/openai/v1'", "https://m.example:443", b"/openai/v1"),
        (
            "kind: snowflake, base_url: 'https://acme.snowflakecomputing.com'",
            "https://acme.snowflakecomputing.com:443",
            b"/api/v2/cortex/v1",
        ),
        (
            "kind: databricks, base_url: 'https://adb-1.azuredatabricks.net/'",
            "https://adb-1.azuredatabricks.net:443",
            b"/serving-endpoints",
        ),
        ("kind: perplexity", "https://api.perplexity.ai:443", b""),
    ],
)
def test_a_servers_address_may_hold_a_region_and_leave_its_path_out(
    tmp_path: Path, provider: str, origin: str, path: bytes
) -> None:
    found = place(tmp_path, f"{provider}, api_key: k")
    assert (str(found.endpoints[0].origin), found.base_path) == (origin, path)


def test_one_identity_has_one_signer_and_governments_resources_their_own(tmp_path: Path) -> None:
    signers = Signers()

    def name(provider: str) -> str:
        loaded = written(tmp_path, provider, {"SECRET": "s"})
        return signers.named(loaded.config.providers["p"], WIRES["azure"], loaded.folder)

    first = name(f"{RESOURCE}, {APPLICATION}")
    assert name(f"{RESOURCE}, {APPLICATION}") == first
    other = name(f"kind: azure, endpoint: 'https://r.openai.azure.us', {APPLICATION}")
    assert other != first
    assert [signers[each]._identity.resource for each in (first, other)] == [
        "https://cognitiveservices.azure.com",
        "https://cognitiveservices.azure.us",
    ]
