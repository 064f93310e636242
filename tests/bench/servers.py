"""The contenders: nginx as upstream and as the proxy to beat, and Headgate with everything on, each on its core."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

LOAD_CORE, PROXY_CORE = "0", "1"
KEY = "hg-bench-0123456789abcdef0123456789abcdef"
KEY_HASH = f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"

ANSWER = (
    '{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"bench","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"' + "word " * 60 + '","refusal":null,"annotations":[]},"logprobs":null,'
    '"finish_reason":"stop"}],"usage":{"prompt_tokens":219,"completion_tokens":60,"total_tokens":279,'
    '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,'
    '"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default"}'
)

NGINX = """
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log error;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 100000000; client_max_body_size 64m; client_body_buffer_size 1m;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {http}
}}
"""
UPSTREAM = """
server {{ listen 127.0.0.1:{port} backlog=4096;
  location / {{ default_type application/json; return 200 '{answer}'; }} }}
"""
PROXY = """upstream provider {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 100000000; }}
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://provider; proxy_http_version 1.1;
  proxy_set_header Connection ""; proxy_buffering off; }} }}"""

CONFIG = """
server: {{listen: "127.0.0.1:{port}"}}
auth: keys
keys:
  - {{name: bench, team: bench, hash: "{key_hash}"}}
teams:
  bench: {{sensitivity: public}}
providers:
{providers}
deployments:
{deployments}
sensitivity:
  levels: [public, internal, confidential, restricted]
  default: internal
  clearance: {{self_hosted: restricted, eu: confidential, us: confidential}}
  from:
    - {{header: x-data-sensitivity}}
    - {{key: sensitivity}}
    - {{detector: pii, level: confidential}}
    - {{detector: secrets, level: confidential}}
policies:
  guarantees:
    - name: cap
      require: {{max_price: {{input: "50.00", output: "200.00"}}}}
    - name: bench-stays
      when: {{team: [bench]}}
      require: {{location: [us, eu, self_hosted]}}
  routes:
    - name: bench
      when: {{model: [bench]}}
      among: [{names}]
      pick: cheapest
    - name: default
      among: all
      pick: balanced
store: {{url: "sqlite:///{folder}/bench.db"}}
"""


class Contender:
    """A running server: its port and the processes whose CPU counts as its own."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes]) -> None:
        self.name, self.port, self.process = name, port, process

    def cpu_s(self) -> float:
        """CPU-seconds so far, user and system, of the process and its children."""
        ticks = 0
        for pid in [self.process.pid, *_children(self.process.pid)]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Resident memory of the process, in MB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def free_port() -> int:
    """Returns a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(name: str, port: int, core: str, command: list[str], folder: Path) -> Iterator[Contender]:
    """Starts a server pinned to a core, waits until it accepts, and ends it after."""
    with open(folder / f"{name}.out", "wb") as output:
        process = subprocess.Popen(["taskset", "-c", core, *command], stdout=output, stderr=output, cwd=folder)
    try:
        end = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{name} did not start:\n" + (folder / f"{name}.out").read_text()) from None
                time.sleep(0.02)
        yield Contender(name, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def nginx(name: str, port: int, core: str, http: str, folder: Path) -> contextlib.AbstractContextManager[Contender]:
    """Starts an nginx of one worker with this `http` block."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    file = folder / f"{name}.conf"
    file.write_text(NGINX.format(folder=folder, name=name, http=http))
    return running(name, port, core, [program, "-p", str(folder), "-c", str(file)], folder)


def headgate(
    port: int, upstream: int, folder: Path, deployments: int = 10
) -> contextlib.AbstractContextManager[Contender]:
    """Starts Headgate: key, sensitivity scan, guarantees, a route of ten, breaker, receipt, metrics."""
    names = [f"bench-{index}" for index in range(deployments)]
    file = folder / "headgate.yaml"
    file.write_text(
        CONFIG.format(
            port=port,
            folder=folder,
            key_hash=KEY_HASH,
            providers=f'  up: {{kind: openai, base_url: "http://127.0.0.1:{upstream}/v1", api_key: x, location: us}}',
            deployments="\n".join(
                f'  {name}: {{provider: up, model: bench-model, price: {{input: "{1 + index / 10}", output: "2.00"}}}}'
                for index, name in enumerate(names)
            ),
            names=", ".join(names),
        )
    )
    program = str(Path(sys.executable).parent / "headgate")
    return running("headgate", port, PROXY_CORE, [program, "serve", "--config", str(file)], folder)


def answers(port: int) -> str:
    """Asks once, and returns the answer: a contender that answers wrongly is not measured."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=b'{"model":"bench","messages":[{"role":"user","content":"hello"}]}',
        headers={"content-type": "application/json", "authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        text: str = response.read().decode()
        return text
