"""Shell completion, asked of the shells themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from all_commands import ALL

from radimagenet_monai.cli import COMMANDS, main
from radimagenet_monai.core.command_line import parameters_of
from radimagenet_monai.core.completion_script import SHELLS, completion_script


def completed(*words: str) -> list[str]:
    """What bash offers after these words of a command line; nothing where it completes file names."""
    typed = " ".join(f"'{word}'" for word in words)
    ask = f"""{completion_script(COMMANDS, "radimagenet", "bash")}
COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}
_radimagenet_completion
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    return subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout.split()


def test_bash_offers_commands_subcommands_and_flags() -> None:
    assert completed("radimagenet", "prep") == ["prepare"]
    assert {"info", "prepare", "compare", "bundles", "--help"} <= set(completed("radimagenet", ""))
    assert set(completed("radimagenet", "weights", "")) == {*COMMANDS["weights"], "--help"}
    assert completed("radimagenet", "compare", "--rec") == ["--records"]
    assert completed("radimagenet", "bundles", "render", "--o") == ["--out"]


def test_bash_completes_file_names_behind_a_flag_and_as_an_argument() -> None:
    assert completed("radimagenet", "compare", "--records", "rec") == []
    assert completed("radimagenet", "audit", "rec") == []
    script = completion_script(COMMANDS, "radimagenet", "bash")
    shown = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p radimagenet"], capture_output=True, text=True, check=True
    ).stdout
    # Without "-o default" an empty answer is the end; with "-o filenames" a folder "bundles" would get a slash.
    assert shown.split()[:-2] == ["complete", "-o", "default", "-F"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_flag_is_in_the_script(shell: str, capsys: pytest.CaptureFixture) -> None:
    main(["completion", shell])
    words = set(re.findall(r"[\w-]+", capsys.readouterr().out))
    mark = "" if shell == "fish" else "--"
    for name, item in ALL.items():
        assert words.issuperset(name.split())
        assert words.issuperset(f"{mark}{parameter.name}" for parameter in parameters_of(item.command)), name


ASKED = {
    "zsh": "source {script}; print ${{_comps[radimagenet]}}",
    "fish": "source {script}; complete -C 'radimagenet prep'; complete -C 'radimagenet weights imp';"
    " complete -C 'radimagenet compare --rec'; complete -C 'radimagenet audit rec'",
}
ANSWERS = {"zsh": ["_bash_complete"], "fish": ["prepare", "import", "--records", "records.csv"]}


@pytest.mark.parametrize("shell", ASKED)
def test_other_shells_load_the_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "records.csv").touch()
    script = tmp_path / "completion"
    script.write_text(completion_script(COMMANDS, "radimagenet", shell))
    options = ["-f"] if shell == "zsh" else ["--no-config"]
    done = subprocess.run(
        [shell, *options, "-c", ASKED[shell].format(script=script)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()] == ANSWERS[shell]
