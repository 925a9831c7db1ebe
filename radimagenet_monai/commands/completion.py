"""``radimagenet completion``."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print a script that completes commands and flags in your shell.

    Args:
        shell: bash, zsh or fish. For bash: source <(radimagenet completion bash)
    """
    from radimagenet_monai.commands.tree import COMMANDS as ALL
    from radimagenet_monai.core.completion_script import completion_script

    print(completion_script(ALL, "radimagenet", shell), end="")


COMMANDS = {"completion": completion}
