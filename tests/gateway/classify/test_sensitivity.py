"""Sensitivity: the highest label wins, detectors see through disguises, and no doubt lowers a level."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify import Classifier, DetectorRule, Rules, TermsRule, detectors, patterns
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Principal, Sensitivity

LEVELS = ("public", "internal", "confidential", "restricted")
PUBLIC, INTERNAL, CONFIDENTIAL, RESTRICTED = range(4)
RULES = Rules(
    LEVELS,
    default=INTERNAL,
    media=CONFIDENTIAL,
    headers=("x-data-sensitivity",),
    detectors=(DetectorRule("pii", RESTRICTED), DetectorRule("secrets", CONFIDENTIAL)),
    terms=(TermsRule(("Project Falcon", "patient id"), RESTRICTED), TermsRule(("Straße",), CONFIDENTIAL)),
)
CLASSIFIER = Classifier(RULES)
ALICE = Principal("alice")
PII = Path(__file__).resolve().parents[4] / "shared" / "pii" / "dev.jsonl.gz"


def call(text: str = "hello", *, labels: tuple[tuple[str, str], ...] = (), media: bool = False) -> Call:
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": text}]}).encode()
    return Call("1", "chat", "chat", body, labels=labels, has_media=media)


def level(text: str) -> int:
    return CLASSIFIER.classify(call(text), ALICE).level


def test_a_plain_call_has_the_default_and_no_cause() -> None:
    assert CLASSIFIER.classify(call(), ALICE) == Sensitivity(INTERNAL)


def test_a_header_raises_and_never_lowers() -> None:
    def labelled(value: str) -> Sensitivity:
        return CLASSIFIER.classify(call(labels=(("x-data-sensitivity", value),)), ALICE)

    assert labelled("Restricted") == Sensitivity(RESTRICTED, ("header x-data-sensitivity",))
    assert labelled("public").level == INTERNAL
    assert labelled("public, confidential").level == CONFIDENTIAL


@pytest.mark.parametrize("value", ["secret", "", "restricted;", "public, top"])
def test_an_unknown_label_is_refused(value: str) -> None:
    with pytest.raises(BadRequest) as refused:
        CLASSIFIER.classify(call(labels=(("x-data-sensitivity", value),)), ALICE)
    assert (refused.value.code, refused.value.param) == ("invalid_sensitivity", "x-data-sensitivity")
    assert refused.value.status == 400
    assert "top" not in refused.value.message


def test_headers_that_no_rule_names_are_not_labels() -> None:
    assert CLASSIFIER.classify(call(labels=(("x-team", "whatever"),)), ALICE).level == INTERNAL


def test_a_keys_level_is_a_floor() -> None:
    bob = Principal("bob", sensitivity=CONFIDENTIAL)
    assert CLASSIFIER.classify(call(), bob) == Sensitivity(CONFIDENTIAL, ("key bob",))
    lowered = call(labels=(("x-data-sensitivity", "public"),))
    assert CLASSIFIER.classify(lowered, bob).level == CONFIDENTIAL


def test_media_count_as_configured() -> None:
    assert CLASSIFIER.classify(call(media=True), ALICE) == Sensitivity(CONFIDENTIAL, ("media",))


def test_the_cause_is_what_raised_it_highest() -> None:
    found = CLASSIFIER.classify(call("my SSN is 536-90-4399", media=True), Principal("bob", sensitivity=CONFIDENTIAL))
    assert found == Sensitivity(RESTRICTED, ("detector pii: us_ssn",))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("write to jane.doe@example.org", "email"),
        ("card 4111 1111 1111 1111 please", "credit_card"),
        ("amex 3782-822463-10005", "credit_card"),
        ("IBAN DE89 3704 0044 0532 0130 00 and more", "iban"),
        ("iban gb29nwbk60161331926819", "iban"),
        ("my SSN is 536-90-4399", "us_ssn"),
        ("ssn: 536904399", "us_ssn"),
        ("ring +49 30 901820", "phone"),
        ("call me at (212) 736-5000", "phone"),
        ("Phone: +44 20 7946 0958", "phone"),
    ],
)
def test_personal_data_is_found(text: str, cause: str) -> None:
    assert CLASSIFIER.classify(call(text), ALICE) == Sensitivity(RESTRICTED, (f"detector pii: {cause}",))


@pytest.mark.parametrize(
    "text",
    [
        "order 4111 1111 1111 1112",  # Luhn
        "DE89 3704 0044 0532 0130 01",  # mod 97
        "000-12-3456 and 666-12-3456 and 900-12-3456",  # areas never issued
        "+1 555 010",
        "git@github.com and lodash@4.17.21 and @decorator",
        "version 10.4.2019, section 3.1.4.1, 2026-11-20T18:00:00Z",
        "path M165.989 6.44252C171.627 6.44252 177.073 7.54406",
        "postgres://$USER:$PASSWORD@host/db",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "a line that speaks of -----BEGIN PRIVATE KEY----- only",
        "task-abcdefghijklmnopqrstuvwxyz-desk",
    ],
)
def test_what_only_looks_like_it_is_let_through(text: str) -> None:
    assert CLASSIFIER.classify(call(text), ALICE) == Sensitivity(INTERNAL)


DRAWN = "Kq7Zt2Wm9Xv4Rb6Np3Ls8Jd5Hf1Gc0Ty7Uw2Ea9Io4"
SECRETS = {
    "openai": "sk-proj-" + DRAWN,
    "anthropic": "sk-ant-api03-" + DRAWN,
    "aws": "AKIA" + "QX5ZJ2WM7RB3NPLT",
    "github": "ghp_" + DRAWN[:36],
    "gitlab": "glpat-" + DRAWN[:20],
    "slack": "xoxb-" + "123456-" + DRAWN[:24],
    "stripe": "sk_live_" + DRAWN[:24],
    "google": "AIza" + DRAWN[:35],
    "npm": "npm_" + DRAWN[:36],
    "huggingface": "hf_" + "qZtWmXvRbNpLsJdHfGcTyUwEaIoKqZtWmX",
}


@pytest.mark.parametrize("vendor", SECRETS)
@pytest.mark.parametrize("around", ["{}", "key={}", 'api_key: "{}"', "https://x.example/?k={}&y=1", "`{}`."])
def test_vendors_keys_are_found_wherever_they_stand(vendor: str, around: str) -> None:
    found = CLASSIFIER.classify(call(around.format(SECRETS[vendor])), ALICE)
    assert found == Sensitivity(CONFIDENTIAL, ("detector secrets: api_key",))


def test_other_secrets_are_found() -> None:
    key = "-----BEGIN RSA " + "PRIVATE KEY-----\n" + DRAWN + "\n-----END RSA PRIVATE KEY-----"
    token = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0." + DRAWN
    for text, kind in (
        (key, "private_key"),
        (token, "jwt"),
        ("postgres://app:Tr0ub4dor$5173@db:5432/x", "url_with_credentials"),
        ("jdbc:postgresql://db/app?user=root&password=xK9!136", "url_with_credentials"),
    ):
        assert CLASSIFIER.classify(call(text), ALICE).causes == (f"detector secrets: {kind}",)


@pytest.mark.parametrize(
    "disguised",
    [
        "SSN ５３６-９０-４３９９",
        "SSN 536\u200b-90-\u200d4399",
        "SSN 536\u201190\u20114399",
        "line one\n536-90-4399",
        r'{"note": "536-90-\u0034399"}',
        json.dumps({"arguments": json.dumps({"ssn": "536-90-4399"})}),
    ],
)
def test_disguises_do_not_hide_digits(disguised: str) -> None:
    assert level(disguised) == RESTRICTED


def test_digits_escaped_in_the_body_itself_are_found() -> None:
    escaped = "".join(f"\\u{ord(character):04x}" for character in "536-90-4399")
    body = b'{"messages":[{"content":"' + escaped.encode() + b'"}]}'
    assert CLASSIFIER.classify(Call("1", "chat", "chat", body), ALICE).level == RESTRICTED


def test_every_part_of_a_body_is_looked_at() -> None:
    for place in (
        {"tools": [{"function": {"name": "x", "description": "536-90-4399"}}]},
        {"messages": [{"role": "user", "name": "536-90-4399", "content": ""}]},
        {"response_format": {"schema": {"const": "536-90-4399"}}},
        {"metadata": {"card": 4111111111111111}},
    ):
        found = CLASSIFIER.classify(Call("1", "chat", "chat", json.dumps(place).encode()), ALICE)
        assert found.level == RESTRICTED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("about project falcon", RESTRICTED),
        ("PROJECT\nFALCON.", RESTRICTED),
        ("«Project  Falcon»", RESTRICTED),
        ("Patient ID: 5", RESTRICTED),
        ("in der STRAßE", CONFIDENTIAL),
        ("in der Strafle", INTERNAL),
        ("project falconry", INTERNAL),
        ("subproject falcon", INTERNAL),
        ("Hauptstraße", INTERNAL),
        ("project_falcon", INTERNAL),
    ],
)
def test_terms_are_whole_words_in_any_case(text: str, expected: int) -> None:
    assert level(text) == expected


def test_a_terms_cause_does_not_show_the_term() -> None:
    assert CLASSIFIER.classify(call("Project Falcon"), ALICE).causes == ("terms 1",)


def test_terms_are_text_not_patterns() -> None:
    classifier = Classifier(Rules(LEVELS, terms=(TermsRule(("c++ (beta)",), RESTRICTED),)))
    assert classifier.classify(call("our C++ (beta) works"), ALICE).level == RESTRICTED
    assert classifier.classify(call("our ccc beta works"), ALICE).level == PUBLIC


def test_a_failing_validator_counts_as_a_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(candidate: bytes) -> bool:
        raise ValueError("what nobody foresaw")

    broken = tuple(type(kind)(kind.detector, kind.name, kind.pattern, kind.gate, fails) for kind in patterns.KINDS)
    monkeypatch.setattr(detectors, "KINDS", broken)
    monkeypatch.setattr("gateway.classify.sensitivity.compiled", detectors.Detectors)
    found = Classifier(RULES).classify(call("order 4111 1111 1111 1112"), ALICE)
    assert found == Sensitivity(RESTRICTED, ("detector pii: credit_card, unchecked",))


def test_more_candidates_than_the_allowance_count_as_a_hit() -> None:
    many = " ".join(f"4111 1111 1111 {number:04d}" for number in range(0, 60000, 10) if number % 9)
    wrong = " ".join("4111 1111 1111 1112" for _ in range(5000))
    assert CLASSIFIER.classify(call(wrong), ALICE).causes == ("detector pii: credit_card, unchecked",)
    assert CLASSIFIER.classify(call(many), ALICE).level == RESTRICTED


@given(st.binary(min_size=2000, max_size=6000), st.integers(0, 1))
def test_what_is_at_the_end_of_any_text_is_found(noise: bytes, tail: int) -> None:
    ending = (b" 536-90-4399 ", b" Project Falcon ")[tail]
    assert CLASSIFIER.classify(Call("1", "chat", "chat", noise + ending), ALICE).level == RESTRICTED


def test_equal_configs_share_what_was_compiled() -> None:
    assert detectors.compiled(("pii",), (("x",),)) is detectors.compiled(("pii",), (("x",),))


def test_without_rules_nothing_is_scanned() -> None:
    assert Classifier(Rules(LEVELS)).classify(call("536-90-4399"), ALICE) == Sensitivity(PUBLIC)


@pytest.mark.corpus
@pytest.mark.skipif(not PII.exists(), reason="the labelled documents are not beside the repository")
def test_the_labelled_documents_are_found_and_clean_ones_pass() -> None:
    """The first set's own kinds only; `make pii-bench` prints the whole table."""
    kinds = {kind.name for kind in patterns.KINDS}
    documents = [json.loads(line) for line in gzip.decompress(PII.read_bytes()).splitlines()]
    found = wanted = alarms = clean = 0
    for document in documents:
        if document["tier"] != "plain":
            continue
        strong = [
            span
            for span in document["spans"]
            if span["checkable"] and not span.get("needs_context") and not span.get("optional")
        ]
        if strong and all(span["type"] in kinds for span in strong):
            wanted += 1
            found += level(document["text"]) > INTERNAL
        elif document["negative"] and document["complete"]:
            clean += 1
            alarms += level(document["text"]) > INTERNAL
    assert found / wanted > 0.95
    assert alarms / clean < 0.02
