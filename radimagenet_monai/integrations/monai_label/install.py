"""An app folder for MONAI Label, with copies of trained bundles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError

MODELS = "model"
"""Folder of an app that holds its bundles; MONAI Label's name."""

_MAIN = '''\
"""MONAI Label app with bundles of RadImageNet on MONAI; written by `radimagenet label install-app`."""

from radimagenet_monai.integrations.monai_label.app import RadImageNetApp

__all__ = ["RadImageNetApp"]
'''


def install_app(folder: str | os.PathLike[str], bundles: Sequence[str | os.PathLike[str]]) -> Path:
    """Write an app for MONAI Label: a ``main.py``, and a copy of each bundle in ``model``.

    The server trains the copies; the bundles themselves stay as they are. Outputs of earlier runs are not copied.

    Parameters
    ----------
    folder
        Folder of the app. An app that is there gets further bundles.
    bundles
        Folders of trained bundles of this project.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigurationError
        For a folder that is no trained bundle, or a bundle that the app has already. Nothing is written then.
    """
    app = Path(folder)
    sources = [Path(bundle).resolve() for bundle in bundles]
    if not sources:
        raise ConfigurationError("no bundle was given; expected folders of trained bundles")
    if app.is_dir() and any(app.iterdir()) and not (app / MODELS).is_dir():
        raise ConfigurationError(f"'{app}' holds other files; give a new folder, or that of an app to add to")
    for source in sources:
        if not (source / "configs" / "inference.json").is_file():
            raise ConfigurationError(f"'{source}' has no configs/inference.json; expected the folder of a bundle")
        if not (source / "models" / "model.pt").is_file():
            raise ConfigurationError(f"'{source}' has no models/model.pt; train the bundle, or fetch a trained one")
        if (app / MODELS / source.name).exists() or sum(source.name == other.name for other in sources) > 1:
            raise ConfigurationError(f"'{app}' would hold two bundles of the name {source.name}; rename one folder")
    for source in sources:
        shutil.copytree(source, app / MODELS / source.name, ignore=shutil.ignore_patterns("output", "__pycache__"))
    atomic_write_text(app / "main.py", _MAIN)
    return app
