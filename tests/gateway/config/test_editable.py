"""What may not be changed over HTTP, and that no way of writing it gets around that."""

from __future__ import annotations

import pytest

from gateway.config.document import parse
from gateway.config.editable import refused

TEXT = """\
auth: keys
server: {listen: "127.0.0.1:8080"}
providers:
  one: {kind: openai, api_key: "${ONE}", location: us, timeouts: {total: 60s}}
  pool: {kind: vllm, endpoints: ["http://a:1", "http://b:1"], clearance: restricted}
deployments:
  mini: {provider: one, model: "gpt-${SIZE}"}
  local: {provider: pool, model: qwen, clearance: restricted}
sensitivity: {levels: [public, restricted], clearance: {us: public}}
store: {url: "sqlite:///a.db"}
"""


def paths(before: str, after: str, editable: tuple[str, ...] = (), environment: tuple[str, ...] = ()) -> list[str]:
    found = refused(parse(before, "a"), parse(after, "b"), editable, environment)
    return [f"{line} {message.split(' ')[0]}" for (line, _), message in found]


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("auth: keys", "auth: open", ["1 auth"]),
        ("auth: keys\n", "", ["1 auth"]),
        ("8080", "8081", ["2 server.listen"]),
        ("kind: openai", "kind: groq", ["4 providers.one.kind"]),
        ('"${ONE}"', "sk-mine", ["4 providers.one.api_key"]),
        ("location: us", "location: eu", ["4 providers.one.location"]),
        ('"http://b:1"', '"http://evil:1"', ["5 providers.pool.endpoints[1]"]),
        (', "http://b:1"', ', "http://b:1", "http://evil:1"', ["5 providers.pool.endpoints[2]"]),
        ("pool: {", "pool: {base_url: http://evil, ", ["5 providers.pool.base_url"]),
        ("one: {", "one: {headers: {x-a: b}, ", ["4 providers.one.headers.x-a"]),
        ("one: {", "one: {ca_file: /etc/shadow, ", ["4 providers.one.ca_file"]),
        ("kind: vllm", "kind: vllm, pool: {args: [--x], command: sh}",
         ["5 providers.pool.pool.args[0]", "5 providers.pool.pool.command"]),
        ("clearance: restricted}\nsens", "clearance: public}\nsens", ["8 deployments.local.clearance"]),
        ("[public, restricted]", "[restricted, public]",
         ["9 sensitivity.levels[0]", "9 sensitivity.levels[1]"]),
        ("{us: public}", "{us: restricted}", ["9 sensitivity.clearance.us"]),
        ("a.db", "b.db", ["10 store.url"]),
        ("auth: keys", 'auth: keys\nadmin: {editable: ["*"]}', ["2 admin.editable[0]"]),
        ("  pool: {", "  evil: {kind: simulator}\n  pool: {", ["5 providers.evil.kind"]),
        ('  one: {kind: openai, api_key: "${ONE}"', '  two: {kind: openai, api_key: "${ONE}"',
         ["4 providers.two.kind", "4 providers.two.api_key", "4 providers.two.location"]),
    ],
)  # fmt: skip
def test_what_takes_over_the_host_the_keys_or_the_data_is_refused(old: str, new: str, where: list[str]) -> None:
    assert old in TEXT
    after = TEXT.replace(old, new)
    assert paths(TEXT, after) == where


def test_a_copy_of_a_value_hides_nothing() -> None:
    before = TEXT.replace("location: us", "location: &l us").replace("server:", "cache: {at: &c never}\nserver:")
    assert paths(before, before.replace("location: &l us", "location: *c")) == ["2 providers.one.location"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("total: 60s", "total: 90s"),
        ("model: qwen", "model: llama"),
        ("mini: {", "mini: {price: free, "),
        ("  mini: {provider: one", "  more: {provider: one, model: x}\n  mini: {provider: one"),
        ('  pool: {kind: vllm, endpoints: ["http://a:1", "http://b:1"], clearance: restricted}\n', ""),
        ("auth: keys", "auth:   'keys' # the same"),
        ("auth: keys", "auth: keys\nkeys: [{name: a}]\npolicies: {routes: [{name: r}]}"),
    ],
)  # fmt: skip
def test_the_rest_is_the_admins(old: str, new: str) -> None:
    assert old in TEXT
    assert paths(TEXT, TEXT.replace(old, new)) == []


def test_the_operator_opens_paths_and_never_the_section_that_says_so() -> None:
    after = TEXT.replace("location: us", "location: eu").replace('"http://b:1"', '"http://c:1"')
    assert paths(TEXT, after, ("providers.*.location",)) == ["5 providers.pool.endpoints[1]"]
    assert paths(TEXT, after, ("providers",)) == []
    assert paths(TEXT, TEXT + "admin: {environment: [PATH]}\n", ("admin", "*")) == ["11 admin.environment[0]"]


def test_variables_are_those_that_the_file_uses_and_secret_ones_stay_secret() -> None:
    model = TEXT.replace("model: qwen", 'model: "${HOME}"')
    assert paths(TEXT, model) == ["8 deployments.local.model"]
    assert paths(TEXT, model, (), ("HOME",)) == []
    assert paths(TEXT, TEXT.replace("model: qwen", 'model: "x-${SIZE}"')) == []
    # Its value would be seen by whoever lists the models.
    assert paths(TEXT, TEXT.replace("model: qwen", 'model: "${ONE}"')) == ["8 deployments.local.model"]
    assert paths(TEXT, TEXT.replace("model: qwen", 'model: "$${ONE}"')) == []
