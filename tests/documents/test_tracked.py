"""What is tracked belongs to the project: no path of a machine, no package index, nothing hidden."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.documents.pages import ROOT

# Put together, so that this file does not find itself.
_FOREIGN = [
    "/" + "work/",
    "/" + "root/",
    "/" + "home/",
    "pypi" + ".org",
    "files.python" + "hosted",
    "registry." + "npmjs",
]
# Within a container's image, where its own account lives.
_OF_A_CONTAINER = {("deploy/compose.yaml", "models:/" + "root/.cache/huggingface")}


def _tracked() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no checkout of git")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_package_index() -> None:
    names = _tracked()
    assert "README.md" in names
    found = []
    for name in names:
        text = (ROOT / name).read_bytes().decode(errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            allowed = any(name == file and part in line for file, part in _OF_A_CONTAINER)
            if not allowed and any(word in line for word in _FOREIGN):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert found == []


def test_no_ledger_key_or_secret_is_tracked() -> None:
    private = (".db", ".db-wal", ".db-shm", ".admin-key", ".journal", ".pem", ".env")
    assert [name for name in _tracked() if Path(name).name.endswith(private)] == []
