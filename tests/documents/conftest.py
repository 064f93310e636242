"""A gateway that serves the shipped config, for all examples on all pages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.pages import ROOT, Gateway, fences
from tests.patience import WITHIN_S


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Serves on a free port, in a process that no provider's key has reached."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copy(ROOT / "config.yaml", folder)
    (folder / "litellm.yaml").write_text(next(each.text for each in fences("text") if each.page.name == "importing.md"))
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ.get('PATH', '')}"
    environ |= {"PATH": path, "HEADGATE_ADMIN_KEY": "hg-admin-of-the-documents"}
    command = [sys.executable, "-m", "gateway", "serve", "--listen", "127.0.0.1:0"]
    with (folder / "log").open("w") as log:
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
                process.communicate(timeout=WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
