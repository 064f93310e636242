"""What is measured beside others: unary calls, large prompts, paced streams. Each case returns sections of the page."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.bench import servers
from tests.bench.configs import everything_on
from tests.bench.figures import BadRound, Row, against, is_void, settle, void_note
from tests.bench.peers import ROOT, Peer
from tests.bench.processes import LOAD_CORE, Contender, free_port, moment, spent
from tests.bench.report import Columns, Section, at_least, at_most, none_of
from tests.bench.wrk import Load, unary

_SETTLE_S = 0.2  # after its thaw: the timers that fell due meanwhile

# Read from the contender's process: a generator at its limit changes them not.
LASTING = ("cpu_s_per_1000", "cpu_ms_per_1000_chunks", "core_share")

UNARY: Columns = (
    ("calls_per_s", "calls/s"),
    ("cpu_s_per_1000", "CPU s / 1,000 calls"),
    ("cpu_ratio", "CPU ÷ nginx"),
    ("core_share", "its core"),
    ("generator_share", "load's core"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
)
ONE_CLIENT: Columns = (
    ("calls_per_s", "calls/s"),
    ("cpu_s_per_1000", "CPU s / 1,000 calls"),
    ("cpu_ratio", "CPU ÷ nginx"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("added_p50_us", "added p50 µs"),
    ("added_p99_us", "added p99 µs"),
)
STREAMS: Columns = (
    ("count", "streams"),
    ("chunks_per_s", "chunks/s"),
    ("cpu_ms_per_1000_chunks", "CPU ms / 1,000 chunks"),
    ("cpu_ratio", "CPU ÷ nginx"),
    ("chunk_p50_ms", "chunk p50 ms"),
    ("chunk_p99_ms", "chunk p99 ms"),
    ("first_p99_ms", "TTFT p99 ms"),
    ("added_first_p99_ms", "added TTFT p99 ms"),
    ("merged", "merged"),
    ("lost", "lost"),
    ("failed", "failed"),
    ("generator_share", "load's core"),
)


@dataclass(frozen=True)
class Bench:
    """One run: how many rounds of how many seconds, where its files lie, and the peers that there are."""

    rounds: int
    seconds: float
    churn_seconds: float
    folder: Path
    peers: Sequence[Peer] = ()

    def said(self) -> str:
        return f"Medians of {self.rounds} interleaved rounds of {self.seconds:g} s."

    @contextlib.contextmanager
    def contenders(self, upstream: int) -> Iterator[list[Contender]]:
        """Starts nginx, Headgate and the peers before an upstream."""
        with contextlib.ExitStack() as stack:
            started = [
                stack.enter_context(servers.nginx(free_port(), upstream, self.folder)),
                stack.enter_context(servers.headgate(free_port(), everything_on(upstream), self.place())),
            ]
            started += [stack.enter_context(peer.start(free_port(), upstream, self.folder)) for peer in self.peers]
            yield started

    def place(self) -> Path:
        """Makes a folder for one server's files."""
        return Path(tempfile.mkdtemp(dir=self.folder))


def compare(
    measure: Callable[[Contender], Row], contenders: Sequence[Contender], rounds: int
) -> tuple[dict[str, Row], list[str]]:
    """Interleaves the rounds; returns each contender's figures, and what must be said of void rounds.

    Who waits for its turn is frozen, so that what it does in the background takes nothing from the core.
    """
    found: dict[str, list[Row]] = {each.name: [] for each in contenders}
    notes: list[str] = []
    for each in contenders:
        each.freeze()
    for number in range(rounds):
        for each in contenders:
            each.thaw()
            time.sleep(_SETTLE_S)
            try:
                row = measure(each)
            except BadRound as error:
                notes.append(f"{each.name}, round {number + 1}: {error}.")
            else:
                found[each.name].append(row)
                void = " (void)" if is_void(row) else ""
                print(f"  round {number + 1}: {each.name}{void}", file=sys.stderr, flush=True)
            each.freeze()
    for each in contenders:
        each.thaw()
    notes += [note for name, measured in found.items() if (note := void_note(name, measured))]
    return {name: settle(measured, LASTING) for name, measured in found.items()}, notes


def with_ratios(rows: dict[str, Row], figure: str) -> None:
    """Adds to each contender its CPU as a multiple of nginx's."""
    for name, row in rows.items():
        ratio = against(rows, name, figure, "nginx")
        if ratio is not None:
            row["cpu_ratio"] = ratio


def with_added(rows: dict[str, Row], figure: str, added: str, factor: float = 1) -> None:
    """Adds to each contender how much more it takes than the upstream asked directly."""
    least = rows["direct"].get(figure)
    for name, row in rows.items():
        if name != "direct" and figure in row and least is not None:
            row[added] = (row[figure] - least) * factor


def unary_cases(bench: Bench) -> Iterator[Section]:
    """Prompts of 1 KB from 32 clients, and from one."""
    with _ready(bench) as (upstream, contenders):
        yield _crowd(bench, contenders)
        yield _one_client(bench, upstream, contenders)


def _crowd(bench: Bench, contenders: Sequence[Contender]) -> Section:
    measure = partial(unary, Load(), bench.seconds, bench.folder)
    rows, notes = compare(measure, contenders, bench.rounds)
    with_ratios(rows, "cpu_s_per_1000")
    targets = [at_most("unary, 1 KB: CPU per call ÷ nginx's", 7, rows["headgate"].get("cpu_ratio"), "×")]
    for peer, least in (("portkey", 16), ("litellm", 120)):
        ratio = against(rows, "headgate", "calls_per_s", peer)
        targets.append(at_least(f"unary, 1 KB: calls/s ÷ {peer}'s", least, ratio, "×"))
    if notes:
        notes.append(
            "A void round's rate and latencies count for nothing; its CPU per call, read from the contender's process, "
            "stays: a proxy that is given all it can take needs the least for each call. nginx outruns one core of wrk "
            "by its nature."
        )
    return Section(
        "Unary, 1 KB prompts, 32 clients",
        "wrk, 32 connections that ask again as soon as they are answered; each round after 2 s of the same, so that "
        f"what is done behind calls is under way, and counted. {bench.said()}",
        UNARY,
        rows,
        notes,
        targets,
    )


def _one_client(bench: Bench, upstream: Contender, contenders: Sequence[Contender]) -> Section:
    direct = Contender("direct", upstream.port, headers=contenders[0].headers)

    def measure(contender: Contender) -> Row:
        row = unary(Load(clients=1), bench.seconds, bench.folder, contender)
        del row["generator_share"]  # of one client and one upstream, each waiting for the other
        return row

    rows, notes = compare(measure, [direct, *contenders], bench.rounds)
    with_ratios(rows, "cpu_s_per_1000")
    for share in ("p50", "p99"):
        with_added(rows, f"{share}_ms", f"added_{share}_us", 1000)
    ours = rows["headgate"]
    return Section(
        "Added latency, 1 KB prompts, one client",
        "One connection, to the upstream directly and through each contender; added is through less direct, percentile "
        f"by percentile. One client waits for every answer: no rate outruns it, however busy its core. {bench.said()}",
        ONE_CLIENT,
        rows,
        notes,
        [
            at_most("one client: added p50", 300, ours.get("added_p50_us"), "µs"),
            at_most("one client: added p99", 600, ours.get("added_p99_us"), "µs"),
        ],
    )


def size_cases(bench: Bench) -> Iterator[Section]:
    """Prompts of 32 KB and 256 KB, against Headgate's rate at 1 KB in the same rounds."""
    with _ready(bench) as (_, contenders):
        ours = next(each for each in contenders if each.name == "headgate")
        small = replace(ours, name="headgate, 1 KB prompts")
        for size, clients, prompts, least in ((32, 32, 512, 0.4), (256, 8, 128, 0.1)):
            large = Load(size * 1000, clients, prompts)

            def measure(contender: Contender, large: Load = large) -> Row:
                load = Load() if contender is small else large
                return unary(load, bench.seconds, bench.folder, contender)

            rows, notes = compare(measure, [*contenders, small], bench.rounds)
            with_ratios(rows, "cpu_s_per_1000")
            share = against(rows, "headgate", "calls_per_s", small.name)
            yield Section(
                f"Unary, {size} KB prompts, {clients} clients",
                f"As above; {prompts} prompts that differ take turns, so that each is scanned anew. {bench.said()}",
                UNARY,
                rows,
                notes,
                [at_least(f"unary, {size} KB: rate ÷ the rate at 1 KB", least, share)],
            )


def stream_cases(bench: Bench) -> Iterator[Section]:
    """400 streams, a chunk each 20 ms; peers as many as they carry."""
    port = free_port()
    with bench.contenders(port) as contenders:
        direct = Contender("direct", port, headers=contenders[0].headers)

        def measure(contender: Contender) -> Row:
            return streams(port, contender, contender.streams, bench.seconds)

        rows, notes = compare(measure, [direct, *contenders], bench.rounds)
    with_ratios(rows, "cpu_ms_per_1000_chunks")
    with_added(rows, "first_p99_ms", "added_first_p99_ms")
    ours = rows["headgate"]
    notes += [
        f"{each.name} is given {each.streams} streams: what it carries on one core without falling behind."
        for each in contenders
        if each.streams < 400
    ]
    yield Section(
        "400 streams, a chunk each 20 ms",
        "50 chunks a stream; upstream and clients are one process with one clock, and time each chunk from its writing "
        "to its reading. Merged: chunks that came together with another of the same stream. Lost: chunks that never "
        f"came; failed: streams cut or refused. Added is through less direct. {bench.said()}",
        STREAMS,
        rows,
        notes,
        [
            at_most("400 streams: chunk p99 ÷ nginx's", 1.3, against(rows, "headgate", "chunk_p99_ms", "nginx"), "×"),
            at_most("400 streams: added TTFT p99", 3, ours.get("added_first_p99_ms"), "ms"),
            none_of("400 streams: chunks merged with a later one", ours.get("merged")),
            none_of("400 streams: chunks lost", ours.get("lost")),
            none_of("400 streams: streams failed", ours.get("failed")),
            at_most("400 streams: CPU per chunk ÷ nginx's", 2.5, ours.get("cpu_ratio"), "×"),
        ],
    )


def streams(
    upstream_port: int,
    contender: Contender,
    count: int,
    seconds: float,
    options: Sequence[str] = (),
) -> Row:
    """Drives one contender with paced streams; the upstream is the load generator's own.

    `rss_mb` is its memory when counting ended, with all streams still open.
    """
    ports = ["--upstream-port", str(upstream_port), "--target-port", str(contender.port)]
    headers = [part for name, value in contender.headers for part in ("--header", f"{name}: {value}")]
    amounts = ["--streams", str(count), "--seconds", str(seconds)]
    program = ["taskset", "-c", LOAD_CORE, sys.executable, "-W", "ignore", "-m", "tests.bench.streams"]
    process = subprocess.Popen(
        [*program, *ports, *amounts, *headers, *options], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    row, figures = Row(), Row()
    early = moment(contender)
    for line in process.stdout:
        told = json.loads(line)
        if "counting" in told:
            early = moment(contender)
        elif "counted" in told:
            row = spent(early, moment(contender)) | {"rss_mb": contender.rss_mb(), "count": count}
        else:
            figures = told
    if process.wait() or not figures.get("chunks"):
        raise BadRound("the generator of streams counted no chunk")
    if contender.process is not None:
        row["cpu_ms_per_1000_chunks"] = row["cpu_s"] / figures["chunks"] * 1e6
    return row | figures


@contextlib.contextmanager
def _ready(bench: Bench) -> Iterator[tuple[Contender, list[Contender]]]:
    """Starts the upstream and everybody before it, each checked and warm."""
    with (
        servers.upstream(free_port(), LOAD_CORE, bench.folder) as upstream,
        bench.contenders(upstream.port) as contenders,
    ):
        for each in contenders:
            servers.check(each)
            with contextlib.suppress(BadRound):  # what warms up need not succeed; the rounds tell
                unary(Load(), 2, bench.folder, each)
        yield upstream, contenders
