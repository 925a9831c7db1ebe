"""Write canonical_conformance.csv anew: ``PYTHONPATH=. python tests/intensity/make_canonical_table.py``.

To be run only when an intensity policy changed on purpose; the differences then belong into the change's description.
"""

from __future__ import annotations

import csv
import warnings

from pydicom_collections import TABLE, all_files, attempts, canonical_row

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    rows = [
        canonical_row(name, policy, transform, path)
        for name, path in all_files().items()
        for policy, transform in attempts(path)
    ]
    with TABLE.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} rows in {TABLE.name}")
