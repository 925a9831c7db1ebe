"""The RadImageNet phantom: its layout, its determinism, and classes that differ where they should."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.radimagenet import read_radimagenet, summary
from radimagenet_monai.intensity import AutoIntensityd
from radimagenet_monai.io.transforms import LoadNativeImaged
from radimagenet_monai.phantoms import write_phantom
from radimagenet_monai.phantoms.anatomy.body_regions import FINDINGS, SITES, VIEWS
from radimagenet_monai.phantoms.radimagenet import (
    _Drawing,
    image_name,
    images_per_class,
    simulate,
    write_radimagenet_phantom,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("radimagenet")
    return write_phantom("radimagenet", folder, patients=495, seed=4, size=32, progress=False)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".png", ".csv")
    }


def test_layout_is_that_of_radimagenet(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {
        "radiology_ai",
        "README.txt",
        *(f"RadiologyAI_{part}.csv" for part in ("train", "val", "test")),
    }
    assert "not patients" in (written / "README.txt").read_text()
    folder = written / "radiology_ai"
    assert sorted(path.name for path in (folder / "CT/abd/normal").iterdir())[0] == "abd-normal000000.png"
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.png")]
    assert len(names) == len(set(names)) == 495
    pattern = (
        r"(CT/(abd|lung)|MR/(af|brain|hip|knee|mriabd|shoulder|spine))/[^/]+/[a-z-]+\d{6}\.png|US/[^/]+/usn\d{6}\.png"
    )
    assert all(re.fullmatch(pattern, name) for name in names)
    with Image.open(folder / names[0]) as picture:
        assert (picture.mode, picture.size, picture.format) == ("L", (32, 32), "PNG")
    first = (written / "RadiologyAI_train.csv").read_text().splitlines()[:2]
    assert first[0] == "filename,label"
    assert re.fullmatch(r"radiology_ai/CT/abd/abnormal_entire_organ/abd\d{6}\.png,abd-abnormal_entire_organ", first[1])


def test_the_reader_takes_it_without_a_word(written: Path) -> None:
    frame = read_radimagenet(written, progress=False)
    assert frame.attrs["notes"] == []
    assert summary(frame)["classes_of_split"] == {"train": 165, "validation": 165, "test": 165}
    assert frame["label"].value_counts().unique().tolist() == [3]


@pytest.mark.long
def test_an_image_is_a_function_of_seed_class_and_number(written: Path, tmp_path: Path) -> None:
    again = write_radimagenet_phantom(tmp_path, patients=1, seed=4, size=32, workers=2, progress=False)
    assert digests(again) == digests(written)
    frame = read_radimagenet(written, progress=False)
    for label in LABELS[::20]:
        # The first three of a class are in train, validation and test, however many there are.
        rows = frame[frame["label"] == label.key].sort_values("image")
        assert rows["split"].tolist() == ["train", "validation", "test"]
        for number, name in enumerate(rows["image"]):
            with Image.open(written / name) as picture:
                np.testing.assert_array_equal(np.asarray(picture), simulate(label, number, seed=4, size=32))
            assert name.endswith(image_name(label, number))
    assert (simulate(LABELS[0], 0, seed=4, size=32) != simulate(LABELS[0], 0, seed=5, size=32)).any()


def test_imbalance_is_a_ratio_and_normal_classes_lead() -> None:
    assert set(images_per_class(1650)) == {10}
    counts = images_per_class(20_000, imbalance=20)
    assert abs(sum(counts) - 20_000) < 100
    assert max(counts) / min(counts) == pytest.approx(20, rel=0.05)
    largest = sorted(range(165), key=lambda index: -counts[index])[:8]
    assert all(LABELS[index].class_name == "normal" for index in largest)
    assert min(images_per_class(10, imbalance=100)) == 3


@pytest.mark.parametrize("options", [{"patients": 0}, {"size": 16}, {"imbalance": 0.5}])
def test_impossible_requests_leave_nothing(tmp_path: Path, options: dict) -> None:
    with pytest.raises(ConfigurationError, match="expected at least 1, 32 and 1"):
        write_radimagenet_phantom(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_every_class_has_a_finding_of_its_own() -> None:
    assert set(FINDINGS) == {label.key for label in LABELS}
    seen = set()
    for label in LABELS:
        site, kind = FINDINGS[label.key]
        assert (label.modality, label.region_code, site, kind) not in seen
        seen.add((label.modality, label.region_code, site, kind))
        if label.modality == "US":
            assert site in VIEWS
        else:
            assert site == "-" or any(site in sites for sites in SITES.values())


@pytest.mark.long
def test_findings_are_at_their_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each class with a site: what drawing the finding changed lies about the site, in anatomical coordinates."""
    changes: list[tuple[float, float, float, float]] = []
    draw = _Drawing.find

    def recording(self: _Drawing, kind: str, site: tuple[float, float, float], *rest: object) -> None:
        before = self.image.copy()
        draw(self, kind, site, *rest)
        change = np.abs(self.image - before)
        changed = change > 0.3 * change.max()
        away = np.hypot(self.x - site[0], self.y - site[1])[changed]
        changes.append((change.max(), changed.sum(), np.median(away) / site[2], away.max() / site[2]))

    monkeypatch.setattr(_Drawing, "find", recording)
    expected = 0
    for label in LABELS:
        if FINDINGS[label.key][1] not in ("none", "bend"):
            expected += 1
            simulate(label, 0, seed=1, size=64)
    assert len(changes) == expected == 140
    contrast, pixels, median, farthest = np.array(changes).T
    assert contrast.min() > 0.06
    assert np.quantile(contrast, 0.1) > 0.15
    assert pixels.min() >= 2
    assert median.max() < 2.0
    assert farthest.max() < 3.5


@pytest.mark.long
def test_modalities_look_like_themselves() -> None:
    """Air is black in CT, noise in MR air is Rician and not Gaussian, and speckle dominates ultrasound."""

    def images(prefix: str, count: int = 6) -> list[np.ndarray]:
        chosen = [label for label in LABELS if label.key.startswith(prefix)][:count]
        return [simulate(label, number, seed=2, size=96).astype(float) for label in chosen for number in range(2)]

    for image in images("CT_abd"):
        assert np.median(image[:6, :6]) < 12
        assert image.max() > 200
    for image in images("MR_knee"):
        corner = np.r_[image[:8, :8].ravel(), image[-8:, :8].ravel()]
        assert 1 < corner.mean() < 30
        assert 1.4 < corner.mean() / corner.std() < 2.5  # 1.91 for a Rayleigh distribution
    for image in images("US_usabd_liver"):
        center = image[30:70, 30:66]
        rough = np.abs(np.diff(center, axis=1)).mean()
        smooth = np.abs(np.diff(images("CT_abd_liver_lesion")[0][40:60, 20:40], axis=1)).mean()
        assert rough > 1.3 * smooth


@pytest.mark.long
def test_no_simple_number_tells_the_class() -> None:
    """Mean, spread and histogram find the region at best, not the finding."""
    labels = [label for label in LABELS if label.modality == "MR" and label.region_code == "knee"]
    features, classes = [], []
    for index, label in enumerate(labels):
        for number in range(18):
            image = simulate(label, number, seed=3, size=48)
            features.append([image.mean(), image.std(), *np.histogram(image, 8, (0, 256))[0]])
            classes.append(index)
    table, target = np.array(features), np.array(classes)
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    train = np.arange(len(target)) % 3 > 0
    model = LogisticRegression(max_iter=300).fit(table[train], target[train])
    assert model.score(table[~train], target[~train]) < 3 / len(labels)


def test_the_intensity_policy_takes_the_pictures(written: Path) -> None:
    frame = read_radimagenet(written, progress=False)
    policies = {name: AutoIntensityd("image", expected=name) for name in ("CT", "MR", "US")}
    for row in frame.iloc[::97].itertuples():
        item = {"image": str(written / row.image), "frame": 0}
        image = np.asarray(policies[row.modality](LoadNativeImaged("image")(item))["image"])
        assert image.shape == (1, 32, 32)
        assert 0 <= image.min() < 0.2 < image.max() <= 1
        with Image.open(written / row.image) as picture:
            stored = np.asarray(picture, dtype=float) / 255
        assert np.corrcoef(image[0].ravel(), stored.ravel())[0, 1] > 0.99  # upright and in order
