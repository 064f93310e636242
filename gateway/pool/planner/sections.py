"""The figures of a plan, each with its formula: weights, KV, a GPU's memory, speed, the link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.pool.planner.architecture import Architecture, active_of, parts_of
from gateway.pool.planner.figures import GIB, Figure, Mark, Section, write
from gateway.pool.planner.fit import Candidate, Wanted
from gateway.pool.planner.layout import Layout
from gateway.pool.planner.memory import budget_of, cache_of, nominal_bytes
from gateway.pool.planner.rates import (
    ARITHMETIC_ERROR,
    BANDWIDTH_ERROR,
    CEILING,
    Efficiency,
    Machine,
    Replica,
    attention_flops,
    decode_step,
    first_token_s,
    prefill_rate,
    prefill_step,
    read_bytes,
    reduce_bytes,
    touched_bytes,
)

_SHEET: Final = "data sheet [K]"


def weights_section(wanted: Wanted) -> Section:
    """Parameters and bytes."""
    model, form, weights = wanted.model, wanted.format, wanted.weights
    total = parts_of(model).total
    figures = [
        Figure("parameters", total, "parameters", "fact", *_counted(model), 0.001, model.source),
    ]
    if model.experts:
        figures.append(
            Figure(
                "active for one token",
                active_of(model),
                "parameters",
                "fact",
                "all − experts·(1 − k/E)",
                f"{total / 1e9:.2f} B − {parts_of(model).experts / 1e9:.2f} B · (1 − {model.chosen}/{model.experts})",
                0.001,
                model.source,
            )
        )
    nominal = nominal_bytes(model, form)
    figures.append(
        Figure(
            f"weights, plain {form.name}",
            nominal,
            "bytes",
            "fact",
            "parameters·bits/8",
            f"{total:,} · {form.nominal_bits} / 8",
            0.001,
            form.source,
        )
    )
    if weights.exact:
        figures.append(
            Figure(
                "weights in the checkpoint",
                weights.total,
                "bytes",
                "fact",
                "Σ data_offsets of all tensors",
                "",
                0.0,
                "safetensors headers",
            )
        )
    elif abs(weights.total / nominal - 1) > 0.002:
        wide = (parts_of(model).embedding + parts_of(model).head) * form.rest_bits / 8
        figures.append(
            Figure(
                "weights as published",
                weights.total,
                "bytes",
                "estimate",
                "Σ part·bits/8; ends stay wide",
                f"{(weights.total - wide) / 1e9:.2f} GB at {form.bits:g} bits, {wide / 1e9:.2f} GB at {form.rest_bits}",
                0.02,
                form.source,
            )
        )
    return Section("weights", tuple(figures))


def _counted(model: Architecture) -> tuple[str, str]:
    d, layers = model.hidden, model.layers
    ends = f"{model.vocabulary:,}·{d:,}·{1 if model.tied else 2}"
    parts = parts_of(model)
    if model.latent:
        attention = f"{(parts.attention + parts.held) // layers / 1e6:.1f} M of MLA"
    else:
        heads, kv = model.heads * model.head_width, model.kv_heads * model.head_width
        attention = f"2·{d:,}·{heads:,} + 2·{d:,}·{kv:,}"
    if model.experts:
        routed = f"{model.experts}·{model.matrices}·{d:,}·{model.expert_width:,}"
        return (
            "ends + L·attention + L·experts",
            f"{ends} + {layers}·({attention}) + {model.mixture_layers}·({routed} + {model.matrices}·{d:,}·"
            f"{model.shared_width:,} + {d:,}·{model.experts}) + {parts.dense / 1e9:.2f} B of dense layers",
        )
    feed = f"{model.matrices}·{d:,}·{model.width:,}"
    return (
        "ends + L·(attention + ff + norms)",
        f"{ends} + {layers}·({attention} + {feed} + 2·{d:,}) + {d:,}",
    )


def cache_section(wanted: Wanted, cache_name: str) -> Section:
    """What tokens, sequences and all of them take in the KV cache."""
    model, size = wanted.model, wanted.value_bytes
    cache = cache_of(model, size)
    full = model.attention_layers - model.window_layers
    figures, notes = [], []
    if model.latent:
        latent = f"{model.layers}·({model.latent} + {model.rope})·{size:g}"
        formula = "L·(kv_lora_rank + qk_rope_head_dim)·b"
        if model.index_heads:
            formula += " + L·132"
            latent = (f"{model.layers}·656" if size == 1 else latent) + f" + {model.layers}·132"
            notes.append("656 B: vLLM's fp8_ds_mla layout, in fp8; 132 B: the sparse indexer's key")
        worked = latent
        notes.append("one latent for all heads: tensor parallelism repeats it on every GPU, DP+EP does not")
    else:
        formula = "2·L·nkv·hd·b"
        worked = f"2·{full}·{model.kv_heads}·{model.head_width}·{size:g}"
    source = f"{model.source}; {cache_name} is {size:g} B a value"
    figures.append(Figure("a token", cache.per_token, "B/token", "fact", formula, worked, 0.0, source))
    if model.window_layers:
        figures.append(
            Figure(
                f"a token within {model.window:,}",
                cache.per_window_token,
                "B/token",
                "fact",
                "2·L_window·nkv·hd·b",
                f"2·{model.window_layers}·{model.kv_heads}·{model.head_width}·{size:g}",
                0.0,
                source,
            )
        )
    if model.state_layers:
        figures.append(
            Figure(
                "a sequence's state",
                cache.constant,
                "bytes",
                "estimate",
                "L_state·heads·key·value·2",
                f"{model.state_layers}·{model.state_values:,}·2",
                0.1,
                source,
            )
        )
    one = cache.sequence(wanted.context)
    window = f" + {cache.per_window_token:,.0f}·{min(wanted.context, model.window):,}" if model.window_layers else ""
    figures.append(
        Figure(
            f"a sequence of {wanted.context:,}",
            one,
            "bytes",
            "fact",
            "tokens·B/token, whole blocks",
            f"{cache.per_token:,.0f}·{wanted.context:,}{window}",
            0.0,
            source,
        )
    )
    figures.append(
        Figure(
            f"{wanted.concurrency} sequences of {wanted.context:,}",
            one * wanted.concurrency,
            "bytes",
            "fact",
            "sequences·tokens·B/token",
            f"{wanted.concurrency}·({cache.per_token:,.0f}·{wanted.context:,}{window})",
            0.0,
            source,
        )
    )
    return Section(f"KV cache, {cache_name}", tuple(figures), tuple(notes))


# part of a budget -> vLLM's words for it, in its log
_IN_THE_LOG: Final[Mapping[str, str]] = {
    "usable": "Desired GPU memory utilization",
    "weights": "Model loading took",
    "context": "consumed memory − weights",
    "activation": "for peak activation",
    "graphs": "for CUDAGraph memory",
    "cache": "Available KV cache memory",
    "tokens": "GPU KV cache size",
}


def memory_section(wanted: Wanted, best: Candidate) -> Section:
    """One GPU's memory, and what its replica holds; what a log measured stands beside what the formula said."""
    budget, replica = best.budget, best.replica
    layout, gpu, engine, context = replica.layout, replica.machine.gpu, replica.engine, wanted.context
    formula = budget_of(wanted.model, wanted.weights, wanted.value_bytes, gpu, layout, engine)
    model, over, said = wanted.model, budget.overhead, formula.overhead
    room = formula.sequences(context)

    def figure(part: str, values: tuple[float, float], told: Figure) -> Figure:
        if part not in budget.measured:
            return told
        was = write(values[1], told.unit)
        return Figure(told.name, values[0], told.unit, "measured", _IN_THE_LOG[part], f"the formula said {was}")

    rows = (
        figure("usable", (budget.usable, formula.usable), Figure(
            "usable", formula.usable, "GiB", "estimate", "--memory·usable GiB",
            f"{engine.utilisation:g}·{gpu.memory_bytes / GIB:.1f} GiB", 0.01, gpu.source)),
        figure("weights", (budget.weights, formula.weights), Figure(
            "weights", formula.weights, "GiB", "estimate", f"split by {layout.name}; the fullest",
            f"{wanted.weights.total / 1e9:.1f} GB over {layout.gpus}, and what each holds whole", 0.02, model.source)),
        figure("context", (over.context, said.context), Figure(
            "CUDA and NCCL", said.context, "GiB", "estimate", "0.5 + 0.125·min(ranks, 8) GiB",
            f"0.5 + 0.125·{min(layout.gpus, 8)} GiB", 0.5, "0.5 to 1.5 GiB in logs [K]")),
        figure("activation", (over.activation, said.activation), Figure(
            "activations, logits", said.activation, "GiB", "estimate", "batch·(3·d + 2·ff/TP)·2 + seqs·V·4",
            f"{engine.batched_tokens:,}·(3·{model.hidden:,} + 2·ff/{layout.tensor})·2 + "
            f"{engine.sequences:,}·{model.vocabulary:,}·4", 0.5, "vLLM's profile run at max_num_batched_tokens")),
        figure("graphs", (over.graphs, said.graphs), Figure(
            "CUDA graphs", said.graphs, "GiB", "estimate", "0.3 GiB", "", 1.0,
            "0.2 to 0.7 GiB in logs of 8B models, up to 4 of large mixtures")),
        figure("cache", (budget.cache, formula.cache), Figure(
            "left for KV, each GPU", budget.cache, "GiB", "estimate", "usable − weights − the rest",
            f"{budget.usable / GIB:.1f} − {budget.weights / GIB:.1f} − {over.total / GIB:.1f} GiB", 0.05,
            "gpu_worker.py profiles the same sum")),
        figure("tokens", (best.sequences * context, room * context), Figure(
            "KV of a replica", best.sequences * context, "tokens", "estimate", "KV / a sequence · its tokens",
            f"{budget.cache / GIB:.1f} GiB / {budget.per_gpu.sequence(context) / GIB:.4f} GiB · {context:,}", 0.05,
            "GPU KV cache size, in vLLM's log")),
        figure("tokens", (best.sequences, room), Figure(
            f"at once, of {context:,} tokens", best.sequences, "sequences", "estimate", "KV tokens / tokens",
            f"{best.sequences * context:,.0f} / {context:,}", 0.05, "Maximum concurrency, in vLLM's log")),
    )  # fmt: skip
    return Section(f"memory of one {gpu.label} of {layout.gpus} in {layout.name}", rows)


def speed_section(wanted: Wanted, best: Candidate, efficiency: Efficiency, measured: bool, length: float) -> Section:
    """Tokens a second: of one stream, of all, of prompts."""
    replica = best.replica
    gpu, layout, context = replica.machine.gpu, replica.layout, float(wanted.context)
    whole = touched_bytes(_alone(replica), 1)
    bandwidth = gpu.bandwidth_gb_s
    ceiling = decode_step(replica, 1, context, CEILING)
    usual = decode_step(replica, 1, context, efficiency)
    step = decode_step(replica, best.batch, context, efficiency)
    mark: Mark = "measured" if measured else "estimate"
    off = 0.05 if measured else BANDWIDTH_ERROR
    read = (touched_bytes(replica, best.batch / layout.pipeline), read_bytes(replica, context))
    flops = 2 * active_of(wanted.model) + attention_flops(wanted.model, length / 2)
    rate = prefill_rate(replica, length, efficiency)
    figures = [
        Figure(
            f"one stream at one {gpu.label}'s BW", bandwidth * 1e9 / whole, "tokens/s", "estimate",
            "bandwidth / weights of a token", f"{bandwidth:,.0f} GB/s / {whole / 1e9:.1f} GB", 0.05,
            f"{_SHEET}; a ceiling, whether the weights fit on one or not",
        ),
        Figure(
            f"one stream, {layout.name}, at most", 1 / ceiling.total_s, "tokens/s", "estimate",
            "1 / (bytes / BW + messages)", f"1 / {ceiling.total_s * 1e3:.2f} ms", 0.05, _SHEET,
        ),
        Figure(
            f"one stream, {layout.name}, usually", 1 / usual.total_s, "tokens/s", mark,
            f"the same at {efficiency.bandwidth:.0%} of the BW", f"1 / {usual.total_s * 1e3:.2f} ms", off,
            "time per output token in vLLM's metrics" if measured else "0.6 to 0.8 of the data sheet is had [K]",
        ),
        Figure(
            f"a step of {best.batch:,} at {wanted.context:,}", step.total_s * 1e3, "ms", mark,
            "max(bytes/BW·η, FLOPs/F·η) + messages",
            f"({read[0] / 1e9:.1f} + {max(1.0, best.batch / layout.pipeline):.0f}·{read[1] / 1e9:.3f} GB)"
            f" / ({bandwidth:,.0f}·{efficiency.bandwidth:.2f} GB/s) = {step.memory_s * 1e3:.1f} ms;"
            f" arithmetic {step.arithmetic_s * 1e3:.1f}, link {step.link_s * 1e3:.1f}, launches"
            f" {step.launch_s * 1e3:.1f} ms",
            off,
        ),
        Figure(
            "output of a replica", best.batch / step.total_s, "tokens/s", mark, "sequences / step",
            f"{best.batch:,} / {step.total_s * 1e3:.1f} ms", off, "",
        ),
        Figure(
            "prompts of a replica", rate, "tokens/s", "estimate", "η·F·g / (2·active + 2·L·nh·hd·s)",
            f"{efficiency.arithmetic:.2f}·{gpu.tflops(replica.format.arithmetic):,.0f} TFLOPS·{layout.gpus}"
            f" / {flops / 1e9:.1f} GFLOP", ARITHMETIC_ERROR, "0.35 to 0.55 of the data sheet is had [K]",
        ),
        Figure(
            f"first token of {length:,.0f}", first_token_s(replica, length, efficiency) * 1e3, "ms", "estimate",
            "prompt / prefill rate, no queue", f"{length:,.0f} tokens through {layout.pipeline} stage(s)",
            ARITHMETIC_ERROR, "",
        ),
    ]  # fmt: skip
    notes = [f"a step is bound by {step.bound}"]
    if best.slow:
        notes.append(
            f"with {best.batch:,} at once a token takes longer than the {wanted.tpot_s * 1e3:.0f} ms asked for (--tpot)"
        )
    elif best.batch < int(min(best.sequences, replica.engine.sequences)):
        notes.append(
            f"more sequences would fit; a token would then take longer than {wanted.tpot_s * 1e3:.0f} ms (--tpot)"
        )
    return Section(f"speed of a replica, {layout.name} on {layout.gpus}×{gpu.label}", tuple(figures), tuple(notes))


def _alone(replica: Replica) -> Replica:
    """The same on one GPU, whether it fits there or not."""
    return msgspec.structs.replace(replica, layout=Layout())


def link_section(wanted: Wanted, machine: Machine, replica: Replica, batch: int) -> Section:
    """What splitting tensors costs over a link, beside the same GPUs that need not speak."""
    layout, context = replica.layout, float(wanted.context)
    link = machine.link_of(layout)
    sent = reduce_bytes(wanted.model, layout.tensor)
    chunk = float(replica.engine.batched_tokens)
    decode, prefill = decode_step(replica, batch, context), prefill_step(replica, chunk, context)
    shares = (1 - decode.link_s / decode.total_s, 1 - prefill.link_s / prefill.total_s)
    per_token = sent / (link.one_way_gb_s * 1e9 * 0.8) * 1e3
    figures = (
        Figure(
            "sent by each GPU for a token", sent, "bytes", "fact", "2·L·2·(n−1)/n·d·2 B",
            f"2·{wanted.model.layers}·2·{layout.tensor - 1}/{layout.tensor}·{wanted.model.hidden:,}·2", 0.0,
            "two all-reduces a layer",
        ),
        Figure(
            "that takes", per_token, "ms", "estimate", "bytes / (link, one way·0.8)",
            f"{sent / 1e6:.2f} MB / ({link.one_way_gb_s:g}·0.8 GB/s)", 0.15, link.name,
        ),
        Figure(
            "of their prefill they do", shares[1], "%", "estimate", "1 − messages / step",
            f"1 − {prefill.link_s * 1e3:,.0f} / {prefill.total_s * 1e3:,.0f} ms, {chunk:,.0f} tokens", 0.2, link.name,
        ),
        Figure(
            f"of their decode, {batch} at once", shares[0], "%", "estimate", "1 − messages / step",
            f"1 − {decode.link_s * 1e3:.1f} / {decode.total_s * 1e3:.1f} ms, {2 * wanted.model.layers}"
            f" all-reduces of {link.latency_us:g} µs and {batch} tokens", 0.3, link.name,
        ),
    )  # fmt: skip
    return Section(f"tensor parallelism over {layout.tensor}, {link.name}", figures)
