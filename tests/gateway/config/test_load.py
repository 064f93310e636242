"""Loading: what is refused, where it says the mistake is, and what a good config gives."""

from __future__ import annotations

import re
import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Config, Kind, Loaded, Secret, load, read
from gateway.config.load import LATER
from gateway.config.sources import is_secret
from gateway.core.errors import ConfigError

KINDS = {name: Kind() for name in ("openai", "anthropic", "groq", "mistral")} | {
    "vllm": Kind(needs_key=False, needs_base_url=True),
    "openai_compatible": Kind(needs_key=False, needs_base_url=True),
    "simulator": Kind(needs_key=False),
}
DETECTORS = ("pii", "secrets")
ROOT = Path(__file__).parents[3]
HASH = "sha256:" + "0" * 64

BITS = (
    *(
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a ",
        "!x ",
        "---\n",
        "...\n",
        "|\n",
        ">\n",
        "\t",
        "#",
        "?",
        "<<: ",
        "null",
    ),
    *(
        "%YAML 1.3\n",
        '"\\UFFFFFFFF"',
        '"\\xZZ"',
        "\x00",
        "\ufeff",
        "\x85",
        "${",
        "$${",
        "${A}",
        "1e999",
        "9" * 5000,
        "{file: /}",
    ),
)

GOOD = """\
auth: open
teams:
  sales:
    sensitivity: internal
providers:
  openai: {kind: openai, api_key: "${OPENAI_API_KEY}", location: us}
  lab: {kind: vllm, endpoints: ["http://10.0.0.5:8000", "http://10.0.0.6:8000/"]}
deployments:
  mini: {provider: openai, model: gpt-5-mini, price: {input: "0.25", output: "2.00"}}
  qwen: {provider: lab, model: qwen3-32b, price: free}
sensitivity:
  clearance: {self_hosted: restricted, us: internal}
  from:
    - {header: X-Data-Sensitivity}
    - {detector: pii, level: restricted}
policies:
  routes:
    - name: chat
      when: {model: chat}
      among: {qwen: 95, mini: 5}
      pick: weighted
    - name: default
      among: all
"""


def loaded(text: str, **environ: str) -> Loaded:
    return read(text.encode(), Path("config.yaml"), environ, KINDS, DETECTORS)


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(text, **environ)
    return caught.value.problems


def with_line(before: str, after: str) -> str:
    assert before in GOOD
    return GOOD.replace(before, after)


# -- what a good config gives --------------------------------------------------------------------------------------


def test_a_good_config_reads_units_money_and_single_words_for_lists() -> None:
    config = loaded(GOOD, OPENAI_API_KEY="sk-1").config
    assert config.server.max_body == 32 * 2**20
    assert config.deployments["mini"].price is not None
    assert config.deployments["mini"].price.input == Decimal("0.25")
    assert config.deployments["mini"].price.written == {"input": "0.25", "output": "2.00"}
    assert config.deployments["qwen"].price is not None
    assert config.deployments["qwen"].price.written == {"input": "0", "output": "0"}
    assert config.policies.routes[0].when.model == ["chat"]
    assert config.policies.routes[0].among == (("qwen", "mini"), (95.0, 5.0))
    assert config.policies.routes[1].among == (None, None)
    assert config.sensitivity.sources[0].header == "x-data-sensitivity"
    assert config.providers["lab"].endpoints == ["http://10.0.0.5:8000", "http://10.0.0.6:8000"]


def test_own_kinds_stand_at_home_and_keep_nothing_while_others_are_unknown() -> None:
    config = loaded(with_line(", location: us", ""), OPENAI_API_KEY="x").config
    assert (config.providers["lab"].place, config.providers["lab"].keeps) == ("self_hosted", "none")
    assert (config.providers["openai"].place, config.providers["openai"].keeps) == ("unknown", "unknown")


def test_an_empty_file_and_empty_sections_mean_the_defaults() -> None:
    assert loaded("").config == Config()
    assert loaded("server:\nkeys:\ncache:\n").config == Config()


def test_positions_lead_to_the_value_or_to_its_nearest_parent() -> None:
    result = loaded(GOOD, OPENAI_API_KEY="x")
    assert result.at("policies", "routes", 1) == "config.yaml:22:7"
    assert result.at("deployments", "mini", "price", "output") == "config.yaml:9:78"
    assert result.at("policies", "routes", 1, "on_failure", "attempts") == "config.yaml:22:7"


def test_anchors_and_aliases_work() -> None:
    text = GOOD.replace("price: free", "price: &p {input: '1', output: '2'}").replace(
        'price: {input: "0.25", output: "2.00"}', "max_output: 5"
    )
    config = loaded(text + "unknown_price: *p\n", OPENAI_API_KEY="x").config
    assert config.unknown_price is not None
    assert config.unknown_price.written == {"input": "1", "output": "2"}


def test_yaml_1_1_booleans_are_words() -> None:
    text = GOOD + "keys:\n  - {name: no, hash: 'sha256:" + "a" * 64 + "', user: yes}\n"
    key = loaded(text, OPENAI_API_KEY="x").config.keys[0]
    assert (key.name, key.user) == ("no", "yes")


def test_capabilities_are_stated_or_assumed() -> None:
    text = with_line("price: free", "price: free, modalities: [text, image], capabilities: [tools]")
    config = loaded(text, OPENAI_API_KEY="x").config
    assert config.deployments["qwen"].can == {"tools", "vision"}
    assert config.deployments["mini"].can is None


def test_timeouts_lie_over_those_below_them() -> None:
    from gateway.core.types import Timeouts

    text = with_line("price: free", "price: free, timeouts: {first_token: 500ms, total: 5m}")
    merged = loaded(text, OPENAI_API_KEY="x").config.deployments["qwen"].timeouts.onto(Timeouts(idle_s=7.0))
    assert merged == Timeouts(first_token_s=0.5, total_s=300.0, idle_s=7.0)


# -- the vocabulary is closed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("auth: open", "auht: open", "1:1: there is no key 'auht' here; did you mean 'auth'?"),
        ("auth: open", "auth: opne", "1:7: 'opne' is not one of: keys, open; did you mean 'open'?"),
        ("sensitivity: internal", "sensitivity: interal", "4:18: there is no level 'interal'; did you mean"),
        ("kind: openai", "kind: opnai", "6:18: the kind 'opnai' is not known; did you mean 'openai'?"),
        ("kind: openai", "kind: bedrok", "6:18: the kind 'bedrok' is not known"),
        (", location: us", ", locaton: us", "6:56: there is no key 'locaton' here; did you mean 'location'?"),
        ("provider: lab", "provider: labs", "10:20: there is no provider 'labs'; did you mean 'lab'?"),
        ("detector: pii", "detector: pi", "15:18: there is no detector 'pi'; did you mean 'pii'?"),
        ("qwen: 95, mini: 5", "qwen: 95, mni: 5", "20:30: there is no deployment 'mni'; did you mean 'mini'?"),
        ("pick: weighted", "pick: wieghted", "21:13: 'wieghted' is not one of:"),
        ("auth: open", "server: {listen: 8080}", "1:18: an address is wanted"),
        ("auth: open", "server: {header_timeout: 5}", "1:26: a duration is a number with its unit"),
        ("auth: open", "server: {header_timeout: 5 sec}", "1:26: '5 sec' is not a duration"),
        ("auth: open", "server: {header_timeout: 0s}", "1:26: this must be greater than 0"),
        ("auth: open", "server: {max_body: 32MIB}", "1:20: '32MIB' is not a size"),
        ('input: "0.25"', "input: 0.25", "9:62: money is text, so that it stays exact"),
        ('input: "0.25"', "input: '0.0000000001'", "9:62: '0.0000000001' is not an amount"),
        ('input: "0.25"', "input: '-1'", "9:62: '-1' is not an amount"),
        ("model: gpt-5-mini", "model: 5", "9:35: text is wanted: put it in quotes"),
        (", model: gpt-5-mini", "", "9:9: model is required"),
        ("auth: open", "limits: {queue: 99999999999999999999}", "1:17: a whole number is wanted"),
        ("auth: open", "telemetry: {spans: 9e999}", "1:20: a number is wanted"),
        ("auth: open", "limits: {queue: -1}", "1:17: this must be greater than or equal to 0"),
        ("auth: open", "telemetry: {bodies: always}", "1:21: 'always' is not one of: never"),
        ("auth: open", "telemetry: {prometheus: yes}", "1:25: true or false is wanted"),
        ("auth: open", "store: {url: 'mysql://db'}", "1:14: write sqlite:///path/to/file.db"),
        ("auth: open", "store: [a]", "1:8: a mapping is wanted"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(before: str, after: str, expected: str) -> None:
    found = problems(with_line(before, after), OPENAI_API_KEY="x")
    assert len(found) == 1
    assert found[0].startswith(f"config.yaml:{expected}")


@pytest.mark.parametrize("word", LATER)
def test_a_word_of_a_later_version_is_refused_rather_than_ignored(word: str) -> None:
    assert problems(f"{word}: {{}}\n") == [f"config.yaml:1:1: `{word}` comes with a later version"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("auth: open", "auth: open\nserver: {listen: 0.0.0.0:80}", ":1:7: `auth: open` answers on a loopback"),
        ("  qwen:", "  auto:", "'auto' cannot be a deployment"),
        ("name: default", "name: chat", ":22:13: the route 'chat' stands here twice"),
        ("{qwen: 95, mini: 5}", "[qwen, mini]", "`weighted` needs weights"),
        ("pick: weighted", "pick: cheapest", "`pick: cheapest` takes no weights"),
        ("pick: weighted", "pick: weighted\n      balance: {cost: 1}", "only `pick: balanced` takes a balance"),
        ("among: all", "among: [mini, mini]", "'mini' stands here twice"),
        ("among: all", "among: []", "write `all`, a list of deployments"),
        ("among: all", "among: all\n      require: {window: 5m}", "window goes with max_ttft_p95"),
        ("among: all", "among: all\n      if_none: fastest", "there is no `require` that nobody could meet"),
        ("among: all", "among: all\n      on_failure: {errors: [content_filtered]}", "'content_filtered' is not one"),
        ("model: chat", "model: []", "an empty model matches no call"),
        ("model: chat", "team: [slaes]", "there is no team 'slaes'; did you mean 'sales'?"),
        ("model: chat", "prompt_tokens_over: 5, prompt_tokens_under: 6", "no number is over the one"),
        ("{detector: pii, level: restricted}", "{detector: pii}", "detector needs a level"),
        ("{detector: pii, level: restricted}", "{key: sensitivity, header: x}", "exactly one of header, key"),
        ("{header: X-Data-Sensitivity}", "{header: x, level: internal}", "header brings its own level"),
        ("  routes:", "  guarantees: [{name: clearance, require: {location: eu}}]\n  routes:", "built-in guarantee"),
        ("  routes:", "  guarantees: [{name: g, require: {}}]\n  routes:", "a guarantee requires something"),
        ("  routes:", "  guarantees: [{name: g, require: {location: [em]}}]\n  routes:", "there is no location 'em'"),
        ("  routes:", "  tests: [{given: {}, expect: {}}]\n  routes:", "a test expects something"),
        ("  routes:", "  tests: [{given: {down: [x]}, expect: {first: y}}]\n  routes:", "there is no deployment 'x'"),
        ("kind: vllm, endpoints", "kind: openai, endpoints", "only the kind vllm takes endpoints"),
        ("kind: vllm, endpoints", "kind: vllm, base_url: 'http://a', endpoints", "endpoints or base_url, not both"),
        (', endpoints: ["http://10.0.0.5:8000", "http://10.0.0.6:8000/"]', "", "pool, endpoints or base_url is req"),
        ("kind: vllm", "kind: vllm, key_file: k.pem", "a key needs its certificate: write cert_file"),
        ("kind: vllm", "kind: vllm, base_url: ftp://x", "a URL is wanted that begins with http://"),
        ("kind: vllm", "kind: vllm, base_url: 'http://a:b@c'", "must not hold credentials"),
        ("teams:", "keys: [{name: a, hash: 'sha256:zz'}]\nteams:", "a hash is wanted"),
        ("teams:", f"keys: [{{name: a, hash: '{HASH}', models: [caht]}}]\nteams:", "there is no model 'caht'"),
        ("teams:", f"keys: [{{name: a, hash: '{HASH}', expires: 2027-01-31}}]\nteams:", "has no time zone"),
        ("teams:\n  sales:", "shared: {url: 'http://x'}\nteams:\n  sales:", "write redis://"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(before: str, after: str, expected: str) -> None:
    found = problems(with_line(before, after), OPENAI_API_KEY="x")
    assert any(expected in problem for problem in found), found


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = GOOD.replace("auth: open", "auth: opne").replace("price: free", "price: gratis").replace("all", "every")
    places = [problem.split(" ")[0] for problem in problems(text, OPENAI_API_KEY="x")]
    assert places == ["config.yaml:1:7:", "config.yaml:10:50:", "config.yaml:23:14:"]


# -- YAML ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server:\n  listen: a\n  listen: b\n", "3:3: the key 'listen' stands here twice, first at line 2"),
        ("server: [1,\n", "2:1: "),
        ("server:\n\tlisten: x\n", "2:1: "),
        ("a: @x\n", "1:4: "),
        ("- a\n", "1:1: a config is a mapping of sections"),
        ("a: 1\n---\nb: 2\n", "2:1: a config is one document"),
        ("%YAML 1.1\n---\na: 1\n", "2:1: a config is YAML 1.2"),
        ("a: !!python/object x\n", "1:4: tags are not read"),
        ("a: *b\n", "1:4: there is no anchor &b before this"),
        ("a: &a [*a]\n", "1:8: there is no anchor &a before this"),
        ("? [a]\n: b\n", "1:3: a key must be a word"),
        ("server:\n  listen: \x01\n", "2:1: the character U+0001 is not allowed"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', "2:2: what follows is not YAML 1.2"),
        ("%YAML 1.3\n---\na: 1\n", "1:1: what follows is not YAML 1.2"),
        ("a: " + "[" * 60 + "]" * 60, "1:53: more than 50 levels are nested"),
    ],
)
def test_broken_yaml_is_named_with_its_place(text: str, expected: str) -> None:
    assert problems(text)[0].startswith(f"config.yaml:{expected}")


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_text_makes_the_loader_fail_in_another_way(data: st.DataObject) -> None:
    text = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        bit = data.draw(st.sampled_from(BITS) | st.text(max_size=3))
        text = text[:start] + bit + text[start + data.draw(st.integers(0, 9)) :]
    found: list[str] = []
    try:
        read(text.encode("utf-8", "replace"), Path("config.yaml"), {"A": "1"}, KINDS, DETECTORS)
    except ConfigError as error:
        found = error.problems
    assert all(re.match(r"config\.yaml:[0-9]+:[0-9]+: .", problem) for problem in found)


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    began = time.monotonic()
    assert any("aliases make this config longer" in problem for problem in problems("\n".join(lines)))
    assert time.monotonic() - began < 20


def test_a_file_that_is_not_utf_8_or_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match="No such file"):
        load(file, {}, KINDS, DETECTORS)
    file.write_bytes(b"auth: open\nserver: \xff\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:2:1: this is not UTF-8"):
        load(file, {}, KINDS, DETECTORS)


# -- secrets and the environment -----------------------------------------------------------------------------------


def test_a_provider_without_its_key_is_disabled_and_the_config_still_loads() -> None:
    result = loaded(GOOD)
    assert result.disabled == {"openai": "no key: ${OPENAI_API_KEY} has no value"}
    assert result.warnings == ()
    assert loaded(GOOD, OPENAI_API_KEY="").disabled.keys() == {"openai"}
    assert loaded(GOOD, OPENAI_API_KEY="sk-1").disabled == {}


def test_a_missing_variable_elsewhere_is_an_error() -> None:
    found = problems(with_line("model: gpt-5-mini", 'model: "${MODEL}"'))
    assert found == ["config.yaml:9:35: the environment variable MODEL is not set"]


def test_variables_stand_anywhere_in_a_text_and_two_dollars_escape_them() -> None:
    text = with_line("model: gpt-5-mini", 'model: "$${x} ${NAME}-mini"')
    config = loaded(text, NAME="gpt").config
    assert config.deployments["mini"].model == "${x} gpt-mini"
    assert "takes the name of an environment variable" in problems(with_line("gpt-5-mini", '"${a-b}"'))[0]


def test_a_secret_comes_from_a_file_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-file\n")
    file = tmp_path / "config.yaml"
    file.write_text(with_line('"${OPENAI_API_KEY}"', "{file: key}"))
    result = load(file, {}, KINDS, DETECTORS)
    secret = result.config.providers["openai"].api_key
    assert secret is not None
    assert secret.reveal() == "sk-file"
    assert result.files == (file, tmp_path / "key")
    (tmp_path / "key").unlink()
    assert load(file, {}, KINDS, DETECTORS).disabled == {"openai": "no key: file key has no value"}


def test_a_literal_credential_is_taken_with_a_warning_and_shown_to_nobody() -> None:
    text = with_line('"${OPENAI_API_KEY}"', "sk-very-secret")
    result = loaded(text)
    assert result.disabled == {}
    assert result.warnings == ("config.yaml:6:35: a credential stands here in clear: prefer ${NAME} or {file: path}",)
    for shown in (repr(result.config), str(result.config), result.config.model_dump_json(), str(result.warnings)):
        assert "sk-very-secret" not in shown
    assert result.config.model_dump()["providers"]["openai"]["api_key"] == "<kept>"


def test_no_secret_is_in_an_error_message() -> None:
    text = GOOD.replace('"${OPENAI_API_KEY}"', "sk-very-secret").replace("auth: open", 'auth: "${AUTH}"')
    text = text.replace("model: gpt-5-mini", "model: {a: 1}").replace("http://10.0.0.5:8000", "${URL}")
    told = "\n".join(problems(text, AUTH="hidden-auth", URL="ftp://hidden-url"))
    assert "is not one of: keys, open" in told
    for secret in ("sk-very-secret", "hidden-auth", "hidden-url"):
        assert secret not in told


def test_a_credential_that_cannot_go_into_a_header_is_refused_unseen() -> None:
    found = problems(GOOD, OPENAI_API_KEY="sk\nx-evil: 1")
    assert found == ["config.yaml:6:35: this holds a character that cannot go into a header"]


def test_one_absent_credential_among_several_is_left_out_with_a_warning() -> None:
    text = with_line('api_key: "${OPENAI_API_KEY}"', 'api_keys: ["${A}", "${B}"]')
    result = loaded(text, B="sk-b")
    assert result.disabled == {}
    assert [secret.reveal() for secret in result.config.providers["openai"].api_credentials] == ["sk-b"]
    assert result.warnings == ("config.yaml:6:37: ${A} has no value: this credential is left out",)


def test_a_location_without_clearance_is_warned_of() -> None:
    assert "has no clearance: it may see 'public' alone" in loaded(with_line(", us: internal", "")).warnings[0]


def test_secrets_are_read_wherever_a_model_has_one() -> None:
    from gateway.config.models import Shared, Store
    from gateway.config.providers import Provider

    fields = {name for name, field in Provider.model_fields.items() if "Secret" in str(field.annotation)}
    assert fields >= {"api_key", "api_keys", "headers", "proxy", "client_secret", "secret_access_key"}
    for name in fields:
        path = ("providers", "x", name) + ((0,) if name in ("api_keys", "headers") else ())
        assert is_secret(path)
    for section, path in ((Shared, ("shared", "url")), (Store, ("store", "url"))):
        assert "Secret" in str(section.model_fields["url"].annotation)
        assert is_secret(path)


def test_a_database_s_url_may_come_from_the_environment_and_shows_nowhere() -> None:
    text = with_line("auth: open", 'store: {url: "${DATABASE_URL}"}')
    result = loaded(text, OPENAI_API_KEY="x", DATABASE_URL="postgresql://me:hidden@db/headgate")
    assert result.config.store.path is None
    assert "hidden" not in repr(result.config) + str(result.config.model_dump())


@pytest.mark.parametrize("environ", [{}, {"DATABASE_URL": ""}])
def test_a_database_without_a_url_is_told_once(environ: dict[str, str]) -> None:
    found = problems(with_line("auth: open", 'store: {url: "${DATABASE_URL}"}'), OPENAI_API_KEY="x", **environ)
    assert len(found) == 1
    assert "DATABASE_URL" in found[0]


def test_headers_of_a_provider_are_hidden_too() -> None:
    text = with_line(", location: us", ', location: us, headers: {X-Org: "${ORG}", x-plain: p}')
    config = loaded(text, ORG="org-1").config
    headers = config.providers["openai"].headers
    assert {name: secret.reveal() for name, secret in headers.items()} == {"x-org": "org-1", "x-plain": "p"}
    assert "org-1" not in repr(config)
    assert "ORG is not set" in problems(text)[0]


def test_an_absent_secret_cannot_be_revealed() -> None:
    with pytest.raises(LookupError):
        Secret(None, "${X}").reveal()


# -- the shipped config, and size ----------------------------------------------------------------------------------


def test_the_shipped_config_serves_without_any_key() -> None:
    result = load(ROOT / "config.yaml", {}, KINDS, DETECTORS)
    config = result.config
    assert result.warnings == ()
    assert set(result.disabled) == {name for name, each in config.providers.items() if each.kind != "simulator"}
    assert config.deployments["demo"].provider == "demo"
    assert config.providers["demo"].place == "self_hosted"
    assert len(config.policies.tests) == 3
    assert "demo" in (config.policies.routes[-1].among.names or ())


def test_a_thousand_deployments_and_five_hundred_rules_all_load() -> None:
    lines = ["providers:"] + [f"  p{n}: {{kind: openai, api_key: '${{K}}', location: us}}" for n in range(20)]
    lines += ["deployments:"]
    lines += [
        f"  d{n}: {{provider: p{n % 20}, model: m-{n}, price: {{input: '0.25', output: '2'}}}}" for n in range(1000)
    ]
    lines += ["sensitivity: {clearance: {us: internal}}", "policies:", "  routes:"]
    for n in range(500):
        lines += [f"    - name: r{n}", f"      when: {{model: [m{n}]}}", f"      among: [d{n}, d{n + 1}]"]
    config = loaded("\n".join(lines), K="x").config
    assert (len(config.deployments), len(config.policies.routes)) == (1000, 500)
