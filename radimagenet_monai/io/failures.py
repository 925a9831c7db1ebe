"""How failures of the reading libraries leave this package: quiet, and without header values.

The libraries quote header values in exceptions, warnings and log records (``Invalid value for VR PN: '...'``), and a
header holds the patient's name. So what they say passes through here.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import warnings
from collections.abc import Iterator

from radimagenet_monai.errors import UnreadableImageError

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|‘[^’]*’|“[^”]*”|`[^`]*`|['\"`‘“].*$", re.DOTALL)
_LOGGERS = ("pydicom", "nibabel", "PIL", "openjpeg", "libjpeg", "pylibjpeg")
_MOST_CHARACTERS = 240

_lock = threading.Lock()
_depth = 0
_restore = contextlib.ExitStack()


def anonymous(exc: BaseException) -> str:
    """The class and message of ``exc`` with every quoted part cut out, since it may be a header value."""
    if isinstance(exc, OSError) and exc.strerror:
        return f"{type(exc).__name__}: {exc.strerror}"
    message = _QUOTED.sub("…", str(exc))[:_MOST_CHARACTERS].strip()
    return f"{type(exc).__name__}: {message}" if message else type(exc).__name__


@contextlib.contextmanager
def stage(path: str, name: str) -> Iterator[None]:
    """Turn every exception of the block into an ``UnreadableImageError`` of this stage and keep the libraries quiet.

    Parameters
    ----------
    path
        The file or folder being read.
    name
        ``"open"``, ``"header"``, ``"decode"`` or ``"geometry"``.

    Raises
    ------
    UnreadableImageError
        For anything the block raises. One that is raised inside keeps its own path, stage and cause.
    """
    try:
        with _quiet():
            yield
    except UnreadableImageError:
        raise
    except BaseException as exc:
        # The RLE decoder is written in Rust; its panics are no Exception, though harmless.
        if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
            raise
        # "from None": a chained traceback would print the original message, and with it the header value.
        raise UnreadableImageError(path, name, anonymous(exc)) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings and the libraries' loggers, once for all threads and nested blocks."""
    global _depth
    with _lock:
        if _depth == 0:
            _restore.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            for name in _LOGGERS:
                logger = logging.getLogger(name)
                _restore.callback(logger.setLevel, logger.level)
                logger.setLevel(logging.CRITICAL + 1)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _restore.close()
