"""Segments of the journal: whole lines or none, in a mapped file as in a written one."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from gateway.accounting import segment
from gateway.accounting.segment import Segment, lines_of, reserves

PLACES = [
    ("ext4", True),
    ("xfs", True),
    ("btrfs", False),
    ("zfs", False),
    ("overlay", False),
    ("nfs4", False),
]


@pytest.mark.parametrize("mapped", [True, False])
def test_what_was_appended_can_be_read_at_once_and_after_the_seal(tmp_path: Path, mapped: bool) -> None:
    made = Segment(tmp_path / "1", mapped=mapped, step_bytes=4096)
    lines = [b"a", *(b"%d" % number * 700 for number in range(20))]  # over several steps
    for line in lines:
        made.append(line + b"\n")
        assert list(lines_of(made.path))[-1] == line
    made.seal()
    assert made.path.stat().st_size == made.size
    made.sync()
    made.close()
    assert list(lines_of(tmp_path / "1")) == lines


def test_a_line_whose_bytes_were_still_being_copied_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "1"
    path.write_bytes(b"a\nb" + bytes(40) + b"b\nc\n" + bytes(4096))
    assert list(lines_of(path)) == [b"a", b"c"]


def test_where_whole_steps_find_no_room_the_last_bytes_of_a_disk_are_used(tmp_path: Path) -> None:
    made = Segment(tmp_path / "1", mapped=True, step_bytes=4096)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        made.append(b"x" * 4999 + b"\n")
        with pytest.raises(OSError, match="large"):
            made.append(b"y")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert made.size == 5000
    made.append(b"z\n")
    made.seal()
    made.close()
    assert list(lines_of(tmp_path / "1")) == [b"x" * 4999, b"z"]


@pytest.mark.parametrize(("kind", "mapped"), PLACES)
def test_files_are_mapped_where_reserved_room_is_sure_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mapped: bool
) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 0:21 / /proc rw,relatime shared:1 - proc proc rw\n"
        f"36 1 {os.major(device)}:{os.minor(device)} / {tmp_path} rw,noatime shared:2 - {kind} /dev/some rw\n"
    )
    monkeypatch.setattr(segment, "_MOUNTS", mounts)
    assert reserves(tmp_path) is mapped
    monkeypatch.setattr(segment, "_MOUNTS", tmp_path / "none")
    assert reserves(tmp_path) is False
