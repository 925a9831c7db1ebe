"""Results as DICOM: segmentation, structured report and secondary capture, and their way to and from an archive.

Plain functions on NumPy arrays and paths of DICOM files, without torch and without knowledge of bundles. highdicom and
dicomweb-client (extra ``dicom``) are imported by the functions that need them.

Everything written here carries the identifiers of its study, as it must to find its place in an archive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.integrations.dicom_output.contents import Finding, Model, Segment
    from radimagenet_monai.integrations.dicom_output.dicomweb import (
        FoundSeries,
        Stored,
        fetch_series,
        find_series,
        store_instances,
    )
    from radimagenet_monai.integrations.dicom_output.overlay import burn_outline
    from radimagenet_monai.integrations.dicom_output.report import write_report
    from radimagenet_monai.integrations.dicom_output.secondary_capture import write_secondary_capture
    from radimagenet_monai.integrations.dicom_output.segmentation import write_segmentation
    from radimagenet_monai.integrations.dicom_output.stored_order import as_stored, files_in_order

_MODULE_OF = {
    "Finding": "contents",
    "FoundSeries": "dicomweb",
    "Model": "contents",
    "Segment": "contents",
    "Stored": "dicomweb",
    "as_stored": "stored_order",
    "burn_outline": "overlay",
    "fetch_series": "dicomweb",
    "files_in_order": "stored_order",
    "find_series": "dicomweb",
    "store_instances": "dicomweb",
    "write_report": "report",
    "write_secondary_capture": "secondary_capture",
    "write_segmentation": "segmentation",
}

__all__ = [
    "Finding",
    "FoundSeries",
    "Model",
    "Segment",
    "Stored",
    "as_stored",
    "burn_outline",
    "fetch_series",
    "files_in_order",
    "find_series",
    "store_instances",
    "write_report",
    "write_secondary_capture",
    "write_segmentation",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
