"""Reading native images (DICOM, NIfTI, NRRD, pictures, NPY) and writing results."""
