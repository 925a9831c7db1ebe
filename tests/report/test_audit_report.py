"""The audit as people meet it: files, page, exit status."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from radimagenet_monai.commands.audit import audit
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.phantoms.busi import write_busi_phantom
from radimagenet_monai.report.audit_run import run_audit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_busi_phantom(tmp_path_factory.mktemp("busi"), patients=30, seed=5, size=(96, 128), progress=False)


@pytest.fixture
def prepared(phantom: Path, tmp_path: Path) -> Path:
    """Folder of the table, apart from the images."""
    prepare("busi", phantom, tmp_path / "prepared")
    return tmp_path / "prepared"


@pytest.fixture
def planted(phantom: Path, tmp_path: Path) -> Path:
    """Folder of images and table: a patient on both sides, a re-encoded copy, a blank image, a file that is none."""
    folder = tmp_path / "planted"
    shutil.copytree(phantom, folder)
    path, _ = prepare("busi", folder, folder)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    train, test = (table[table["split"] == split].iloc[0] for split in ("train", "test"))
    table.loc[test.name, "patient_id"] = train["patient_id"]
    gray = cv2.imread(str(folder / train["image"]), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "<b>copy.jpg"), gray, [cv2.IMWRITE_JPEG_QUALITY, 80])
    cv2.imwrite(str(folder / "blank.png"), np.zeros_like(gray))
    (folder / "junk.png").write_bytes(b"junk")
    for name in ("<b>copy.jpg", "blank.png", "junk.png"):
        row = {"image": name, "label": "benign", "patient_id": "Doe^Jane", "split": "test", "fold": "0"}
        table = pd.concat([table, pd.DataFrame([row])]).fillna("")
    table.to_csv(path, index=False)
    return folder


class _Page(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data.split()


@pytest.mark.long
def test_a_clean_table_passes(prepared: Path, phantom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit(str(prepared))
    output = capsys.readouterr().out
    assert output.splitlines() == ["no leakage found: nothing among 30 images", str(prepared / "audit.html")]
    facts = json.loads((prepared / "audit.json").read_text())
    assert (facts["verdict"], facts["findings"], facts["images"], facts["compared"]) == ("clean", [], 30, 30)
    assert facts["source"] == "records.csv"
    assert "no leakage found" in (prepared / "audit.html").read_text()
    assert str(phantom) not in (prepared / "audit.html").read_text() + (prepared / "audit.json").read_text()


def test_leakage_ends_with_status_1(planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        audit(str(planted / "records.csv"), out=str(tmp_path / "out"))
    assert stopped.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "leakage found: 2 leakage, 2 warnings among 33 images"
    assert "  leakage       1  patients in two splits or folds" in lines
    assert "  leakage       1  pictures that look the same" in lines
    assert "  warning       1  unreadable images" in lines
    assert lines[-1] == str(tmp_path / "out" / "audit.html")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"audit.html", "audit.json"}
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["counts"]["blank"] == {"warning": 1}


def test_the_page_shows_pictures_and_hides_patients(planted: Path) -> None:
    result = run_audit(planted, progress=False)
    text = (planted / "audit.html").read_text(encoding="utf-8")
    page = _Page(text)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 3  # two of the patient's, the copy beside its original, the blank image
    assert all((picture["src"] or "").startswith("data:image/png;base64,") and picture["alt"] for picture in pictures)
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    assert "<b>" not in text  # file names are text, not markup
    assert "<b>copy.jpg" in " ".join(page.words)
    assert "junk.png" in page.words
    for written in (text, (planted / "audit.json").read_text()):
        assert "Doe^Jane" not in written
        assert "benign-0001" not in written
    assert result.failed

    run_audit(planted, show_ids=True, progress=False)
    assert "Doe^Jane" in (planted / "audit.html").read_text()
    assert "Doe^Jane" in (planted / "audit.json").read_text()


def test_pixels_may_stay_unread(planted: Path) -> None:
    with pytest.raises(SystemExit):
        audit(str(planted), pixels="false", show_ids="false")
    facts = json.loads((planted / "audit.json").read_text())
    assert facts["near_bits"] is None
    assert "near" not in facts["counts"]
    text = (planted / "audit.html").read_text()
    assert text.count("not looked at") == 6
    with pytest.raises(ConfigurationError, match="'maybe' is neither true nor false"):
        audit(str(planted), pixels="maybe")


def test_where_the_images_are(prepared: Path, phantom: Path, tmp_path: Path) -> None:
    summary = prepared / "summary.json"
    assert json.loads(summary.read_text())["root"] == str(phantom.resolve())
    for spoiled in ("not JSON", "[]", '{"root": 5}', json.dumps({"root": str(tmp_path / "gone")})):
        summary.write_text(spoiled)
        with pytest.raises(RecordsError, match=r"none of its images are under .*; give --root"):
            run_audit(prepared, pixels=False)
    assert not run_audit(prepared, root=phantom, pixels=False).failed
    with pytest.raises(RecordsError, match="give --root"):
        run_audit(prepared, root=tmp_path)
    shutil.copy(prepared / "records.csv", tmp_path / "beside.csv")
    (tmp_path / "Dataset_BUSI_with_GT").symlink_to(phantom / "Dataset_BUSI_with_GT")
    assert run_audit(tmp_path / "beside.csv", pixels=False).source == "beside.csv"
    with pytest.raises(RecordsError, match="no such records table"):
        run_audit(tmp_path / "none.csv")
