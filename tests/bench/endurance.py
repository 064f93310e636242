"""What is measured of Headgate's own weight: open streams, churn, translation, growth, start and memory."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.bench import servers
from tests.bench.cases import LASTING, Bench, compare, streams
from tests.bench.configs import Config, add_keys, everything_on, holding, many_deployments, many_rules, translating
from tests.bench.figures import BadRound, Row, against, medians, settle, void_note
from tests.bench.peers import ROOT
from tests.bench.processes import LOAD_CORE, Contender, free_port
from tests.bench.report import Columns, Section, Target, at_least, at_most, none_of
from tests.bench.wrk import Load, unary

_HELD = 5000
_TENTHS = 10
_CLIENTS = 200
_SUSTAINED_S = 60
_WAITING_MB = 128.0  # half of the journal's room
_FLAT = 5.0  # %: an allocator breathes
_SDKS = ("anthropic", "boto3", "cohere", "google.genai", "groq", "mistralai", "openai")

SUSTAINED: Columns = (
    ("calls_per_s", "calls/s"),
    ("cpu_s_per_1000", "CPU s / 1,000 calls"),
    ("core_share", "its core"),
    ("p99_ms", "p99 ms"),
    ("journal_mb", "journal at most, MB"),
)
SLOW: Columns = (
    ("open", "open"),
    ("kb_per_stream", "RSS KB / stream"),
    ("before_mb", "RSS before, MB"),
    ("rss_mb", "RSS held, MB"),
    ("core_share", "its core"),
    ("chunks_per_s", "chunks/s"),
    ("chunk_p99_ms", "chunk p99 ms"),
    ("lost", "lost"),
    ("failed", "failed"),
    ("generator_share", "load's core"),
)
CHURN: Columns = tuple((f"mb_{tenth}", f"{tenth * 10} %") for tenth in range(1, _TENTHS + 1))
TRANSLATED: Columns = (
    ("chunks_per_s", "chunks/s"),
    ("cpu_ms_per_1000_chunks", "CPU ms / 1,000 chunks"),
    ("possible", "chunks/s of a whole core"),
    ("chunk_p99_ms", "chunk p99 ms"),
    ("lost", "lost"),
    ("failed", "failed"),
    ("generator_share", "load's core"),
)
GROWTH: Columns = (
    ("calls_per_s", "calls/s"),
    ("fall_percent", "slower, %"),
    ("cpu_s_per_1000", "CPU s / 1,000 calls"),
    ("idle_mb", "idle MB"),
)
START: Columns = (("start_s", "serving after s"), ("idle_mb", "idle MB"))


def sustained_cases(bench: Bench) -> Iterator[Section]:
    """A minute of all that one core takes: receipts have to leave as fast as they come."""
    place = bench.place()
    with (
        servers.upstream(free_port(), LOAD_CORE, bench.folder) as upstream,
        servers.headgate(free_port(), everything_on(upstream.port), place) as contender,
    ):
        unary(Load(), 2, bench.folder, contender)
        refused, rows, notes = 0, {}, []
        with _sampled(partial(_size_mb, place / "journal")) as samples:
            try:
                rows["headgate"] = unary(Load(), _SUSTAINED_S, bench.folder, contender)
            except BadRound as error:
                refused, notes = 1, [f"{error}."]
    for row in rows.values():
        row["journal_mb"] = max(samples)
    yield Section(
        f"{_SUSTAINED_S} s at all that a core takes",
        "Unary, 1 KB prompts, 32 clients; what a round of seconds cannot tell: receipts leave the journal for SQLite "
        "on the same core, and a gateway whose journal is full refuses calls.",
        SUSTAINED,
        rows,
        notes,
        [
            none_of(f"{_SUSTAINED_S} s at all that a core takes: calls refused", refused),
            at_most(f"{_SUSTAINED_S} s at all that a core takes: receipts waiting", _WAITING_MB, max(samples), "MB"),
        ],
    )


def _size_mb(folder: Path) -> float:
    size = 0
    for path in folder.glob("*.journal"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size / 1e6


def slow_cases(bench: Bench) -> Iterator[Section]:
    """5,000 open streams, a chunk each 2 s, on fresh processes."""
    warm_s, every_s = 2.5, 2.0
    chunks = round((_HELD / 1000 + warm_s + bench.seconds) / every_s) + 1
    pace = ["--every-ms", str(every_s * 1000), "--warm-s", str(warm_s), "--chunks", str(chunks)]
    found: dict[str, list[Row]] = {"nginx": [], "headgate": []}
    for _ in range(bench.rounds):
        port = free_port()
        for start in (
            partial(servers.nginx, free_port(), port, bench.folder),
            partial(servers.headgate, free_port(), holding(port, 2 * _HELD), bench.place()),
        ):
            with start() as contender:
                time.sleep(1)
                before = contender.rss_mb()
                row = streams(port, contender, _HELD, bench.seconds, pace)
                row |= {"before_mb": before, "kb_per_stream": (row["rss_mb"] - before) * 1000 / _HELD}
                found[contender.name].append(row)
                print(f"  {contender.name}: {row['kb_per_stream']:.1f} KB a stream", file=sys.stderr, flush=True)
    lasting = (*LASTING, "open", "lost", "failed", "before_mb", "rss_mb", "kb_per_stream")
    rows = {name: settle(measured, lasting) for name, measured in found.items()}
    held = min(row["open"] for row in found["headgate"])
    lost = max(row["lost"] + row["failed"] for row in found["headgate"])
    yield Section(
        f"{_HELD:,} open, slow streams",
        f"A chunk each {every_s:g} s; the memory of a fresh process before, and while all are open. {bench.said()}",
        SLOW,
        rows,
        [note for name, measured in found.items() if (note := void_note(name, measured))],
        [
            at_most(f"{_HELD:,} open streams: RSS of each", 45, rows["headgate"]["kb_per_stream"], "KB"),
            at_least(f"{_HELD:,} open streams: held at once, in the worst round", _HELD, held),
            none_of(f"{_HELD:,} open streams: chunks lost or streams failed, in any round", lost),
        ],
    )


def churn_cases(bench: Bench) -> Iterator[Section]:
    """Streams that come and go on new connections; a third of the callers hang up midway."""
    port = free_port()
    pace = ["--every-ms", "50", "--chunks", "20", "--prompt-bytes", "64000", "--churn", "0.33"]
    with (
        servers.headgate(free_port(), everything_on(port), bench.place()) as contender,
        _sampled(contender.rss_mb) as samples,
    ):
        row = streams(port, contender, _CLIENTS, bench.churn_seconds, pace)
    tenths = [
        statistics.median(samples[len(samples) * tenth // _TENTHS : len(samples) * (tenth + 1) // _TENTHS])
        for tenth in range(_TENTHS)
    ]
    growth = (tenths[-1] / tenths[1] - 1) * 100
    minutes = f"{bench.churn_seconds / 60:.3g}"
    yield Section(
        f"Churn, {minutes} minutes",
        f"{_CLIENTS} clients, each stream on a new connection, 20 chunks at 50 ms, prompts of up to 64 KB; a third of "
        "the callers hang up midway. RSS in MB, the median of each tenth of the time. The first tenth warms up: growth "
        "is from the second to the last.",
        CHURN,
        {"headgate": {f"mb_{tenth}": value for tenth, value in enumerate(tenths, 1)}},
        [f"{row['streams']:,.0f} streams ended, {row['lost']:.0f} chunks lost, {row['core_share']:.0%} of its core."],
        [
            at_most(f"{minutes} minutes of churn: growth of RSS", _FLAT, growth, "%"),
            none_of(f"{minutes} minutes of churn: chunks lost or streams failed", row["lost"] + row["failed"]),
        ],
    )


@contextlib.contextmanager
def _sampled(read: Callable[[], float]) -> Iterator[list[float]]:
    """Reads a figure twice a second, beside whatever the block does."""
    samples: list[float] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.5):
            samples.append(read())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def translated_cases(bench: Bench) -> Iterator[Section]:
    """200 streams relayed, and the same translated from Anthropic's wire."""
    port = free_port()
    models = {"relayed": "bench", "translated": "bench-translated"}
    with servers.headgate(free_port(), translating(port), bench.place()) as gateway:
        both = [replace(gateway, name=name) for name in models]

        def measure(contender: Contender) -> Row:
            return streams(port, contender, 200, bench.seconds, ["--model", models[contender.name]])

        rows, notes = compare(measure, both, bench.rounds)
    for row in rows.values():
        row["possible"] = 1e6 / row["cpu_ms_per_1000_chunks"]
    yield Section(
        "Streams translated from Anthropic's wire",
        "200 streams, a chunk each 20 ms, asked for in OpenAI's wire: relayed from an upstream that speaks it, and "
        "translated from one that speaks Anthropic's. One process of a generator cannot fill the core, so that what a "
        f"whole core would carry is reckoned from the CPU of a chunk. {bench.said()}",
        TRANSLATED,
        rows,
        notes,
        [
            at_least(
                "translated streams: chunk rate ÷ the relay's", 0.6, against(rows, "translated", "possible", "relayed")
            )
        ],
    )


def growth_cases(bench: Bench) -> Iterator[Section]:
    """Many keys, deployments and rules, one at a time, against few of all."""
    small = "10 keys, 2 deployments, 5 rules"
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(free_port(), LOAD_CORE, bench.folder))
        few, many_d, many_r = (
            everything_on(upstream.port, 2),
            many_deployments(upstream.port, 1000),
            many_rules(upstream.port, 500),
        )
        variants: list[tuple[str, Config, int]] = [
            (small, few, 9),
            ("100,000 keys", few, 99_999),
            ("1,000 deployments", many_d, 9),
            ("500 rules", many_r, 9),
        ]
        contenders, idle = [], {}
        for name, config, keys in variants:
            place = bench.place()
            add_keys(place / servers.STORE, keys)
            gateway = stack.enter_context(servers.headgate(free_port(), config, place))
            contenders.append(replace(gateway, name=name))
            servers.check(contenders[-1])
            idle[name] = gateway.rss_mb()
            unary(Load(), 2, bench.folder, contenders[-1])
        rows, notes = compare(partial(unary, Load(), bench.seconds, bench.folder), contenders, bench.rounds)
    targets: list[Target] = []
    for name, row in rows.items():
        row["idle_mb"] = idle[name]
        share = against(rows, name, "calls_per_s", small)
        if share is not None and name != small:
            row["fall_percent"] = (1 - share) * 100
            targets.append(at_most(f"growth, {name}: the unary rate falls by", 20, row["fall_percent"], "%"))
    yield Section(
        "Growth",
        "Unary, 1 KB prompts, 32 clients, on configs of which one thing is large. Deployments stand in 100 routes of "
        "ten, rules are half guarantees and half routes; what serves the calls stands last, each rule before it has a "
        f"condition to look at. {bench.said()}",
        GROWTH,
        rows,
        notes,
        targets,
    )


def start_cases(bench: Bench) -> Iterator[Section]:
    """From the command to the first ready answer, and the memory of the idle process."""
    row = medians([_started(bench) for _ in range(bench.rounds)])
    program = f"import sys, gateway.cli, gateway.wiring.serve; print(*sorted({{*sys.modules}} & {set(_SDKS)!r}))"
    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    yield Section(
        "Start and memory",
        f"From the command to the first answer of /readyz; memory a second after. {bench.rounds} starts, medians.",
        START,
        {"headgate": row},
        [f"Provider SDKs among the modules that serving imports: {', '.join(imported) or 'none'}."],
        [
            at_most("start: serving after", 1.5, row["start_s"], "s"),
            none_of("start: provider SDKs imported", len(imported)),
            at_most("idle memory, admin side loaded on first use", 85, row["idle_mb"], "MB"),
        ],
    )


def _started(bench: Bench) -> Row:
    began, port = time.monotonic(), free_port()
    with servers.headgate(port, everything_on(free_port()), bench.place()) as gateway:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).read()
                break
            except OSError:
                time.sleep(0.01)
        start_s = time.monotonic() - began
        time.sleep(1)
        return {"start_s": start_s, "idle_mb": gateway.rss_mb()}


CASES: dict[str, Callable[[Bench], Iterator[Section]]] = {
    "sustained": sustained_cases,
    "slow": slow_cases,
    "churn": churn_cases,
    "translated": translated_cases,
    "growth": growth_cases,
    "start": start_cases,
}
