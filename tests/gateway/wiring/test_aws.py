"""Bedrock in a config: where its calls go, who signs them, and what is refused with its place."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import ConfigError
from gateway.core.types import Origin
from gateway.prices import UNKNOWN, Catalogue, Facts
from gateway.upstream.sigv4 import SigV4Signer
from gateway.wiring.places import Signers, Transports, places_of
from gateway.wiring.runtime import dry_compile, read_config

KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "own-secret"}
DATED = "bedrock-runtime.us-east-1.amazonaws.com"


def loaded(folder: Path, environ: dict[str, str] | None = None, **provider: Any) -> Any:
    path = folder / "config.yaml"
    config = {
        "auth": "open",
        "providers": {"aws": {"kind": "bedrock", **provider}},
        "deployments": {"claude": {"provider": "aws", "model": "us.anthropic.claude-sonnet-5", "price": "free"}},
    }
    path.write_text(json.dumps(config))
    return read_config(path, environ or {})


class Unlisted(Catalogue):
    """A catalogue that knows no model."""

    def find(self, provider_kind: str, model: str) -> Facts:
        return UNKNOWN


def placed(folder: Path, environ: dict[str, str] | None = None, **provider: Any) -> tuple[Any, Signers]:
    """Returns the deployment as compiled, and the signers that were made for it."""
    signers = Signers()
    written = loaded(folder, environ, **provider)
    places = places_of(written, Unlisted(date(2026, 11, 1)), Transports(), signers, lambda: Origin("http", "::1", 9))
    assert places.problems == []
    return places.deployments["claude"], signers


def test_a_region_is_the_address_and_keys_sign_for_it(tmp_path: Path) -> None:
    deployment, signers = placed(tmp_path, region="eu-central-1", **KEYS)
    (endpoint,) = deployment.endpoints
    assert str(endpoint.origin) == "https://bedrock-runtime.eu-central-1.amazonaws.com:443"
    assert endpoint.auth == ()
    signer = signers[endpoint.signer]
    assert isinstance(signer, SigV4Signer)
    assert signer._scope.region == "eu-central-1"
    assert deployment.serves == {"chat", "embeddings"}
    assert "own-secret" not in repr(signers)


def test_an_api_key_is_sent_and_nothing_signs(tmp_path: Path) -> None:
    deployment, signers = placed(tmp_path, {"K": "bedrock-key"}, region="us-east-1", api_key="${K}")
    assert deployment.endpoints[0].auth == ((b"authorization", b"Bearer bedrock-key"),)
    assert deployment.endpoints[0].signer == ""
    assert not signers


@pytest.mark.parametrize(
    ("base_url", "region"),
    [
        (f"https://{DATED}", "us-east-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://vpce-1-2.bedrock-runtime.us-east-1.vpce.amazonaws.com/", "us-east-1"),
    ],
)
def test_an_address_that_names_its_region_says_enough(tmp_path: Path, base_url: str, region: str) -> None:
    deployment, signers = placed(tmp_path, base_url=base_url, **KEYS)
    signer = signers[deployment.endpoints[0].signer]
    assert isinstance(signer, SigV4Signer)
    assert signer._scope.region == region


def test_identities_that_differ_have_signers_of_their_own(tmp_path: Path) -> None:
    role = {"role_arn": "arn:aws:iam::123456789012:role/models", "external_id": "ours"}
    found = [
        placed(tmp_path, region="us-east-1", **settings)[0].endpoints[0].signer
        for settings in ({}, KEYS, {**KEYS, **role}, {"profile": "models"}, role, {**role, "external_id": "theirs"})
    ]
    assert all(found)
    assert len(set(found)) == 6


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (KEYS, "region is required"),
        ({"api_key": "k"}, "region is required"),
        ({"base_url": "https://proxy.example", **KEYS}, "region is required"),
        ({"region": "Frankfurt", **KEYS}, "region: 'Frankfurt'"),
        ({"region": "us-east-1", "access_key_id": "a"}, "secret_access_key is missing"),
        ({"region": "us-east-1", "secret_access_key": "a"}, "access_key_id is missing"),
        ({"region": "us-east-1", "session_token": "a"}, "session_token"),
        ({"region": "us-east-1", "external_id": "a"}, "external_id"),
        ({"region": "us-east-1", "profile": "a", **KEYS}, "profile or access_key_id"),
        ({"region": "us-east-1", "api_key": "k", **KEYS}, "api_key or access_key_id"),
        ({"region": "us-east-1", "project": "p", **KEYS}, "takes no project"),
    ],
)
def test_settings_that_make_no_identity_are_refused_by_name(
    tmp_path: Path, settings: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        dry_compile(loaded(tmp_path, **settings))
    assert told in str(caught.value)
    assert "own-secret" not in str(caught.value)


def test_a_key_without_a_value_disables_the_provider(tmp_path: Path) -> None:
    settings = {"region": "us-east-1", "access_key_id": "${NOBODY}", "secret_access_key": "${NOTHING}"}
    deployment, signers = placed(tmp_path, **settings)
    assert "NOBODY" in deployment.disabled or "NOTHING" in deployment.disabled
    assert not signers
