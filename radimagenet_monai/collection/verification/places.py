"""Check whether a text in a config leads out of the bundle: a path, an address or a host."""

from __future__ import annotations

import re
from collections.abc import Iterable

BUNDLE = "\0bundle"
"""Stands for the folder of the bundle in a value that was worked out."""

GIVEN = "\0given"
"""Stands before a value that a key at the top of the config holds for the user to replace, such as a data folder."""

OUTPUT_FOLDERS = ("output", "outputs", "eval", "models", "model", "logs", "log", "runs", "results", "store", "cache")
"""Folders that a run may write to where the path does not start with the bundle's folder."""

_RESERVED_FOLDERS = {"configs", "docs", "scripts"}
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(?:file|data|javascript|jar|sqlite|mailto):(?!:)", re.IGNORECASE)
_HOST = re.compile(r"(?!(?:cuda|cpu|mps|xpu)\b)(?:[\w-]+\.)*[\w-]+:\d{2,5}(?:/|\Z)|(?:\d{1,3}\.){3}\d{1,3}(?:[:/]|\Z)")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_UPWARDS = re.compile(r"(?:^|[/\\])\s*\.\.\s*(?:[/\\]|$)")
_PLAIN_PATH = re.compile(r"[\w.\- /]+")
_PLAIN_NAME = re.compile(r"[\w\-][\w.\-]*|\.\w[\w.]*|")


def dangerous_text(text: str) -> str | None:
    """Reason if a text is an address, a host, or a path that no bundle needs, else ``None``."""
    bare = text.removeprefix(BUNDLE).removeprefix(GIVEN)
    if any((ord(letter) < 0x20 and letter not in "\t\n\r") or ord(letter) == 0x7F for letter in bare):
        return "a text with control characters"
    stripped = bare.strip()
    if _ADDRESS.search(stripped) or _HOST.match(stripped) or stripped.startswith(("\\\\", "//")):
        return "an address"
    if _UPWARDS.search(stripped) or _DRIVE.match(stripped) or stripped.startswith(("~", "\\")):
        return "a path that leaves the bundle"
    if stripped.startswith("/") and bare != stripped:
        return "a path that leaves the bundle, behind blanks"
    return None


def is_absolute(text: str) -> bool:
    """Whether a text is an absolute path that is not the value of a top-level key of the config."""
    return text.strip().startswith("/")


def why_not_written(text: str, suffixes: Iterable[str], allow_bundle: bool = False) -> str | None:
    """Reason why a run must not write to the path; ``None`` if it is in the bundle's folder or an output folder.

    Parameters
    ----------
    text
        The path, with `BUNDLE` and `GIVEN` where it depends on them.
    suffixes
        Allowed suffixes of the file; empty for a folder.
    allow_bundle
        Whether the bundle's folder itself is allowed.
    """
    if reason := dangerous_text(text):
        return reason
    if text == BUNDLE and allow_bundle:
        return None
    if text.startswith(BUNDLE):
        inner = text.removeprefix(BUNDLE)
        parts = [part for part in inner.split("/") if part not in ("", ".")]
        if not inner.startswith("/") or not parts or parts[0].lower() in _RESERVED_FOLDERS:
            return "not a folder for output in the bundle"
    else:
        parts = [part for part in text.split("/") if part not in ("", ".")]
        inner = text
        if text.startswith(GIVEN) or is_absolute(text) or not parts or parts[0] not in OUTPUT_FOLDERS:
            return "neither in the bundle nor in its output folder"
    if not _PLAIN_PATH.fullmatch(inner) or any(part.startswith(".") for part in parts):
        return "not a plain path"
    allowed = tuple(f".{suffix}" for suffix in suffixes)
    if allowed and (not parts[-1].endswith(allowed) or len(parts) < 2):
        return f"not a file {' or '.join(allowed)} in a folder for output"
    return None


def why_not_read(text: str) -> str | None:
    """Reason not to read from the path; ``None`` if it is in the bundle or given by a top-level key of the config."""
    if reason := dangerous_text(text):
        return reason
    return "a path that leaves the bundle" if is_absolute(text) else None


def is_plain_name(text: str) -> bool:
    """Whether a text is a file name, or the start or end of one, without a folder."""
    return _PLAIN_NAME.fullmatch(text) is not None and ".." not in text
