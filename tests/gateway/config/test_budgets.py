"""Budgets, rate limits and notices as written: what is refused, where, and what a good config gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Kind, Loaded, read
from gateway.core.allowances import Budget, RateLimits
from gateway.core.errors import ConfigError
from gateway.wiring.allowances import budget_rules, limit_rules
from gateway.wiring.compile import written_keys

HASH = "sha256:" + "0" * 64
HOUSE = """\
teams: {sales: {limits: {in_flight: 9}}}
providers: {lab: {kind: simulator}}
deployments: {qwen: {provider: lab, model: q, price: free}}
policies: {routes: [{name: chat, when: {model: [chat, "gpt-*"]}, among: all}]}
"""


def loaded(text: str, **environ: str) -> Loaded:
    return read((HOUSE + text).encode(), Path("config.yaml"), environ, {"simulator": Kind(needs_key=False)}, ())


def test_what_is_written_is_what_holds() -> None:
    config = loaded(
        'budgets: [{team: "*", usd: "500", per: month, notify_at: 80}, {overall: true, usd: "0.000000001", per: hour}, '
        '{tag: {project: "*"}, usd: "1", per: week, zone: Europe/Berlin, reject_at: null, notify_at: [90, 50, 90]}]\n'
        'rate_limits: [{key: "*", model: chat, calls_per_minute: 5}, {model: gpt-5, in_flight: 1}, '
        "{model: lab/q, in_flight: 2}]\n"
        f'keys: [{{name: ada, hash: "{HASH}", role: owner, team: sales, budgets: [{{usd: "2", per: day}}], '
        "limits: {tokens_per_minute: 7}}]\n"
    ).config
    keys = written_keys(config)
    rules = [(rule.scope, rule.name, rule.budget, rule.own) for rule in budget_rules(config, keys)]
    assert rules == [
        ("team", "*", Budget(500 * 10**9, "month", notify_at=(80,)), False),
        ("overall", "overall", Budget(1, "hour"), False),
        ("tag:project", "*", Budget(10**9, "week", "Europe/Berlin", (50, 90), None), False),
        ("key", "ada", Budget(2 * 10**9, "day"), True),
    ]
    limits = [(rule.scope, rule.name, rule.model, rule.limits, rule.own) for rule in limit_rules(config, keys)]
    assert limits == [
        ("key", "*", "chat", RateLimits(calls_per_minute=5), False),
        ("model", "gpt-5", None, RateLimits(in_flight=1), False),
        ("model", "lab/q", None, RateLimits(in_flight=2), False),
        ("team", "sales", None, RateLimits(in_flight=9), True),
        ("key", "ada", None, RateLimits(tokens_per_minute=7), True),
    ]
    assert keys[0].role == "owner"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('budgets: [{usd: "5", per: day}]', "5:11: a budget is of exactly one key, team, user, tag, provider"),
        ('budgets: [{key: a, team: sales, usd: "5", per: day}]', "a budget is of exactly one key"),
        ('budgets: [{tag: {a: b, c: d}, usd: "5", per: day}]', "a budget is of exactly one key"),
        ('budgets: [{overall: false, usd: "5", per: day}]', "a budget is of exactly one key"),
        ("budgets: [{key: a, usd: 5, per: day}]", "5:25: money is text"),
        ('budgets: [{key: a, usd: "-5", per: day}]', "is not an amount of dollars"),
        ('budgets: [{key: a, usd: "5", per: year}]', "'year' is not one of: hour, day, week, month"),
        ('budgets: [{key: a, usd: "5", per: day, zone: Berlin}]', "'Berlin' is no time zone"),
        ('budgets: [{key: a, usd: "5", per: day, zone: ../UTC}]', "is no time zone"),
        ('budgets: [{key: a, usd: "5", per: day, notify_at: 0}]', "greater than or equal to 1"),
        ('budgets: [{key: a, usd: "5", per: day, reject_at: 5000}]', "less than or equal to 1000"),
        ('budgets: [{team: slaes, usd: "5", per: day}]', "there is no team 'slaes'; did you mean 'sales'?"),
        ('budgets: [{provider: lob, usd: "5", per: day}]', "there is no provider 'lob'; did you mean 'lab'?"),
        (
            'budgets: [{key: a, usd: "5", per: day}, {key: a, usd: "6", per: day, zone: Europe/Berlin}]',
            "5:41: there is a budget of key a per day above",
        ),
        ("rate_limits: [{calls_per_minute: 5}]", "a rate limit is of a key or a team"),
        ("rate_limits: [{key: a, team: sales, calls_per_minute: 5}]", "a rate limit is of a key or a team"),
        ("rate_limits: [{key: a}]", "write calls_per_minute, tokens_per_minute or in_flight"),
        ("rate_limits: [{key: a, in_flight: 0}]", "greater than or equal to 1"),
        ("rate_limits: [{model: caht, in_flight: 1}]", "there is no model 'caht'; did you mean 'chat'?"),
        ("rate_limits: [{key: a, in_flight: 1}, {key: a, calls_per_minute: 1}]", "write them as one"),
        (
            f'keys: [{{name: a, hash: "{HASH}", budgets: [{{usd: "1", per: day}}, {{usd: "2", per: day}}]}}]',
            "a key has one budget a period",
        ),
        (f'keys: [{{name: a, hash: "{HASH}", role: boss}}]', "'boss' is not one of: admin, owner, viewer"),
        ("notify: {webhook: ftp://example.com}", "write http://… or https://…"),
        *[
            (f"notify: {{webhook: '{url}'}}", "write http://… or https://…")
            for url in ("https://", "https://a:b@c/", "https://a b/", "https://a:x/", "https://[/", "https://ä/")
        ],
        ('notify: {webhook: "${NOTIFY_URL}"}', "the environment variable NOTIFY_URL is not set"),
        ("notify: {}", "webhook is required"),
    ],
)
def test_a_mistake_is_named_with_its_place(line: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(line + "\n")
    assert expected in "\n".join(caught.value.problems), caught.value.problems


def test_where_notices_go_is_nowhere_shown() -> None:
    url = "https://hooks.example.com/T000/secret"
    config = loaded('notify: {webhook: "${NOTIFY_URL}", secret: whsec_c2VjcmV0}\n', NOTIFY_URL=url).config
    assert config.notify is not None
    assert config.notify.webhook.reveal() == url
    assert "secret/" not in repr(config)
    assert "hooks" not in repr(config)
    assert "whsec" not in repr(config)
