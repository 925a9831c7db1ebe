"""Shell completion, asked of bash itself."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from radimagenet_monai.cli import COMMANDS, main
from radimagenet_monai.completion import SHELLS, completion_script


def completed(*words: str, folder: str = "/") -> list[str]:
    """What bash offers after these words of a command line."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = completion_script(COMMANDS, "radimagenet", "bash")
    typed = " ".join(f"'{word}'" for word in words)
    ask = f"""{script}
COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}
_radimagenet_completion
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.split()


def test_bash_offers_commands_subcommands_and_flags() -> None:
    assert completed("radimagenet", "pre") == ["prepare"]
    assert {"info", "prepare", "compare", "bundles", "--help"} <= set(completed("radimagenet", ""))
    assert set(completed("radimagenet", "weights", "")) == {*COMMANDS["weights"], "--help"}
    assert completed("radimagenet", "compare", "--rec") == ["--records"]
    assert completed("radimagenet", "bundles", "render", "--o") == ["--out"]


def test_bash_offers_files_behind_a_flag(tmp_path) -> None:
    (tmp_path / "records.csv").touch()
    assert completed("radimagenet", "compare", "--records", "rec", folder=str(tmp_path)) == ["records.csv"]
    assert completed("radimagenet", "audit", "rec", folder=str(tmp_path)) == ["records.csv"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_flag_is_in_the_script(shell: str, capsys: pytest.CaptureFixture) -> None:
    main(["completion", shell])
    script = capsys.readouterr().out
    assert all(name in script for name in [*COMMANDS, *COMMANDS["bundles"], "learning_rates", "sha256"])
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script, text=True, check=False).returncode == 0
