"""Find what makes a test set easier than new patients, or a label doubtful, in a records table and its images.

- **Leakage**: a patient, a file, an image or pictures that look the same, on both sides of a split or in two folds.
- **Conflict**: one image under two labels.
- **Warning**: a likely mistake that does not inflate results (blank, unreadable, missing, changed files, ...).
- **Note**: what readers of results should know.

Pictures look the same if their hashes are close and their details correlate, see
`radimagenet_monai.datasets.audit.picture_hash`. Pictures of one patient are naturally alike and are not compared,
except if patients usually have one picture each: look-alikes under two labels are then a warning.

Not found: a patient under two ids, mirrored or rotated copies, copies cropped by 1 % of a side or more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.datasets.audit.records_audit import audit_records
    from radimagenet_monai.datasets.audit.result import KINDS, SEVERITIES, Audit, Finding

_MODULE_OF = {
    "Audit": "result",
    "Finding": "result",
    "KINDS": "result",
    "SEVERITIES": "result",
    "audit_records": "records_audit",
}

__all__ = ["KINDS", "SEVERITIES", "Audit", "Finding", "audit_records"]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
