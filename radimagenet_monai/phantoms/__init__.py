"""Small synthetic studies in the on-disk formats of the real datasets."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radimagenet_monai.core.errors import ConfigurationError

PHANTOMS: dict[str, str] = {
    "busi": "radimagenet_monai.phantoms.busi:write_busi_phantom",
    "ddti": "radimagenet_monai.phantoms.ddti:write_ddti_phantom",
    "cc_ccii": "radimagenet_monai.phantoms.cc_ccii:write_cc_ccii_phantom",
    "covid19_ct": "radimagenet_monai.phantoms.covid19_ct:write_covid19_ct_phantom",
    "rsna_ich": "radimagenet_monai.phantoms.rsna_ich:write_rsna_ich_phantom",
    "rsna_pneumonia": "radimagenet_monai.phantoms.rsna_pneumonia:write_rsna_pneumonia_phantom",
    "radimagenet": "radimagenet_monai.phantoms.radimagenet:write_radimagenet_phantom",
    "mrnet": "radimagenet_monai.phantoms.mrnet:write_mrnet_phantom",
    "mr_nifti": "radimagenet_monai.phantoms.mr_nifti:write_mr_nifti_phantom",
}
"""Dataset name to its writer, as ``module:function``; the module is imported on first use only."""


def write_phantom(name: str, out: str | os.PathLike[str], **options: Any) -> Path:
    """Write the phantom of the dataset ``name`` under ``out``; returns the folder to prepare records from.

    Raises
    ------
    ConfigurationError
        For an unknown name or option, and for the reasons stated by the writer.
    """
    write = phantom_writer(name)
    known = [option for option in inspect.signature(write).parameters if option != "out"]
    for option in options:
        if option not in known:
            raise ConfigurationError(f"phantom '{name}' has no option '{option}'; it has {', '.join(known)}")
    folder: Path = write(out, **options)
    return folder


def phantom_writer(name: str) -> Callable[..., Any]:
    """The function that writes the phantom of the dataset ``name``.

    Raises
    ------
    ConfigurationError
        For an unknown name.
    """
    if name not in PHANTOMS:
        raise ConfigurationError(f"phantom '{name}' is unknown; expected one of {', '.join(PHANTOMS)}")
    module, function = PHANTOMS[name].split(":")
    writer: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return writer
