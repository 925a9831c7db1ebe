"""``radimagenet``: the command line. The commands are in `radimagenet_monai.commands`."""

from __future__ import annotations

import io
import sys

from radimagenet_monai.commands.tree import COMMANDS
from radimagenet_monai.core import command_line
from radimagenet_monai.core.errors import RadImageNetError, UsageError
from radimagenet_monai.core.flags import with_known_flags
from radimagenet_monai.core.version import __version__

__all__ = ["COMMANDS", "main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. An error that the user can fix is one line on standard error.

    Exit status 2 for a misspelt flag or a value of the wrong type, before anything is done; 1 for any other error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may contain bytes that are not UTF-8
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments in (["--version"], ["version"]):
        print(__version__)
        return
    try:
        command_line.run(COMMANDS, arguments, "radimagenet")
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_status) from None
    except (RadImageNetError, OSError) as error:
        from radimagenet_monai.engine.start.error_lines import user_error_line

        line = user_error_line(error) or f"error: {error}"
        known = command_line.flags_of(COMMANDS, arguments, "radimagenet")
        print(line if known is None else with_known_flags(line, known), file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
