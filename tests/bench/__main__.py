"""`make bench`: what Headgate adds, beside nginx in the same run.

nginx (`proxy_pass`) and Headgate take turns on one core; the load generator and the upstream share the other. Every
figure is the median of interleaved rounds, and is given as a ratio to nginx too, because absolute rates drift with what
shares the machine. CPU is read from the processes. A round whose load generator took over 80 % of its core is void.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from servers import (
    ANSWER,
    KEY,
    LOAD_CORE,
    PROXY,
    PROXY_CORE,
    UPSTREAM,
    Contender,
    answers,
    free_port,
    headgate,
    nginx,
)

HERE = Path(__file__).parent
Row = dict[str, float]
Columns = list[tuple[str, str]]

WRK = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {key}"
wrk.body = [==[{body}]==]
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""

UNARY: Columns = [
    ("calls_per_s", "calls/s"),
    ("cpu_us_per_call", "CPU µs/call"),
    ("core_share", "core"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
]
STREAMS: Columns = [
    ("chunks_per_s", "chunks/s"),
    ("cpu_ms_per_1000_chunks", "CPU ms/1000 chunks"),
    ("chunk_p50_ms", "chunk p50 ms"),
    ("chunk_p99_ms", "chunk p99 ms"),
    ("first_p99_ms", "first chunk p99 ms"),
    ("merged", "merged"),
    ("lost", "lost"),
    ("generator_share", "generator's core"),
]


def unary(size: int, clients: int, seconds: float, folder: Path, contender: Contender) -> Row:
    """Drives one contender with wrk: prompts of `size` bytes."""
    words = ("The quick brown fox jumps over the lazy dog, and nobody minds. " * (size // 60 + 1))[:size]
    body = json.dumps({"model": "bench", "messages": [{"role": "user", "content": words}], "temperature": 0.7})
    script = folder / "wrk.lua"
    script.write_text(WRK.format(key=KEY, body=body))
    url = f"http://127.0.0.1:{contender.port}/v1/chat/completions"
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{clients}", f"-d{round(seconds)}s", "-s", str(script), url]
    cpu, began = contender.cpu_s(), time.monotonic()
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cpu, wall = contender.cpu_s() - cpu, time.monotonic() - began
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", output)
    assert found, output
    requests, duration_us, p50, p99, bad, broken = map(int, found.groups())
    assert not bad, f"{contender.name} answered {bad} of {requests} calls with an error"
    assert not broken, f"{contender.name} broke {broken} connections"
    return {
        "calls_per_s": requests / (duration_us / 1e6),
        "cpu_us_per_call": cpu / requests * 1e6,
        "core_share": cpu / wall,
        "p50_ms": p50 / 1000,
        "p99_ms": p99 / 1000,
    }


def streams(upstream_port: int, count: int, seconds: float, contender: Contender) -> Row:
    """Drives one contender with paced streams; the upstream is the load generator's own."""
    ports = ["--upstream-port", str(upstream_port), "--target-port", str(contender.port)]
    amounts = ["--streams", str(count), "--seconds", str(seconds), "--key", KEY]
    command = ["taskset", "-c", LOAD_CORE, sys.executable, "-W", "ignore", str(HERE / "streams.py"), *ports, *amounts]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    cpu = 0.0
    row: Row = {}
    for line in process.stdout:
        told = json.loads(line)
        if "counting" in told:
            cpu = contender.cpu_s()
        elif "counted" in told:
            cpu = contender.cpu_s() - cpu
        elif "chunks" in told:
            row = told
    process.wait()
    assert row["failed"] == 0, f"{contender.name}: {row['failed']} streams failed"
    row["cpu_ms_per_1000_chunks"] = cpu / row["chunks"] * 1e6
    return row


def compare(measure: Callable[[Contender], Row], contenders: list[Contender], rounds: int) -> dict[str, Row]:
    """Interleaves the rounds, and returns each contender's medians."""
    rows: dict[str, list[Row]] = {each.name: [] for each in contenders}
    for _ in range(rounds):
        for each in contenders:
            row = measure(each)
            if row.get("generator_share", 0) > 0.8:
                print(f"  void: the load generator took {row['generator_share']:.0%} of its core", file=sys.stderr)
                continue
            rows[each.name].append(row)
    return {
        name: {figure: statistics.median(row[figure] for row in found) for figure in found[0]}
        for name, found in rows.items()
    }


def table(title: str, results: dict[str, Row], columns: Columns) -> str:
    """Renders one Markdown table; the last line holds Headgate as a multiple of nginx."""
    lines = [f"### {title}", "", "| | " + " | ".join(label for _, label in columns) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    for name, row in results.items():
        lines.append(f"| {name} | " + " | ".join(_figure(row[key]) for key, _ in columns) + " |")
    ours, theirs = results["headgate"], results["nginx"]
    ratios = [f"{ours[key] / theirs[key]:.2f} ×" if theirs[key] else "–" for key, _ in columns]
    lines.append(f"| **headgate / nginx** | {' | '.join(ratios)} |")
    return "\n".join([*lines, ""])


def _figure(value: float) -> str:
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def start_and_idle(folder: Path) -> Row:
    """Times the start until `/readyz` answers, and reads the memory of the idle process."""
    began = time.monotonic()
    port = free_port()
    with headgate(port, free_port(), folder) as gateway:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).read()
                break
            except OSError:
                time.sleep(0.01)
        started = time.monotonic() - began
        time.sleep(1)
        return {"start_s": started, "idle_mb": gateway.rss_mb()}


def run(wanted: set[str], rounds: int, seconds: float, folder: Path) -> list[str]:
    """Runs the wanted cases; returns their tables, printed as they come."""
    parts: list[str] = []

    def tell(part: str) -> None:
        parts.append(part)
        print(part, flush=True)

    upstream, proxy, gate = (free_port() for _ in range(3))
    cases = [("1 KB prompts, 32 clients", 1000, 32), ("1 KB prompts, one client", 1000, 1)] if "unary" in wanted else []
    if "sizes" in wanted:
        cases += [("32 KB prompts, 32 clients", 32_000, 32), ("256 KB prompts, 8 clients", 256_000, 8)]
    if cases:
        with (
            nginx("upstream", upstream, LOAD_CORE, UPSTREAM.format(port=upstream, answer=ANSWER), folder),
            nginx("nginx", proxy, PROXY_CORE, PROXY.format(port=proxy, upstream=upstream), folder) as first,
            headgate(gate, upstream, folder) as second,
        ):
            assert answers(proxy) == answers(gate) == ANSWER
            for each in (first, second):
                unary(1000, 32, 2, folder, each)  # warm
            for title, size, clients in cases:
                measure = partial(unary, size, clients, seconds, folder)
                tell(table(f"Unary, {title}", compare(measure, [first, second], rounds), UNARY))
    if "streams" in wanted:
        with (
            nginx("nginx", proxy, PROXY_CORE, PROXY.format(port=proxy, upstream=upstream), folder) as first,
            headgate(gate, upstream, folder) as second,
        ):
            measure = partial(streams, upstream, 400, seconds)
            tell(table("400 streams, a chunk each 20 ms", compare(measure, [first, second], rounds), STREAMS))
    if "start" in wanted:
        rows = [start_and_idle(folder) for _ in range(3)]
        found = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
        tell(
            "### Start and memory\n\n"
            f"Serving after {found['start_s']:.2f} s; {found['idle_mb']:.0f} MB resident when idle.\n"
        )
    return parts


def head(rounds: int, seconds: float) -> str:
    """Says how and on what it was measured."""
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split("[")[0].strip()
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    server = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr.strip()
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    parts = [f"CPython {platform.python_version()} (built {'with' if optimised else 'without'} --enable-optimizations)"]
    parts += [f"{name} {version(name)}" for name in ("uvloop", "httptools", "uvicorn", "msgspec")]
    return (
        "# Benchmarks\n\nWritten by `make bench`; do not edit.\n\n"
        f"{(__doc__ or '').partition(chr(10))[2].strip()}\n\n"
        f"Machine: {models[0].split(':')[1].strip() if models else 'unknown'}, {os.cpu_count()} cores, "
        f"Linux {platform.release().split('-')[0]}. {', '.join(parts)}; {server}; {wrk}. "
        f"{rounds} rounds of {seconds:g} s.\n\n"
        "Headgate runs with everything on: key, sensitivity scan (personal data and secrets), guarantees, a route over "
        "ten deployments by cost, breaker, receipt in the journal and behind it in SQLite, metrics. Its CPU counts all "
        "threads.\n\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--only", choices=["unary", "sizes", "streams", "start"], action="append")
    parser.add_argument("--write", type=Path, help="the Markdown file to write")
    options = parser.parse_args()
    for program in ("wrk", "nginx", "taskset"):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            raise SystemExit(f"skipped: {program} is not installed (Debian packages: wrk, nginx-light, util-linux)")
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("skipped: the bench needs two cores, one for the contender and one for the load")
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        os.chmod(name, 0o777)  # nginx's worker is another user
        wanted = set(options.only or ["unary", "sizes", "streams", "start"])
        parts = run(wanted, options.rounds, options.seconds, Path(name))
    if options.write:
        options.write.write_text(head(options.rounds, options.seconds) + "\n".join(parts))


if __name__ == "__main__":
    main()
