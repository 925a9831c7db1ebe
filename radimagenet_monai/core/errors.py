"""Errors a user can act on. Every message is one line: what was given, what was expected, and how to fix it."""

from __future__ import annotations

import os


def one_line(text: object) -> str:
    """``text`` on a single line, so that an error stays one line in a terminal and in a CSV cell.

    Bytes of a file name that are not UTF-8 become ``\\udcNN``, because a terminal or a UTF-8 file rejects them.
    """
    return " ".join(str(text).split()).encode("utf-8", "backslashreplace").decode("utf-8")


class RadImageNetError(Exception):
    """Base class of all errors caused by the input and not by the program.

    The command line prints such an error as one line and exits with ``exit_status``, without a traceback.
    """

    exit_status = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


class UnreadableImageError(RadImageNetError):
    """An image file that cannot be read completely.

    Parameters
    ----------
    path
        The requested file or folder.
    stage
        Stage at which reading failed: ``"open"``, ``"header"``, ``"decode"``, ``"geometry"`` or ``"intensity"``.
    cause
        The reason in words, or the exception behind it.
    """

    def __init__(self, path: str | os.PathLike[str], stage: str, cause: object) -> None:
        self.path = os.fspath(path)
        self.stage = stage
        if isinstance(cause, BaseException):
            cause = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        self.cause = one_line(cause)
        super().__init__(f"{self.path}: cannot be read ({self.stage}): {self.cause}")

    def __reduce__(self) -> tuple[type[UnreadableImageError], tuple[str, str, str]]:
        # Worker processes send this error to their parent; the default reduction would drop two arguments.
        return type(self), (self.path, self.stage, self.cause)


class IntensityError(RadImageNetError):
    """An image whose modality or values do not fit the requested intensity policy."""


class RecordsError(RadImageNetError):
    """A records table, a dataset folder or a label that does not fit the task."""


class ConfigurationError(RadImageNetError):
    """An unknown name, or settings that contradict each other."""


class UsageError(ConfigurationError):
    """A misspelt flag or key, or a value of the wrong type: nothing was run. Exit status 2, as usual in shells."""

    exit_status = 2


class WeightsError(RadImageNetError):
    """Weights or a checkpoint that are missing, damaged or made for another network."""


class StoreError(RadImageNetError):
    """A packed store that is damaged or cannot be built."""


class TrainingError(RadImageNetError):
    """Training that cannot continue, for example because of a NaN or infinite loss."""


class DicomOutputError(RadImageNetError):
    """A DICOM object that cannot be made from its source, or that a DICOMweb server does not give or take."""
