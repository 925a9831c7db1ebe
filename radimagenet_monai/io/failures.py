"""Errors, warnings and logs of the reading libraries, silenced and stripped of header values.

The libraries quote header values in exceptions, warnings and log records (``Invalid value for VR PN: '...'``), and a
header holds the patient's name, so their messages are filtered here.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import warnings
from collections.abc import Iterator, Sequence

from radimagenet_monai.core.errors import UnreadableImageError

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|‘[^’]*’|“[^”]*”|`[^`]*`|['\"`‘“].*$", re.DOTALL)
_LOGGERS = (
    *("pydicom", "nibabel", "PIL", "openjpeg", "libjpeg", "pylibjpeg"),
    *("highdicom", "dicomweb_client", "retrying"),  # of `radimagenet_monai.integrations.dicom_output`
)
_MOST_CHARACTERS = 240

_lock = threading.Lock()
_depth = 0
_restore = contextlib.ExitStack()


def anonymous(exc: BaseException) -> str:
    """The class and message of ``exc`` without its quoted parts, which may be header values."""
    if isinstance(exc, OSError) and exc.strerror:
        return f"{type(exc).__name__}: {exc.strerror}"
    message = _QUOTED.sub("…", str(exc))[:_MOST_CHARACTERS].strip()
    return f"{type(exc).__name__}: {message}" if message else type(exc).__name__


@contextlib.contextmanager
def stage(path: str, name: str) -> Iterator[None]:
    """Turn every exception of the block into an ``UnreadableImageError`` of this stage and silence the libraries.

    Parameters
    ----------
    path
        File or folder being read.
    name
        ``"open"``, ``"header"``, ``"decode"`` or ``"geometry"``.

    Raises
    ------
    UnreadableImageError
        For any exception in the block. An ``UnreadableImageError`` from inside keeps its own path, stage and cause.
    """
    try:
        with quiet_libraries():
            yield
    except UnreadableImageError:
        raise
    except BaseException as exc:
        # The RLE decoder is written in Rust; its panics do not derive from Exception, though they are harmless.
        if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
            raise
        # "from None": a chained traceback would print the original message, and with it the header value.
        raise UnreadableImageError(path, name, anonymous(exc)) from None


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence warnings and the reading libraries' loggers, once for all threads and nested blocks.

    Entering takes as long as decoding a small picture; a process that only reads may stay in it.
    """
    global _depth
    with _lock:
        if _depth == 0:
            _restore.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            loggers = [logging.getLogger(name) for name in _LOGGERS]
            _restore.callback(_set_levels, loggers, [logger.level for logger in loggers])
            _set_levels(loggers, [logging.CRITICAL + 1] * len(loggers))
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _restore.close()


def _set_levels(loggers: Sequence[logging.Logger], levels: Sequence[int]) -> None:
    for logger, level in zip(loggers, levels, strict=True):
        logger.level = level
    loggers[-1].setLevel(levels[-1])  # clears the level cache of all loggers in the process, which is slow
