"""DICOM files: headers, stored values, kinds of series."""
