"""`make bench`: what Headgate adds, beside nginx and other gateways in the same run."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import cases, endurance, peers
from tests.bench.figures import GENERATOR_LIMIT, OTHERS_LIMIT
from tests.bench.report import Section, page, section, summary
from tests.bench.servers import nginx_program

_FILES = 20_000  # 5,000 streams are 10,000 sockets, here and in a gateway

CASES: dict[str, Callable[[cases.Bench], Iterator[Section]]] = {
    "unary": cases.unary_cases,
    "sizes": cases.size_cases,
    "streams": cases.stream_cases,
    **endurance.CASES,
}

_HEAD = """# Benchmarks

Written by `make bench`; do not edit.

Contenders take turns on one core, frozen while others have theirs; the load generator and the upstream share the other
core. Figures are medians of interleaved rounds, with CPU as a multiple of nginx's (`proxy_pass`) in the same run,
because absolute rates drift with what shares the machine. CPU is read from the processes, all threads together. A round
is void in which the load's core was over {limit:.0%} busy, or others took over {others:.0%} of the contender's.

Headgate runs with everything on: key, sensitivity scan (personal data and secrets), guarantees, a route over ten
deployments by cost, breaker, receipt in the journal and behind it in SQLite, metrics. The others relay, and do nothing
else: nginx and Portkey ask for no key, LiteLLM has one worker and a master key.

Machine: {machine}. {versions}.
{absent}
Why a target is missed, and what was tried: [decisions](decisions/README.md).
"""


def built() -> str:
    """Says how the interpreter was built: by its own account, which Debian's does not give."""
    if sys.base_prefix == "/usr" and Path("/etc/debian_version").exists():
        return (
            "Debian's, built with profile-guided optimisation"  # its packaging: debian/rules, `--enable-optimizations`
        )
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return f"built {'with' if optimised else 'without'} --enable-optimizations"


def head(installed: list[peers.Peer], absent: list[str]) -> str:
    """Says how and on what it was measured."""
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split("[")[0].strip()
    nginx = subprocess.run([nginx_program(), "-v"], capture_output=True, text=True, check=True).stderr.strip()
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].split(":")[1].strip() if models else "unknown"
    versions = [f"CPython {platform.python_version()} ({built()})"]
    versions += [f"{name} {version(name)}" for name in ("uvloop", "httptools", "uvicorn", "msgspec")]
    versions += [nginx.removeprefix("nginx version: "), wrk, *(peer.version for peer in installed)]
    return _HEAD.format(
        limit=GENERATOR_LIMIT,
        others=OTHERS_LIMIT,
        machine=f"{model}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}",
        versions=", ".join(versions),
        absent="".join(f"\n{words}\n" for words in absent),
    )


def install() -> tuple[list[peers.Peer], list[str]]:
    """Installs the peers; returns those that there are, and a word on each that there is not."""
    installed, absent = [], []
    for name, peer in (("Portkey", peers.portkey), ("LiteLLM", peers.litellm)):
        try:
            installed.append(peer())
        except peers.NotInstalled as error:
            absent.append(f"{name} was not measured: {error}.")
            print(f"skipped: {absent[-1]}", file=sys.stderr)
    return installed, absent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of a round")
    parser.add_argument("--churn-seconds", type=float, default=600)
    parser.add_argument("--only", choices=list(CASES), action="append", help="a case; may be given again")
    parser.add_argument("--peers", action="store_true", help="LiteLLM and Portkey too, installed under build/bench")
    parser.add_argument("--write", type=Path, help="the Markdown file to write")
    options = parser.parse_args()
    for program in ("wrk", "nginx", "taskset"):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            raise SystemExit(f"skipped: {program} is not installed (Debian packages: wrk, nginx-light, util-linux)")
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("skipped: the bench needs two cores, one for the contender and one for the load")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES if most == resource.RLIM_INFINITY else min(_FILES, most), most))
    installed, absent = install() if options.peers else ([], ["Peers were not asked for."])
    parts: list[Section] = []
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        os.chmod(name, 0o777)  # nginx's worker is another user
        bench = cases.Bench(options.rounds, options.seconds, options.churn_seconds, Path(name), installed)
        for case in options.only or CASES:
            for part in CASES[case](bench):
                parts.append(part)
                print(section(part), flush=True)
    print(summary(parts))
    if options.write:
        options.write.write_text(page(head(installed, absent), parts))


if __name__ == "__main__":
    main()
