"""One transport for each way out: what tells them apart, what is refused with its place, and when one goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.upstream.http1 import Http1Transport
from gateway.upstream.negotiating import NegotiatingTransport
from gateway.wiring import places
from gateway.wiring.places import Transports
from gateway.wiring.runtime import dry_compile, read_config
from tests.gateway.upstream.authority import issue


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates."""
    folder = tmp_path_factory.mktemp("issued")
    issue(folder)
    return folder


def written(folder: Path, *settings: str, environ: dict[str, str] | None = None):
    """Loads a config with one provider for each of some settings."""
    lines = ["auth: open", "providers:"]
    for index, setting in enumerate(settings):
        lines.append(f"  p{index}: {{kind: vllm, base_url: 'https://a.example'{setting}}}")
    lines.append("deployments: {d: {provider: p0, model: m, price: free}}")
    path = folder / "config.yaml"
    path.write_text("\n".join([*lines, ""]))
    return read_config(path, environ or {})


def names(transports: Transports, loaded) -> list[str]:
    """Returns the transports of the providers, in their order."""
    return [transports.named(provider, loaded.folder) for provider in loaded.config.providers.values()]


def test_providers_that_differ_in_their_way_out_have_transports_of_their_own(tmp_path: Path, issued: Path) -> None:
    proxied = ", proxy: 'http://u:secret@proxy:3128'"
    authority = f", ca_file: {issued / 'ca.pem'}"
    identity = f"{authority}, cert_file: {issued / 'client.pem'}, key_file: {issued / 'client.key'}"
    settings = ["", "", ", transport: http2", proxied, proxied, f", transport: http2{proxied}", authority, identity]
    transports = Transports()
    found = names(transports, written(tmp_path, *settings))
    assert len(set(found)) == len(transports) == 6
    assert (found[0], found[3]) == (found[1], found[4])
    assert not any("secret" in name or "proxy" in name for name in found)
    kinds = [type(transports[name]) for name in found]
    assert kinds == [Http1Transport] * 2 + [NegotiatingTransport] * 4 + [Http1Transport] * 2


def test_files_are_found_beside_the_config_and_watched_with_it(tmp_path: Path, issued: Path) -> None:
    (tmp_path / "ca.pem").write_bytes((issued / "ca.pem").read_bytes())
    loaded = written(tmp_path, ", ca_file: ca.pem")
    assert tmp_path / "ca.pem" in loaded.files
    dry_compile(loaded)


def test_a_file_that_has_changed_makes_another_transport(tmp_path: Path, issued: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_bytes((issued / "ca.pem").read_bytes())
    loaded = written(tmp_path, ", ca_file: ca.pem")
    transports = Transports()
    before = names(transports, loaded)
    assert names(transports, loaded) == before
    authority.write_bytes((issued / "other-ca.pem").read_bytes())
    assert names(transports, loaded) != before


@pytest.mark.parametrize(
    ("setting", "at", "why"),
    [
        (", ca_file: none.pem", "none.pem", "none.pem cannot be read: No such file or directory"),
        (", ca_file: client.key", "client.key", "client.key holds no certificate in PEM form"),
        (", cert_file: client.pem", "client.pem", "client.pem holds no certificate with its key, in PEM form"),
        (", cert_file: client.pem, key_file: good.key", "good.key", "the key is not the certificate's"),
        (", proxy: 'socks5://u:secret@proxy'", "'socks5", "write http://… or https://…, with the proxy's host"),
    ],
    ids=["missing", "no certificate", "no key", "another key", "no proxy"],
)
def test_what_cannot_serve_is_refused_at_its_place(issued: Path, setting: str, at: str, why: str) -> None:
    loaded = written(issued, setting)
    with pytest.raises(ConfigError) as refused:
        dry_compile(loaded)
    (problem,) = refused.value.problems
    path = issued / "config.yaml"
    column = path.read_text().splitlines()[2].index(at) + 1
    assert problem.startswith(f"{path}:3:{column}: ")
    assert problem.endswith(why)
    assert "secret" not in problem


async def test_a_transport_goes_an_hour_after_its_last_config_unless_a_call_uses_it(
    tmp_path: Path, issued: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transports = Transports()
    old, new = names(transports, written(tmp_path, "", ", transport: http2"))
    now = 0.0
    monkeypatch.setattr(places.time, "monotonic", lambda: now)
    await transports.retire({new})
    now = 3599.0
    await transports.retire({new})
    assert set(transports) == {old, new}
    now = 3601.0
    busy = type("Busy", (Http1Transport,), {"active": 1})()
    idle, transports[old] = transports[old], busy
    await transports.retire({new})
    assert old in transports
    transports[old] = idle
    await transports.retire({old, new})  # it is used again: its hour begins anew
    await transports.retire({new})
    assert old in transports
    now = 7202.0
    await transports.retire({new})
    assert set(transports) == {new}
