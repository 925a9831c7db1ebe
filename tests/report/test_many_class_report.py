"""The page about an evaluation of many classes: it shows the numbers that were counted, in words."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from many_class_example import CLASSES, write_evaluation

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.catalog.phantom_notice import PHANTOM_NOTICE
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.report.run_report import write_run_report
from radimagenet_monai.statistics.streaming.counts import StreamingCounts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[StreamingCounts, str]:
    """Counts of 165 classes and the page about them."""
    folder = tmp_path_factory.mktemp("many")
    return write_evaluation(folder), write_run_report(folder).read_text(encoding="utf-8")


@pytest.mark.long
def test_165_classes(whole: tuple[StreamingCounts, str]) -> None:
    counts, text = whole
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text), "the page refers to something outside of it"
    right, images = counts.confusion.diagonal(), counts.per_class
    present = images > 0
    assert f"{right.sum() / counts.images:.3f} (95% CI: " in text
    assert f"<dd>{np.mean(right[present] / images[present]):.3f}</dd>" in text
    assert "Images of one patient are alike, so the intervals are too narrow" in text

    # A region's row: images, and errors that stay inside.
    inside = np.array([label.region_code == "knee" for label in LABELS])
    knee = counts.confusion[inside]
    wrong = knee.sum() - right[inside].sum()
    row = re.search(r"<tr><th scope=\"row\" class=\"short\">MR knee</th>(.*?)</tr>", text)
    assert row is not None
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row[1])
    assert cells[0] == f"{knee.sum():,}".replace(",", "\u202f")
    assert cells[-1] == f"{(knee[:, inside].sum() - right[inside].sum()) / wrong:.3f}"

    # The pair with most images, in words, and every class with its words and its place.
    off = counts.confusion - np.diag(right)
    true, called = np.unravel_index(off.argmax(), off.shape)
    pair = [f"{LABELS[n].modality} {LABELS[n].region}: {LABELS[n].words}" for n in (true, called)]
    assert re.search(rf">{re.escape(pair[0])}</th><td[^>]*>{re.escape(pair[1])}</td><td[^>]*>{off.max()}</td>", text)
    for label in LABELS:
        assert re.search(rf"\d+ {re.escape(label.words)}</th>", text), label.key
    for region in {f"{label.modality} {label.region}" for label in LABELS}:
        assert f'aria-label="Table: Classes of {region}"' in text


@pytest.mark.long
def test_every_picture_is_a_drawing_with_its_numbers_in_words(whole: tuple[StreamingCounts, str]) -> None:
    pictures = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]*)"', whole[1])
    assert len(pictures) == 1 + 2 + 1 + 2 * 11
    for data, told in pictures:
        ElementTree.fromstring(base64.b64decode(data))
        assert re.search(r"\d", told)
    knee = next(told for _, told in pictures if told.startswith("Recall of each class of MR knee"))
    assert sum(f"  {label.words}: " in knee for label in LABELS if label.region_code == "knee") == 18


def test_classes_of_one_size_are_told_of_and_drawn_without_raw_markup(tmp_path: Path) -> None:
    write_evaluation(tmp_path, images=18, classes=CLASSES[:9], even=True)
    text = write_run_report(tmp_path).read_text(encoding="utf-8")
    assert "All classes have the same number of images" in text
    drawings = [base64.b64decode(data) for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', text)]
    assert not [drawing for drawing in drawings if b"mathdefault" in drawing]


@pytest.mark.long
def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    write_evaluation(tmp_path, images=300, classes=CLASSES[:9])
    first = write_run_report(tmp_path).read_bytes()
    assert write_run_report(tmp_path).read_bytes() == first


def test_phantoms_are_told_of_before_any_number(tmp_path: Path) -> None:
    write_evaluation(tmp_path, images=300, classes=CLASSES[:9], warning=PHANTOM_NOTICE)
    text = write_run_report(tmp_path).read_text(encoding="utf-8")
    assert text.index(PHANTOM_NOTICE) < text.index("Top-1 accuracy")


def test_classes_of_ones_own_are_one_group(tmp_path: Path) -> None:
    write_evaluation(tmp_path, images=200, classes=["<b>", "second", "third", "fourth"])
    text = write_run_report(tmp_path).read_text(encoding="utf-8")
    assert "all classes: what its classes were called" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "Modalities and regions" not in text
    assert "Top-5" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("", "cannot be read"),
        ("true class,a\na,1\n", "is not of the classes of evaluation.json"),
    ],
)
def test_a_run_without_its_confusion_matrix_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    write_evaluation(tmp_path, images=300, classes=CLASSES[:9])
    (tmp_path / "confusion.csv").unlink()
    if content is not None:
        (tmp_path / "confusion.csv").write_text(content)
    with pytest.raises(RecordsError, match=message):
        write_run_report(tmp_path)
