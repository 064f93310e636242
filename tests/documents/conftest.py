"""What tests of the documentation share: the pages, their fences, and a gateway that serves the shipped config."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
ADMIN_KEY = "hg-admin-of-the-documents"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    """A block of code in a page; `line` is that of its first line of code."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def fences(*languages: str) -> list[Fence]:
    """Returns every block in these languages, on all pages."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start(2)) + 1
            found += [Fence(page, line, match[1], match[2])] if match[1] in languages else []
    return found


class Gateway(NamedTuple):
    """A running gateway: its port, the folder that it works in, and an environment to call it from."""

    port: str
    folder: Path
    environ: Mapping[str, str]

    def run(self, *command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command in the gateway's folder, to its end."""
        return subprocess.run(
            command,
            input=text,
            cwd=self.folder,
            env=dict(self.environ),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The shipped config, served on a free port by a process that no provider's key has reached."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copy(ROOT / "config.yaml", folder)
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ.get('PATH', '')}"
    environ |= {"PATH": path, "HEADGATE_ADMIN_KEY": ADMIN_KEY}
    command = [sys.executable, "-m", "gateway", "serve", "--listen", "127.0.0.1:0"]
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        served = re.search(r" serves on http://127\.0\.0\.1:(\d+) ", first)
        assert served, first + (folder / "log").read_text()
        yield Gateway(served[1], folder, environ)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        log.close()
