"""A series from Orthanc, predicted, and the result sent back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pydicom
import pytest
from small_bundles import Mean, untrained

pytest.importorskip("highdicom", reason="highdicom is not installed (extra: dicom)")
pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed (extra: dicom)")

from clinic_images import series
from test_dicomweb import orthanc  # noqa: F401 - a fixture

from radimagenet_monai import predict
from radimagenet_monai.core.errors import DicomOutputError
from radimagenet_monai.integrations.dicom_output import find_series, store_instances

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_in_by_wado_and_out_by_stow(orthanc: str, tmp_path: Path) -> None:  # noqa: F811
    files, _ = series(tmp_path / "scanner")
    store_instances(orthanc, files)
    source = pydicom.dcmread(files[0])
    uid = str(source.SeriesInstanceUID)
    bundle = untrained("acl_tear_mri_classification", tmp_path, Mean(), threshold=0.5)
    settings = {"allow_modality_mismatch": True, "slices": "all"}
    predict(bundle, tmp_path / "scanner", tmp_path / "local", settings=settings)
    (prediction,) = predict(
        bundle, [], tmp_path / "out", source=orthanc, series=uid, dicom=["sr", "sc"], stow=orthanc, settings=settings
    )
    assert prediction.row["dicom"] is None
    columns = ["probability_tear", "slices_used", "slices_of_image"]
    local, fetched = (pd.read_csv(tmp_path / name / "predictions.csv")[columns] for name in ("local", "out"))
    pd.testing.assert_frame_equal(local, fetched)
    for modality in ("SR", "OT"):
        (found,) = find_series(orthanc, study_uid=str(source.StudyInstanceUID), modality=modality)
        assert found.instances == 1
    # But for the DICOM objects, nothing names the patient or the series.
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and path.suffix != ".dcm":
            assert uid.encode() not in path.read_bytes()
            assert b"secret" not in path.read_bytes()
    with pytest.raises(DicomOutputError, match="the connection was refused"):
        predict(bundle, files, tmp_path / "no", dicom=["sr"], stow="http://127.0.0.1:9/dicom-web", settings=settings)
