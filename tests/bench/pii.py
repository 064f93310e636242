"""Precision, recall, leak rate and microseconds a KB of the detectors, on the labelled documents beside the repository.

`python tests/bench/pii.py [more options of the scorer]`: the scorer calls `detect`; what a call costs is measured
here, on the documents as request bodies, because placing a span costs more than finding one.
"""

from __future__ import annotations

import difflib
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ROOT.parent / "shared" / "pii"
sys.path.insert(0, str(ROOT))

from gateway.classify import DETECTORS, Classifier, DetectorRule, Rules  # noqa: E402
from gateway.classify.detectors import compiled  # noqa: E402
from gateway.core.types import Call, Principal  # noqa: E402

_SEARCHED = compiled(DETECTORS, ())
_ROUNDS = 5


def body_of(text: str) -> bytes:
    """Returns the document as a caller would send it."""
    asked = {"model": "demo", "messages": [{"role": "user", "content": text}]}
    return json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace")


def detect(text: str) -> list[dict[str, object]]:
    """Returns what is found in the document sent as a body; offsets in code points of the document."""
    read, hits = _SEARCHED.search(body_of(text))
    findings = list(_SEARCHED.findings(read, hits))
    if not findings:
        return []
    reading = read.decode("utf-8", "replace")
    # quotes are read as slashes; any other difference is a disguise that was undone. What is found beyond the first
    # reading was found in the second one, of the lines that held backslashes.
    plain = text.replace('"', "/")
    whole = reading.find(plain)
    second = reading.rfind("\n{/model/")
    first = difflib.SequenceMatcher(None, plain, reading[:second] if second > 0 else reading, autojunk=False)
    blocks = first.get_matching_blocks() if whole < 0 else []
    again = difflib.SequenceMatcher(None, plain, reading[second:], autojunk=False).get_matching_blocks()
    spans: list[dict[str, object]] = []
    for found in findings:
        start = len(read[: found.start].decode("utf-8", "replace"))
        end = start + len(read[found.start : found.end].decode("utf-8", "replace"))
        if 0 <= whole <= start and end <= whole + len(plain):
            start, end = start - whole, end - whole
        elif 0 < second <= start:
            start, end = _placed(again, start - second), _placed(again, end - second)
        else:
            start, end = _placed(blocks, start), _placed(blocks, end)
        spans.append({"start": start, "end": max(end, start + 1), "type": found.kind})
    return spans


def _placed(blocks: list[difflib.Match], position: int) -> int:
    """Returns where a character of the reading stood in the document: the end of the last block before it at least."""
    place = 0
    for block in blocks:
        if block.b > position:
            return place if position < block.b else block.a
        place = block.a + min(position - block.b, block.size)
    return place


def cost(texts: list[str]) -> float:
    """Returns microseconds a KB of classifying the documents as bodies, the best of some rounds."""
    levels = ("public", "confidential", "restricted")
    classifier = Classifier(Rules(levels, detectors=(DetectorRule("pii", 2), DetectorRule("secrets", 1))))
    calls = [Call("bench", "chat", "chat", body_of(text)) for text in texts]
    principal = Principal("bench")
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for call in calls:
            classifier.classify(call, principal)
        best = min(best, time.perf_counter() - began)
    return best * 1e6 / (sum(len(call.body) for call in calls) / 1024)


def main() -> int:
    """Prints the scorer's report and what classifying costs."""
    source = DOCUMENTS / "dev.jsonl.gz"
    if not source.exists():
        print(f"skipped: {source} is not there")
        return 0
    lines = gzip.decompress(source.read_bytes())
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as unpacked:
        unpacked.write(lines)
        unpacked.flush()
        scorer = [sys.executable, str(DOCUMENTS / "score.py"), unpacked.name, "--callable", f"{__file__}:detect"]
        code = subprocess.run([*scorer, *sys.argv[1:]], check=False).returncode
    documents = [json.loads(line) for line in lines.splitlines()]
    clean = [document["text"] for document in documents if document["negative"]]
    print(f"classifying: {cost([d['text'] for d in documents]):.1f} us a KB, {cost(clean):.1f} without findings")
    large = ["\n\n".join(clean)[start : start + 32768] for start in range(0, 10 * 32768, 32768)]
    print(f"             {cost(large):.1f} us a KB in bodies of 32 KB")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
