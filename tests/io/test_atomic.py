"""Half-written files and folders of killed processes are removed at the next start, those of living ones are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from radimagenet_monai.core.atomic import (
    _machine,
    _prefix,
    atomic_copy,
    atomic_open,
    atomic_write_text,
    read_json_if_whole,
    remove_abandoned,
    scratch_folder,
)

_WRITE = """
import sys
from radimagenet_monai.io.atomic import atomic_open, scratch_folder
with scratch_folder(sys.argv[1], "release") as folder, atomic_open(folder.parent / "model.pt") as stream:
    (folder / "archive.zip").write_bytes(b"half")
    stream.write(b"half")
    stream.flush()
    print("written", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    (tmp_path / ".notes.part").write_text("a stranger's")
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"written\n"
        assert remove_abandoned(tmp_path) == []
        assert len(names(tmp_path)) == 3
        other.kill()
        other.wait()
    # Writing any other file into the folder is enough.
    atomic_write_text(tmp_path / "other.txt", "whole")
    assert names(tmp_path) == [".notes.part", "other.txt"]


def test_a_scratch_folder_begins_with_removing_what_is_left(tmp_path: Path) -> None:
    dead = tmp_path / f".fetch.{_machine()}-999999999.abcd1234.part"
    dead.mkdir()
    (dead / "archive.zip").write_text("half")
    with scratch_folder(tmp_path, "fetch") as folder:
        assert not dead.exists()
        assert remove_abandoned(tmp_path) == []
        assert folder.is_dir()
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", [".model.pt.00000000-999999999.abcd1234.part", ".model.pt.abcd1234.part"])
def test_parts_of_another_machine_or_an_earlier_version_wait_for_a_day(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("half")
    assert remove_abandoned(tmp_path) == []
    then = path.stat().st_mtime - 25 * 3600
    os.utime(path, (then, then))
    assert remove_abandoned(tmp_path) == [name]


def test_long_names_leave_room_for_the_part(tmp_path: Path) -> None:
    name = "é" * 120  # 240 bytes
    atomic_write_text(tmp_path / name, "whole")
    assert names(tmp_path) == [name]
    assert len(_prefix(name).encode()) < 210


def test_a_copy_is_whole_or_the_earlier_file(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3 * 2**20))
    target.write_text("earlier")
    atomic_copy(source, target)
    assert target.read_bytes() == source.read_bytes()
    with pytest.raises(FileNotFoundError):
        atomic_copy(tmp_path / "absent", target)
    assert target.read_bytes() == source.read_bytes()
    with pytest.raises(TypeError), atomic_open(target) as stream:
        stream.write("half")
    assert names(tmp_path) == ["source", "target"]


@pytest.mark.parametrize("text", [None, "", '{"a": 1', "[1]", "3", "nonsense"])
def test_a_json_file_that_is_not_whole_holds_nothing(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "facts.json"
    if text is not None:
        path.write_text(text)
    assert read_json_if_whole(path) == {}
    path.write_text('{"a": 1}')
    assert read_json_if_whole(path) == {"a": 1}
