"""No folder of a machine in what others read, and commands that can still be typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.named_roots import shell_command, without_folders

ROOTS = {"DATA": "/data/study 7", "COMPARISON": "/home/jane/out"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/other study/encoder.safetensors", "encoder.safetensors"),
        ("cannot read /data/study 7/a b.png", "cannot read $DATA/a b.png"),
        ("/home/jane/out/runs/1/train.log: failed", "$COMPARISON/runs/1/train.log: failed"),
        ("/home/jane/output/x.png: failed", "x.png: failed"),
        ("'/mnt/My Scans/x y.png': cut short", "'x y.png': cut short"),
        (r"C:\Users\jane\x.png is damaged", "x.png is damaged"),
        ("see https://example.org/a/b and s3://bucket/a/b", "see https://example.org/a/b and s3://bucket/a/b"),
        ("1/2 of the images, and/or 3/4", "1/2 of the images, and/or 3/4"),
        ("data:image/png;base64,iVBO/Rw0K/GgoA==", "data:image/png;base64,iVBO/Rw0K/GgoA=="),
    ],
)
def test_paths_in_texts(text, expected):
    assert without_folders(text, ROOTS) == expected


def test_values_keep_their_form(monkeypatch):
    monkeypatch.setenv("HOME", "/home/jane")
    value = {"a": ["/x/y/z", 3, None, True], "b": {"c": Path("/q/r/s.pt")}, "d": "in /home/jane"}
    assert without_folders(value) == {"a": ["z", 3, None, True], "b": {"c": "s.pt"}, "d": "in ~"}


FOLDERS = st.lists(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,8}[A-Za-z0-9_]", fullmatch=True), min_size=1, max_size=4
)


@given(FOLDERS, st.sampled_from(["{}", "'{}': cut short", 'error in "{}"', "{}"]))
def test_no_folder_of_any_absolute_path_is_left(folders, sentence):
    path = "/" + "/".join([*(f"Zq{folder}" for folder in folders), "last.png"])
    assert without_folders(sentence.format(path)) == sentence.format("last.png")


WORDS = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), max_size=8), max_size=3
)


@settings(max_examples=20)
@given(WORDS)
def test_a_shell_with_the_roots_gets_the_command_that_ran(words):
    arguments = [*words, "/data/study 7", '/data/study 7/a$b`".png', "trained=/home/jane/out,x", "plain"]
    typed = shell_command(["printf", "%s\\0", *arguments], ROOTS)
    assert "jane" not in typed
    assert "study" not in typed
    done = subprocess.run(typed, shell=True, env={**ROOTS, "PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == arguments


def test_the_interpreter_of_this_machine_is_not_named():
    assert shell_command([sys.executable, "-m", "monai.bundle"]) == "python -m monai.bundle"
