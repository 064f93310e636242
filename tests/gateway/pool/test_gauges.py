"""What is read of a replica's /metrics, and handed to the routers."""

from __future__ import annotations

import msgspec

from gateway.pool.gauges import read
from gateway.simulator.vllm import Metrics, Vitals

PAGE = b"""
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 1.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.2
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.6
vllm:cache_config_info{block_size="16",engine="0",kv_cache_size_tokens="1600",num_gpu_blocks="100"} 1.0
vllm:cache_config_info{block_size="16",engine="1",num_gpu_blocks="200"} 1.0
process_start_time_seconds 1.79e+09
"""


def test_engines_of_a_server_are_summed() -> None:
    gauges = read(PAGE, 5.0)
    assert (gauges.running, gauges.waiting, gauges.kv_tokens, gauges.born_at, gauges.at) == (7, 1, 4800, 1.79e9, 5.0)
    assert round(gauges.kv_usage, 6) == 0.4


def test_a_rank_has_its_own() -> None:
    gauges = read(PAGE, 5.0, "1")
    assert (gauges.running, gauges.waiting, gauges.kv_usage, gauges.kv_tokens) == (4, 0, 0.6, 3200)


def test_a_page_of_anything_else_is_of_nothing() -> None:
    assert read(b'<html>\nvllm:num_requests_running{a="b"} NaN\nvllm:num_requests_waiting{ 3', 1.0) == read(b"", 1.0)


def test_the_simulators_page_is_read_as_it_is_meant() -> None:
    page = Metrics().page("m", Vitals(2, 3, 0.5, 7.0, blocks=10, block_tokens=16, steps=4))
    gauges = read(page, 1.0)
    assert msgspec.structs.astuple(gauges) == (1.0, 2, 3, 0.5, 160, 7.0, 4, 0.0, 0, False)
