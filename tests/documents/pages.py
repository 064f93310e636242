"""The pages, the blocks of code in them, and a gateway to hold those to."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    """A block of code in a page; `line` is that of its first line of code."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def fences(language: str) -> list[Fence]:
    """Returns every block in a language, on all pages."""
    texts = [(page, page.read_text()) for page in PAGES]
    return [
        Fence(page, text.count("\n", 0, match.start(2)) + 1, language, match[2])
        for page, text in texts
        for match in _FENCE.finditer(text)
        if match[1] == language
    ]


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
