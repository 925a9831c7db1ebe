"""A training that a labelling client starts with images and label files of its own, as MONAI Label does."""

from __future__ import annotations

import datetime
import itertools
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from radimagenet_monai.loading.label_files import are_label_files, records_of_label_files

_TRAIN, _VALIDATION = "train::dataset::data", "validate::dataset::data"
_EPOCHS = "train::trainer::max_epochs"

_of_clients: weakref.WeakSet[ConfigParser] = weakref.WeakSet()


def take_label_files(parser: ConfigParser) -> None:
    """Replace a client's label files in a training config by records, and let the run continue the bundle's model.

    Does nothing to any other config. Each such run has a folder of its own, ``output/labels_TIME`` in the bundle; the
    model in ``models`` is replaced when it ends. What the run records says how many epochs it was given.

    Parameters
    ----------
    parser
        Parser of ``train.json`` with the client's overrides.

    Raises
    ------
    RecordsError
        See `records_of_label_files`.
    """
    if _TRAIN not in parser or not are_label_files(parser[_TRAIN]):
        return
    validation = parser[_VALIDATION] if are_label_files(parser.get(_VALIDATION)) else []
    masks = parser["train"]["dataset"].get("with_mask", False)
    records = records_of_label_files(
        parser[_TRAIN],
        validation,
        None if masks else parser["classes"],
        parser.get("findings"),
        parser["plane"],
        int(parser["seed"]),
    )
    root = Path(parser["bundle_root"])
    changed: dict[str, Any] = {
        _TRAIN: records["train"],
        _VALIDATION: records["validation"],
        "output_dir": str(_new_folder(root / "output")),
        "overwrite": True,
        "resume": False,
    }
    if isinstance(parser[_EPOCHS], int):
        changed["max_epochs"] = parser[_EPOCHS]
    for place, value in changed.items():
        parser[place] = value
    # The parser had been read when the hook that calls this was evaluated.
    parser.parse(reset=True)
    _of_clients.add(parser)


def is_label_run(parser: ConfigParser | None) -> bool:
    """Whether `take_label_files` has found label files in this config."""
    return parser is not None and parser in _of_clients


def continued_model(parser: ConfigParser | None) -> Path | None:
    """The model that a client's ``CheckpointLoader`` among the training handlers starts from."""
    if parser is None or "train::handlers" not in parser:
        return None
    handlers = parser["train::handlers"]
    for handler in handlers if isinstance(handlers, list) else ():
        if isinstance(handler, Mapping) and handler.get("_target_") == "CheckpointLoader":
            path = handler.get("load_path")
            if isinstance(path, str) and not path.startswith(("$", "@")):
                return Path(path)
    return None


def _new_folder(output: Path) -> Path:
    time = datetime.datetime.now().strftime("%Y%m%d_%H%M%S")
    names = itertools.chain([f"labels_{time}"], (f"labels_{time}_{number}" for number in itertools.count(2)))
    return next(folder for name in names if not (folder := output / name).exists())
