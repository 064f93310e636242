"""Providers gemini and vertex as written: addresses, keys, identities, and each setting refused by its name."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.prices import Catalogue
from gateway.upstream.google import GoogleSigner, TokenSigner
from gateway.wiring.places import Places, Signers, Transports, places_of
from gateway.wiring.runtime import read_config

IDENTITY = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}


def compiled(
    folder: Path, provider: str, model: str = "gemini-2.5-flash", environ: dict[str, str] | None = None
) -> tuple[Places, Signers]:
    """Compiles a config of one provider and one deployment at it."""
    path = folder / "config.yaml"
    path.write_text(
        f"auth: open\nproviders:\n  g: {provider}\ndeployments: {{d: {{provider: g, model: {model}, price: free}}}}\n"
    )
    loaded = read_config(path, environ or {})
    signers = Signers()
    return places_of(
        loaded, Catalogue(date(2026, 11, 1)), Transports(), signers, lambda: pytest.fail("no simulator")
    ), signers


def refused(folder: Path, provider: str) -> str:
    """Returns what is wrong with a provider."""
    try:
        places, _ = compiled(folder, provider)
    except ConfigError as error:
        return str(error)
    return "; ".join(why for _, why in places.problems)


def test_gemini_takes_a_key_and_knows_its_address(tmp_path: Path) -> None:
    places, _ = compiled(tmp_path, "{kind: gemini, api_key: '${KEY}'}", environ={"KEY": "k"})
    deployment = places.deployments["d"]
    (endpoint,) = deployment.endpoints
    assert str(endpoint.origin) == "https://generativelanguage.googleapis.com:443"
    assert (deployment.base_path, endpoint.auth) == (b"/v1beta", ((b"x-goog-api-key", b"k"),))
    assert deployment.serves == {"chat", "embeddings"}
    assert compiled(tmp_path, "{kind: gemini}")[0].deployments["d"].disabled == "no key"
    assert "project" in refused(tmp_path, "{kind: gemini, api_key: k, project: p}")


@pytest.mark.parametrize(
    ("region", "origin"),
    [
        ("us-central1", "https://us-central1-aiplatform.googleapis.com:443"),
        ("global", "https://aiplatform.googleapis.com:443"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com:443"),
    ],
)
def test_vertex_stands_where_its_region_is(tmp_path: Path, region: str, origin: str) -> None:
    places, signers = compiled(tmp_path, f"{{kind: vertex, project: p, region: {region}, access_token: t}}")
    deployment = places.deployments["d"]
    (endpoint,) = deployment.endpoints
    assert not places.problems
    assert str(endpoint.origin) == origin
    assert dict(deployment.options) == {"project": "p", "region": region}
    assert isinstance(signers[endpoint.signer], TokenSigner)
    assert deployment.disabled is None


def test_an_identity_is_a_file_or_text_or_the_surroundings(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text(json.dumps(IDENTITY, indent=2))
    environ = {"IDENTITY": json.dumps(IDENTITY, indent=2)}
    for credentials in (
        ", credentials: identity.json",
        ", credentials: {file: identity.json}",
        ", credentials: '${IDENTITY}'",
        "",
    ):
        provider = f"{{kind: vertex, project: p{credentials}}}"
        places, signers = compiled(tmp_path, provider, environ=environ)
        (endpoint,) = places.deployments["d"].endpoints
        assert not places.problems
        assert isinstance(signers[endpoint.signer], GoogleSigner)
        assert "client_secret" not in endpoint.signer


def test_a_key_of_express_mode_needs_no_project(tmp_path: Path) -> None:
    places, signers = compiled(tmp_path, "{kind: vertex, api_key: k}")
    (endpoint,) = places.deployments["d"].endpoints
    assert not places.problems
    assert (endpoint.auth, endpoint.signer, signers) == (((b"x-goog-api-key", b"k"),), "", {})


def test_a_token_without_a_value_disables_its_provider(tmp_path: Path) -> None:
    places, _ = compiled(tmp_path, "{kind: vertex, project: p, access_token: '${NONE}'}")
    assert places.deployments["d"].disabled == "no key: ${NONE} has no value"
    assert not places.problems


@pytest.mark.parametrize(
    ("provider", "names"),
    [
        ("{kind: vertex}", "project is required"),
        ("{kind: vertex, project: 'a b', access_token: t}", "project: "),
        ("{kind: vertex, project: p, region: 'x.evil/', access_token: t}", "region: "),
        ("{kind: vertex, project: p, access_token: t, credentials: '{}'}", "access_token: "),
        ("{kind: vertex, project: p, access_token: t, api_key: k}", "access_token: "),
        ("{kind: vertex, project: p, credentials: nowhere.json}", "credentials: "),
        ("{kind: vertex, project: p, credentials: '{broken'}", "credentials: "),
        ('{kind: vertex, project: p, credentials: \'{"type": "executable"}\'}', "credentials: "),
        ("{kind: vertex, project: p, role_arn: x}", "takes no role_arn"),
    ],
)
def test_a_setting_that_makes_no_identity_is_refused_by_its_name(tmp_path: Path, provider: str, names: str) -> None:
    assert names in refused(tmp_path, provider)


def test_starting_up_imports_nothing_of_googles() -> None:
    source = (
        "import sys, gateway.wiring.serve\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('google', 'requests') and name != 'google'])"
    )
    told = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "[]"
