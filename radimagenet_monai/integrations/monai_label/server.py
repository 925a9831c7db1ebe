"""How MONAI Label's own server is started for bundles of this project."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from radimagenet_monai.core.errors import ConfigurationError

_STARTUP = Path(__file__).parent / "startup"
_EXTENSIONS = ("*.nii.gz", "*.nii", "*.nrrd", "*.mha", "*.dcm", "*.png", "*.jpg", "*.jpeg", "*.tif", "*.tiff")


def server_process(
    app: str | os.PathLike[str],
    studies: str,
    models: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    modality: str = "",
    environment: Mapping[str, str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of ``monailabel start_server``, for an app of ours or the sample app monaibundle.

    Variables that are already set are kept. The others are: PYTHONPATH (see ``startup/sitecustomize.py``); DICOM files
    among the images of a folder; no conversion of DICOMweb series to NIfTI, which would lose what
    our readers need of the header; the modality of series that an archive is searched for.

    Parameters
    ----------
    app
        App folder.
    studies
        Folder of images, or address of a DICOMweb service.
    models
        Bundles of the app to serve; all if empty.
    host, port
        Address to listen on. The server asks nobody who they are, so its default is this machine alone.
    modality
        DICOM modality of the series of a DICOMweb service, such as ``US``; any if empty.
    environment
        Environment to start from.

    Returns
    -------
    tuple
        Arguments, the first of which is this Python, and the whole environment.

    Raises
    ------
    ConfigurationError
        If MONAI Label is not installed, the app has no ``main.py``, or a model is not in it.
    """
    if importlib.util.find_spec("monailabel") is None:
        raise ConfigurationError(
            "MONAI Label is not installed in this Python; run 'pip install --no-deps -r requirements/monai_label.txt', "
            "see docs/how-to/monai_label.md"
        )
    folder = Path(app)
    if not (folder / "main.py").is_file():
        raise ConfigurationError(f"'{app}' is no app of MONAI Label (no main.py); write one with 'label install-app'")
    known = sorted(path.name for path in (folder / "model").glob("*") if (path / "configs").is_dir())
    if missing := sorted(set(models) - set(known)):
        raise ConfigurationError(f"'{app}' has no bundle {', '.join(missing)}; it has {', '.join(known) or 'none'}")
    arguments = [sys.executable, "-m", "monailabel.main", "start_server"]
    arguments += ["--app", str(app), "--studies", studies, "--host", host, "--port", str(port)]
    arguments += ["--conf", "models", ",".join(models or known)]
    # Neither a list of bundles nor weights of another model are fetched from the network.
    arguments += ["--conf", "zoo_source", "local", "--conf", "sam2", "false"]
    before = dict(os.environ if environment is None else environment)
    paths = [str(_STARTUP), *filter(None, [before.get("PYTHONPATH")])]
    settings = {
        "MONAI_LABEL_DATASTORE_FILE_EXT": json.dumps(_EXTENSIONS),
        "MONAI_LABEL_DICOMWEB_CONVERT_TO_NIFTI": "false",
        "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": json.dumps({"Modality": modality} if modality else {}),
    }
    return arguments, {**settings, **before, "PYTHONPATH": os.pathsep.join(paths)}
