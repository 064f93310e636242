"""The live measurements: quantiles over sliding windows, calls in flight, learned lengths."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import Usage
from gateway.core.policy import Measured, View
from gateway.core.types import Call, Endpoint, Origin
from gateway.measure import Measurements


def stream(measurements: Measurements, now: float, ttft_s: float, tpot_s: float = 0.01, name: str = "a") -> None:
    measurements.record(name, 500, now, ttft_s=ttft_s, total_s=ttft_s + 100 * tpot_s, output_tokens=101)


def seen(view: View, name: str = "a", bucket: int = 0) -> Measured:
    return view.measured[name, bucket]


@pytest.mark.parametrize("scale", [0.003, 0.4, 20.0])
def test_quantiles_are_within_a_few_per_cent(scale):
    measurements, dice = Measurements(), random.Random(7)
    values = [dice.lognormvariate(0, 0.7) * scale for _ in range(2000)]
    for value in values:
        stream(measurements, 1.0, value, value / 10)
    found = seen(measurements.view(3.0, 0.5))
    values.sort()
    assert found.samples == 2000
    assert found.ttft_p50_s == pytest.approx(values[1000], rel=0.06)
    assert found.ttft_p95_s == pytest.approx(values[1900], rel=0.06)
    assert found.tpot_p50_s == pytest.approx(values[1000] / 10, rel=0.06)


def test_calls_leave_the_window_and_so_does_a_deployment_that_has_none_left():
    measurements = Measurements()
    stream(measurements, 0.0, 5.0)
    for second in range(100, 200):
        stream(measurements, float(second), 0.1)
    assert seen(measurements.view(200.0, 0.5)).samples == 101
    late = seen(measurements.view(350.0, 0.5))
    assert late.samples == 100
    assert late.ttft_p95_s == pytest.approx(0.1, rel=0.1)
    assert measurements.view(520.0, 0.5).measured == {}
    stream(measurements, 530.0, 2.0)
    assert seen(measurements.view(532.0, 0.5)).samples == 1


@given(st.lists(st.tuples(st.floats(0, 90), st.floats(0, 1000)), max_size=60))
def test_a_window_counts_what_a_list_of_calls_would(calls):
    measurements, kept, now = Measurements(), [], 0.0
    for wait, ttft in calls:
        now += wait
        stream(measurements, now, ttft)
        kept.append(now)
    now += 2.0
    view = measurements.view(now, 0.5)
    samples = seen(view).samples if calls else 0
    assert sum(now - 290 < at for at in kept) <= samples <= sum(now - 310 < at for at in kept)


def test_quantiles_are_worked_out_at_most_once_a_second():
    measurements = Measurements()
    stream(measurements, 100.0, 0.1)
    first = seen(measurements.view(100.0, 0.5))
    stream(measurements, 100.1, 0.1)
    assert seen(measurements.view(100.5, 0.5)) is first
    assert seen(measurements.view(101.1, 0.5)).samples == 2


def test_a_thousand_deployments_are_refreshed_a_few_at_a_time():
    measurements = Measurements()
    measurements.view(100.0, 0.5)
    for index in range(100):
        stream(measurements, 100.5, 0.1, name=f"d{index}")
    sizes = [len(measurements.view(101.1, 0.5).measured) for _ in range(5)]
    assert sizes == [32, 64, 96, 100, 100]
    assert len(measurements.view(200.0, 0.5).measured) == 100


def test_prompts_of_different_size_are_measured_apart():
    measurements = Measurements()
    measurements.record("a", 1024, 0.0, ttft_s=0.1, total_s=1.0, output_tokens=10)
    measurements.record("a", 1025, 0.0, ttft_s=9.0, total_s=10.0, output_tokens=10)
    view = measurements.view(1.0, 0.5)
    assert seen(view, bucket=0).ttft_p50_s < 1 < seen(view, bucket=1).ttft_p50_s


def test_an_answer_in_one_piece_has_no_time_to_first_token():
    measurements = Measurements()
    measurements.record("a", 500, 0.0, ttft_s=None, total_s=2.0, output_tokens=100)
    found = seen(measurements.view(1.0, 0.5))
    assert found.samples == 1
    assert math.isnan(found.ttft_p95_s)
    assert found.tpot_p50_s == pytest.approx(0.02, rel=0.06)


def test_where_streams_have_shown_the_time_to_first_token_it_is_left_out_of_the_time_per_token():
    measurements = Measurements()
    stream(measurements, 0.0, 1.0, 0.01)
    measurements.view(1.0, 0.5)
    measurements.record("a", 500, 1.0, ttft_s=None, total_s=1.1, output_tokens=10)
    assert seen(measurements.view(2.0, 0.5)).tpot_p95_s < 0.03


def test_windows_of_other_lengths_are_measured_beside_the_default():
    measurements = Measurements([60.0])
    stream(measurements, 0.0, 5.0)
    stream(measurements, 100.0, 0.1)
    view = measurements.view(102.0, 0.5)
    assert seen(view).samples == 2
    assert view.windows[60.0]["a", 0].samples == 1
    assert view.windows[300.0] is view.measured
    measurements.watch([])
    assert list(measurements.view(104.0, 0.5).windows) == [300.0]
    assert seen(measurements.view(104.0, 0.5)).samples == 2


def test_calls_in_flight_are_counted_in_and_out():
    measurements, where = Measurements(), Origin("http", "host.test", 80)
    first, second, other = (Endpoint(id, id[0], "p", where) for id in ("a#0", "a#1", "b#0"))
    for endpoint in (first, second, second, other):
        measurements.begin(endpoint)
    measurements.end(other)
    assert measurements.view(0.0, 0.5).in_flight == {"a": 3}
    assert measurements.at_endpoints == {"a#0": 1, "a#1": 2}
    for endpoint in (first, second, second):
        measurements.end(endpoint)
    assert measurements.at_endpoints == {}
    with pytest.raises(KeyError):
        measurements.end(first)


CALL = Call("1", "chat", "chat", b"x" * 3000, model="chat")


def test_lengths_are_learned_from_usage():
    measurements = Measurements()
    assert measurements.expected_output("chat", None) == 256
    assert measurements.expected_output("chat", 50) == 50
    assert measurements.input_tokens("chat", 400) == 101
    measurements.learn(CALL, "a", Usage(fresh_input=250, cached_input=750, output_text=90, reasoning=10))
    assert measurements.expected_output("chat", None) == 100
    assert measurements.expected_output("chat", 50) == 50
    assert measurements.expected_output("chat", 5000) == 100
    assert measurements.input_tokens("chat", 300) == 101
    view = measurements.view(0.0, 0.5)
    assert view.cached_share == {"a": 0.75}
    assert view.output_tokens == {"chat": {"a": 100}}
    for _ in range(100):
        measurements.learn(CALL, "b", Usage(fresh_input=1000, output_text=900))
    assert measurements.expected_output("chat", None) == pytest.approx(900, abs=2)
    assert measurements.view(0.0, 0.5).output_tokens["chat"]["a"] == 100


def test_estimates_suspect_usage_and_media_teach_nothing_wrong():
    measurements = Measurements()
    measurements.learn(CALL, "a", Usage(fresh_input=1, output_text=9, estimated=True))
    measurements.learn(CALL, "a", Usage(fresh_input=1, output_text=9, suspect=True))
    assert measurements.expected_output("chat", None) == 256
    media = Call("1", "chat", "chat", b"x" * 1_000_000, model="chat", has_media=True)
    measurements.learn(media, "a", Usage(fresh_input=1000, output_text=9))
    assert measurements.input_tokens("chat", 400) == 101


def test_names_that_callers_invent_do_not_grow_without_bound():
    measurements = Measurements()
    for index in range(10_000):
        measurements.learn(Call("1", "chat", "chat", b"xx", model=f"m{index}"), "a", Usage(1, output_text=9))
    assert len(measurements.view(0.0, 0.5).output_tokens) <= 4096


def test_a_deployment_that_left_the_config_is_forgotten():
    measurements = Measurements()
    for name in ("a", "b"):
        stream(measurements, 0.0, 0.1, name=name)
        measurements.learn(CALL, name, Usage(10, output_text=9))
    measurements.view(1.0, 0.5)
    measurements.keep(["b"])
    view = measurements.view(1.0, 0.5)
    assert list(view.measured) == [("b", 0)]
    assert view.output_tokens == {"chat": {"b": 9}}
