"""Unary load: wrk asks again as soon as it is answered, from the core that it shares with the upstream."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Row, read_wrk
from tests.bench.processes import LOAD_CORE, Contender, moment, spent

_SCRIPT = """
local prompts, asked = {prompts}, 0
local before, after = [==[{before}]==], [==[{after}]==]
local ready = {{}}
wrk.method = "POST"
wrk.body = before .. after
{headers}
if prompts > 1 then
  init = function()
    for index = 1, prompts do ready[index] = wrk.format(nil, nil, nil, before .. index .. after) end
  end
  request = function()
    asked = asked % prompts + 1
    return ready[asked]
  end
end
done = function(summary, latency)
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""
_LEAD_S = 2
_SENTENCE = "The quick brown fox jumps over the lazy dog, and nobody minds. "


@dataclass(frozen=True)
class Load:
    """Prompts of `size` bytes from so many clients at once; `prompts` of them differ, and come round in turn."""

    size: int = 1000
    clients: int = 32
    prompts: int = 1


def unary(load: Load, seconds: float, folder: Path, contender: Contender) -> Row:
    """Measures one round; raises BadRound where an answer was an error.

    The same load goes before it, so that what a contender does behind its calls is under way and counted.
    """
    script = folder / "wrk.lua"
    script.write_text(_script(load, contender))
    url = f"http://127.0.0.1:{contender.port}/v1/chat/completions"

    def run(for_s: float) -> Row:
        amounts = ["-t1", f"-c{load.clients}", f"-d{round(for_s)}s", "--timeout", "60s"]
        command = ["taskset", "-c", LOAD_CORE, "wrk", *amounts, "-s", str(script), url]
        return read_wrk(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    run(_LEAD_S)
    early = moment(contender)
    found = run(seconds)
    row = spent(early, moment(contender)) | found
    if contender.process is not None:
        row["cpu_s_per_1000"] = row["cpu_s"] / row["calls"] * 1000
    return row


def _script(load: Load, contender: Contender) -> str:
    words = (_SENTENCE * (load.size // len(_SENTENCE) + 1))[: load.size]
    body = json.dumps({"model": "bench", "messages": [{"role": "user", "content": words}], "temperature": 0.7})
    at = body.index(_SENTENCE[:3])
    headers = {"content-type": "application/json", **dict(contender.headers)}
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    return _SCRIPT.format(prompts=load.prompts, before=body[:at], after=body[at:], headers=lines)
