"""One-line error messages for ``python -m monai.bundle run``."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from types import TracebackType

from radimagenet_monai.core.errors import RadImageNetError, one_line
from radimagenet_monai.core.flags import with_known_flags

_keys: set[str] = set()
"""Keys of the config that this process runs; empty: not known."""


def note_keys(keys: Iterable[str]) -> None:
    """Restrict error messages to keys of the config that is run."""
    _keys.update(keys)


def show_errors_in_one_line() -> None:
    """Print a user error as one line, without MONAI's chain of tracebacks, and exit with status 1 or 2.

    MONAI wraps every config error in "Failed to instantiate ..."; the user needs the innermost one. Only has an effect
    in a process started as ``python -m monai.bundle``: a library must not change how other programs report errors.
    """
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name.startswith("monai.bundle"):
        sys.excepthook = _excepthook


def user_error_line(error: BaseException) -> str | None:
    """The line to show for ``error`` if the user can fix it, or ``None`` if it is a bug in the program."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, RadImageNetError):
            return f"error: {seen}"
        if isinstance(seen, OSError):
            return f"error: {_describe_os_error(seen)}"
        if _is_lost_process(seen):
            cause = one_line(seen).split(". ")[0]
            return (
                f"error: another process of this run has ended or cannot be reached ({cause}); what it printed says "
                "why; go on with --resume true in as many processes as there are"
            )
        seen = seen.__cause__ or seen.__context__
    return None


def exit_status(error: BaseException) -> int:
    """2 for a misspelt flag or key or a value of the wrong type, else 1."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, RadImageNetError):
            return seen.exit_status
        seen = seen.__cause__ or seen.__context__
    return 1


def _is_lost_process(error: BaseException) -> bool:
    if "torch.distributed" not in sys.modules:  # takes seconds to import, and no run had several processes without it
        return False
    from radimagenet_monai.engine.distributed import is_lost_process

    return is_lost_process(error)


def _describe_os_error(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    way_out = {
        errno.ENOSPC: "; free some space, or give another --output_dir",
        errno.EDQUOT: "; free some space, or give another --output_dir",
        errno.EROFS: "; give an --output_dir that can be written to",
        errno.EACCES: "; give an --output_dir that can be written to",
    }.get(error.errno or 0, "")
    return one_line(f"{place}{error.strerror or error}{way_out}")


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    line = user_error_line(error)
    if line is None:
        sys.__excepthook__(kind, error, traceback)
        return
    status = exit_status(error)
    if _keys and status == 1:
        line = with_known_flags(line, _keys)
    # All processes of a run read the same command line: report its mistakes once.
    if status == 1 or os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr)
    if status != 1:
        raise SystemExit(status)  # the only way for an exception hook to set an exit status other than 1
