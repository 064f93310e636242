"""The upstream and two contenders: nginx, the proxy to beat, and Headgate with everything on."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import urllib.request
from pathlib import Path

from tests.bench.configs import KEY, Config
from tests.bench.processes import PROXY_CORE, Contender, running

ANSWER = (
    '{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"bench","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"' + "word " * 60 + '","refusal":null,"annotations":[]},"logprobs":null,'
    '"finish_reason":"stop"}],"usage":{"prompt_tokens":219,"completion_tokens":60,"total_tokens":279,'
    '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,'
    '"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default"}'
)

_NGINX = """
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log error;
worker_rlimit_nofile 20000;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 100000000; client_max_body_size 64m; client_body_buffer_size 1m;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {http}
}}
"""
_UPSTREAM = """
server {{ listen 127.0.0.1:{port} backlog=4096;
  location / {{ default_type application/json; return 200 '{answer}'; }} }}
"""
_PROXY = """upstream provider {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 100000000; }}
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://provider; proxy_http_version 1.1;
  proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 600s; }} }}"""

STORE = "bench.db"

_BEARER = (("authorization", f"Bearer {KEY}"),)


def upstream(port: int, core: str, folder: Path) -> contextlib.AbstractContextManager[Contender]:
    """Starts an nginx that answers every call at once with the same completion."""
    return _nginx("upstream", port, core, _UPSTREAM.format(port=port, answer=ANSWER), folder)


def nginx(port: int, upstream: int, folder: Path) -> contextlib.AbstractContextManager[Contender]:
    """Starts an nginx of one worker before the upstream: `proxy_pass`, connections kept, nothing buffered."""
    return _nginx("nginx", port, PROXY_CORE, _PROXY.format(port=port, upstream=upstream), folder)


def _nginx(name: str, port: int, core: str, http: str, folder: Path) -> contextlib.AbstractContextManager[Contender]:
    file = folder / f"{name}.conf"
    file.write_text(_NGINX.format(folder=folder, name=name, http=http))
    command = [nginx_program(), "-p", str(folder), "-c", str(file)]
    return running(Contender(name, port, headers=_BEARER), core, command, folder)


def nginx_program() -> str:
    """Returns where nginx is; it stands outside the path of an ordinary user."""
    return shutil.which("nginx") or "/usr/sbin/nginx"


def headgate(port: int, config: Config, place: Path) -> contextlib.AbstractContextManager[Contender]:
    """Starts Headgate with this config; its store and its journal are in a folder of its own."""
    file = place / "config.yaml"
    store = {"url": f"sqlite:///{place / STORE}", "journal": str(place / "journal")}
    file.write_text(json.dumps({"server": {"listen": f"127.0.0.1:{port}"}, "store": store} | config))
    command = [str(Path(sys.executable).parent / "headgate"), "serve", "--config", str(file)]
    return running(Contender("headgate", port, headers=_BEARER), PROXY_CORE, command, place)


def check(contender: Contender) -> None:
    """Asks once: a contender whose answer is not the upstream's is not measured."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{contender.port}/v1/chat/completions",
        data=b'{"model":"bench","messages":[{"role":"user","content":"hello"}]}',
        headers={"content-type": "application/json", **dict(contender.headers)},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer, expected = json.load(response), json.loads(ANSWER)
    content, wanted = (each["choices"][0]["message"]["content"] for each in (answer, expected))
    if content != wanted or answer["usage"]["total_tokens"] != expected["usage"]["total_tokens"]:
        raise SystemExit(f"{contender.name} answers something else than the upstream")
