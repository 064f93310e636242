"""Secrets in clear are shown to nobody, and a text that comes back without them gets them again."""

from __future__ import annotations

import pytest

from gateway.config.document import parse
from gateway.config.shown import relocated, restored, shown
from gateway.core.errors import ConfigError

TEXT = """\
store: {url: "postgresql://me:hunter2@db/headgate"}
shared: {url: redis://cache:6379}
providers:
  one:
    kind: openai
    api_key: "sk-one"   # ours
    proxy: http://user:hunter3@proxy:3128
    headers: {authorization: 'Basic aHVudGVyNA==', x-plain: "Bearer ${TOKEN}"}
  two:
    api_keys: ["${TWO}", sk-two-b, {file: /run/two}, &k sk-two-d]
    # api_key: sk-old
  three: {api_key: *k}
deployments:
  odd: {model: &m sk-odd}
  # secret = sk-older
  four: {provider: one, api_key: not-of-a-provider}
# api_key: "${FOUR}"
"""
SECRETS = ["hunter2", "sk-one", "hunter3", "aHVudGVyNA==", "sk-two-b", "sk-two-d", "sk-old", "sk-older"]


def test_what_is_secret_is_shown_as_kept_and_nothing_else_is_touched() -> None:
    seen = shown(TEXT)
    assert [secret for secret in SECRETS if secret in seen] == []
    assert "store: {url: <kept>}\nshared: {url: redis://cache:6379}" in seen
    assert "    api_key: <kept>   # ours\n" in seen
    assert 'headers: {authorization: <kept>, x-plain: "Bearer ${TOKEN}"}' in seen
    assert '    api_keys: ["${TWO}", <kept 2>, {file: /run/two}, &k <kept 4>]\n    # api_key: <kept>\n' in seen
    assert '# api_key: "${FOUR}"' in seen
    assert "not-of-a-provider" in seen
    parse(seen, "seen")


def test_what_is_sent_back_is_the_text_that_was_there() -> None:
    assert restored(shown(TEXT), TEXT, "draft") == TEXT
    assert restored(TEXT, TEXT, "draft") == TEXT


def test_a_copy_of_a_secret_is_hidden_where_it_is_written() -> None:
    text = "deployments: {a: {model: &s sk-hidden}}\nproviders: {b: {api_key: *s}}\n"
    assert "sk-hidden" not in shown(text)
    assert restored(shown(text), text, "draft") == text


def test_an_edit_around_secrets_keeps_them_and_a_shortened_list_knows_which() -> None:
    seen = shown(TEXT).replace('"${TWO}", <kept 2>, {file: /run/two}, ', "").replace("# ours", "# theirs")
    back = restored(seen, TEXT, "draft")
    assert "api_keys: [&k sk-two-d]" in back
    assert '    api_key: "sk-one"   # theirs\n' in back


def test_a_mark_without_a_secret_behind_it_is_refused_by_its_place() -> None:
    with pytest.raises(ConfigError) as refused:
        restored("providers:\n  new:\n    api_key: <kept>\n    api_keys: [<kept 7>]\n", TEXT, "draft")
    assert refused.value.problems == [
        "draft:3:14: no secret is kept for providers.new.api_key: write ${NAME}",
        "draft:4:16: no secret is kept for providers.new.api_keys[0]: write ${NAME}",
    ]


def test_a_mark_where_no_secret_stands_is_text() -> None:
    assert restored("teams: {<kept>: {tags: {a: <kept>}}}\n", TEXT, "draft") == "teams: {<kept>: {tags: {a: <kept>}}}\n"


def test_a_bomb_of_aliases_is_not_unfolded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = "\n".join(lines) + "\nproviders: {p: {api_keys: *a11}}\n"
    assert shown(text) == text
    assert restored(text, text, "draft") == text


def test_a_problem_behind_the_last_line_stays_where_it_is() -> None:
    for text in ("", "a: 1\n"):
        problem = f"config.yaml:{text.count(chr(10)) + 1}:1: something is missing"
        assert relocated([problem], text, text) == [problem]
