"""`predict` gives what ``monai.bundle run`` gives, in the image's own grid, and says nothing about anybody."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from monai.bundle import create_workflow
from shallow_densenet import shallow_densenet
from small_bundles import Bright, Mean, untrained, window
from written_series import write_nifti, write_series

from radimagenet_monai import predict
from radimagenet_monai.core.errors import ConfigurationError, RecordsError, UnreadableImageError, UsageError
from radimagenet_monai.phantoms import write_phantom

pytestmark = pytest.mark.slow

AIR, WHITE = -1000, 900


@pytest.fixture(autouse=True)
def _shallow() -> Any:
    with shallow_densenet():
        yield


@pytest.fixture(scope="module")
def busi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom("busi", tmp_path_factory.mktemp("busi"), patients=6, seed=3, size=(72, 96), progress=False)


@pytest.fixture(scope="module")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            with shallow_densenet():
                made[name] = untrained(name, tmp_path_factory.mktemp("bundle"), threshold=0.4)
        return made[name]

    return get


def inference(bundle: Path, images: Path, out: Path, **settings: Any) -> Path:
    """What ``monai.bundle run`` writes."""
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="inference",
        bundle_root=str(bundle),
        dataset_dir=str(images),
        output_dir=str(out),
        num_workers=0,
        **settings,
    )
    workflow.run()
    return out


def volume(shape: tuple[int, int, int] = (40, 32, 6)) -> np.ndarray:
    """A lesion without any symmetry, (x, y, z)."""
    voxels = np.full(shape, AIR, np.int16)
    voxels[5:17, 4:12, 1:3] = WHITE
    voxels[17:24, 4:7, 1:3] = WHITE
    voxels[5:9, 12:20, 2:4] = WHITE
    return voxels


def tilted(signs: tuple[int, int, int], tilt: float = 0.0, steps: tuple[float, ...] = (0.7, 0.9, 4.0)) -> np.ndarray:
    """An affine to RAS with anisotropic voxels."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    affine = turn @ np.diag([*(sign * step for sign, step in zip(signs, steps, strict=True)), 1.0])
    affine[:3, 3] = (12, -7, 30)
    return affine


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))


AFFINES = {
    "RAS": tilted((1, 1, 1)),
    "LPS": tilted((-1, -1, 1)),
    "oblique": tilted((1, -1, 1), 0.3),
    "sagittal": tilted((1, 1, 1))[[2, 0, 1, 3]],
}


def test_classes_of_pictures_are_those_of_the_bundle_run(busi: Path, bundle_of, tmp_path: Path) -> None:
    bundle = bundle_of("breast_mass_us_classification")
    expected = pd.read_csv(inference(bundle, busi, tmp_path / "cli") / "predictions.csv")
    predictions = predict(bundle, busi, tmp_path / "out", names="paths")
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    joined = table.merge(expected, on="file", suffixes=("", "_cli"), validate="one_to_one")
    assert len(joined) == len(expected) == len(predictions) == len(table) > 5
    for name in ("benign", "malignant"):
        np.testing.assert_allclose(joined[f"probability_{name}"], joined[f"probability_{name}_cli"], atol=1e-6)
    assert (joined["threshold"] == 0.4).all()
    assert (joined["decision"] == joined["decision_cli"]).all()
    assert predictions[0].probabilities["malignant"] == joined["probability_malignant"][0]
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert content["answered"] == content["number_of_studies"] == len(table)
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_masks_of_pictures_are_those_of_the_bundle_run(busi: Path, bundle_of, tmp_path: Path) -> None:
    bundle = bundle_of("breast_mass_us_segmentation")
    reference = inference(bundle, busi, tmp_path / "cli", overlays=0)
    expected = pd.read_csv(reference / "predictions.csv").set_index("file")
    predict(bundle, busi, tmp_path / "out", names="paths")
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert sorted(table["file"]) == sorted(expected.index)
    for row in table.itertuples():
        ours = cv2.imread(str(tmp_path / "out" / row.mask), cv2.IMREAD_UNCHANGED)
        theirs = cv2.imread(str(reference / expected.loc[row.file, "mask"]), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(ours, theirs)
        assert row.lesion_voxels == expected.loc[row.file, "lesion_pixels"]


def test_series_and_volumes_are_answered_as_exams_are(tmp_path: Path) -> None:
    """In one folder beside each other, of several slices; without aggregation by a rule, slice for slice."""
    bundle = untrained("acl_tear_mri_classification", tmp_path, Mean(), threshold=0.5)
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    for number in range(2):
        voxels = rng.integers(0, 1000, (20, 18, 7 + number)).astype(np.int16)
        write_nifti(images / f"{number}.nii.gz", voxels, tilted((1, 1, 1)))
        write_series(images / f"series{number}", voxels, tilted((1, 1, 1)), number)
    settings = {"allow_modality_mismatch": True}
    for rule in ("central:5", "all"):
        reference = inference(bundle, images, tmp_path / f"cli {rule}", slices=rule, **settings)
        exams = pd.read_csv(reference / "exams.csv")
        slices = pd.read_csv(reference / "predictions.csv")
        predict(bundle, images, tmp_path / f"out {rule}", names="paths", settings={"slices": rule, **settings})
        content = json.loads((tmp_path / f"out {rule}" / "predictions.json").read_text())
        table = pd.read_csv(tmp_path / f"out {rule}" / "predictions.csv")
        assert len(table) == len(exams) == 4
        exams = exams.set_index("exam").loc[table["file"]]
        np.testing.assert_allclose(table["probability_tear"], exams["probability_tear"], atol=1e-6)
        assert table["slices_used"].tolist() == exams["slices"].tolist()
        assert sorted(table["slices_of_image"]) == [7, 7, 8, 8]
        ours = {
            (item["file"], item["frame"]): item["probabilities"][1]
            for study in content["predictions"]
            for item in study["slices"]
        }
        theirs = {(row.file, row.frame): row.probability_tear for row in slices.itertuples()}
        assert ours.keys() == theirs.keys()
        assert max(abs(ours[key] - theirs[key]) for key in ours) < 1e-6


@pytest.mark.parametrize("name", AFFINES)
def test_the_mask_of_a_volume_has_its_grid_and_lies_on_the_lesion(name: str, tmp_path: Path) -> None:
    """By nibabel, as ITK-SNAP would show them; a mirrored or transposed mask is not taken for right."""
    bundle = window(untrained("breast_mass_us_segmentation", tmp_path, Bright(), image_size=64))
    voxels, affine = volume(), AFFINES[name]
    image = write_nifti(tmp_path / "a.nii.gz", voxels, affine)
    (prediction,) = predict(bundle, image, tmp_path / "out")
    (written,) = (tmp_path / "out" / "masks").iterdir()
    source, mask = nib.load(image), nib.load(written)
    assert mask.shape == source.shape
    np.testing.assert_allclose(mask.affine, source.affine, atol=1e-6)
    found, lesion = np.asarray(mask.dataobj) > 0, voxels == WHITE
    assert dice(found, lesion) > 0.75
    assert prediction.row["lesion_ml"] == pytest.approx(found.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000, 1e-5)
    wrong = [np.flip(found, axis) for axis in range(3)]
    assert max(dice(other, lesion) for other in wrong) < 0.5

    series = write_series(tmp_path / "series", voxels, affine, 1)
    predict(bundle, series, tmp_path / "of_series")
    (written,) = (tmp_path / "of_series" / "masks").iterdir()
    mask = nib.load(written)
    world = nib.affines.apply_affine(affine, np.argwhere(lesion))
    places = np.linalg.solve(mask.affine, np.c_[world, np.ones(len(world))].T)[:3].T.round().astype(int)
    assert (np.asarray(mask.dataobj)[tuple(places.T)] > 0).mean() > 0.75


def test_masks_slice_by_slice_and_in_memory(tmp_path: Path) -> None:
    bundle = window(untrained("breast_mass_us_segmentation", tmp_path, Bright(), image_size=64))
    image = write_nifti(tmp_path / "a.nii.gz", volume(), AFFINES["LPS"])
    predict(bundle, image, tmp_path / "out", masks="png")
    assert len(list((tmp_path / "out" / "masks").glob("000001/slice*.png"))) == 6
    (prediction,) = predict(bundle, [image], masks="nifti")
    (mask,) = prediction.masks
    assert mask.voxels.shape == (40, 32, 6)
    assert int(mask.voxels.sum()) == prediction.row["lesion_voxels"]


def test_what_cannot_be_used_has_a_reason(busi: Path, bundle_of, tmp_path: Path, capsys) -> None:
    bundle = bundle_of("breast_mass_us_classification")
    images = tmp_path / "images"
    images.mkdir()
    good = sorted(busi.glob("**/*).png"))[0]
    (images / "good.png").write_bytes(good.read_bytes())
    (images / "torn.png").write_bytes(good.read_bytes()[:300])
    (images / "notes.txt").write_text("none")
    predictions = predict(bundle, [images, good], tmp_path / "out")
    assert [bool(prediction.problem) for prediction in predictions] == [False, True, False]
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    assert table["problem"].tolist()[1].startswith("decode: ")
    assert table["decision"].tolist()[1] == ""
    head = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert sum(head["problems"].values()) == 1
    assert head["files_left_out"] == {"text or table": 1}
    with pytest.raises(RecordsError, match="none of 1 studies could be used"):
        predict(bundle, images / "torn.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordsError, match="nothing to predict"):
        predict(bundle, tmp_path / "empty")
    with pytest.raises(UnreadableImageError, match="no such file"):
        predict(bundle, [images, tmp_path / "absent"])
    with pytest.raises(UsageError, match="did you mean --threshold"):
        predict(bundle, images, settings={"treshold": 0.3})
    with pytest.raises(UsageError, match="--threshold 3 was given"):
        predict(bundle, images, settings={"threshold": 3})
    with pytest.raises(ConfigurationError, match="holds the results of an earlier prediction"):
        predict(bundle, images, tmp_path / "out")
    predict(bundle, images, tmp_path / "out", overwrite=True)
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 2


def contents(folder: Path) -> dict[str, bytes]:
    """All files by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_resumed_prediction_repeats_nothing(bundle_of, busi: Path, tmp_path: Path, monkeypatch) -> None:
    from radimagenet_monai.integrations.prediction import run

    bundle = bundle_of("breast_mass_us_classification")
    predict(bundle, busi, tmp_path / "whole")
    answered: list[int] = []
    answer_study = run.answer_study

    def interrupted(trained, study, names):
        if len(answered) == 3:
            raise KeyboardInterrupt
        answered.append(study.number)
        return answer_study(trained, study, names)

    monkeypatch.setattr(run, "answer_study", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(bundle, busi, tmp_path / "out")
    assert not (tmp_path / "out" / "predictions.csv").exists()
    with pytest.raises(ConfigurationError, match="--resume true to go on"):
        predict(bundle, busi, tmp_path / "out")
    with pytest.raises(ConfigurationError, match="names='files', this one has names='paths'"):
        predict(bundle, busi, tmp_path / "out", resume=True, names="paths")
    monkeypatch.setattr(run, "answer_study", lambda *given: answered.append(given[1].number) or answer_study(*given))
    predict(bundle, busi, tmp_path / "out", resume=True)
    assert answered == list(range(1, len(answered) + 1))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    before = len(answered)
    predict(bundle, busi, tmp_path / "out", resume=True)
    assert len(answered) == before
    with pytest.raises(ConfigurationError, match="the images are not those"):
        predict(bundle, sorted(busi.glob("**/*).png")), tmp_path / "out", resume=True)


def test_two_processes_never_write_into_one_folder(bundle_of, busi: Path, tmp_path: Path) -> None:
    import filelock

    (tmp_path / "out").mkdir()
    with (
        filelock.FileLock(tmp_path / "out" / ".predict.lock"),
        pytest.raises(ConfigurationError, match="another process is predicting"),
    ):
        predict(bundle_of("breast_mass_us_classification"), busi, tmp_path / "out")


def test_memory_does_not_grow_with_the_number_of_studies(bundle_of, tmp_path: Path, monkeypatch) -> None:
    """Answers with pixels that are alive while the next study is read: at most one."""
    import weakref

    from radimagenet_monai.integrations.prediction import trained_bundle

    images = tmp_path / "images"
    images.mkdir()
    for number in range(6):
        cv2.imwrite(str(images / f"{number}.png"), np.full((20, 20), 10 * number, np.uint8))
    alive: list[int] = []
    made: list[weakref.ref[Any]] = []
    answer = trained_bundle.TrainedBundle.answer

    def counting(self, exam):
        alive.append(sum(reference() is not None for reference in made))
        found = answer(self, exam)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(trained_bundle.TrainedBundle, "answer", counting)
    predict(bundle_of("breast_mass_us_classification"), images, tmp_path / "out")
    assert len(alive) == 6
    assert max(alive) <= 1


def test_no_identifier_is_written(tmp_path: Path) -> None:
    bundle = window(untrained("breast_mass_us_segmentation", tmp_path, Bright(), image_size=64))
    images = tmp_path / "Planted_Name" / "Doe_Jane_4711"
    voxels = volume()
    series = write_series(images / "planted-folder", voxels, AFFINES["LPS"])
    torn = write_series(images / "planted-torn", voxels, AFFINES["LPS"], 2)
    for path in torn.iterdir():
        path.write_bytes(path.read_bytes()[:-1000])
    (images / "planted-texts").mkdir()
    (images / "planted-texts" / "notes.txt").write_text("text")
    predict(bundle, [images], tmp_path / "out", masks="nifti")
    predict(bundle, [series, torn], tmp_path / "out2", masks="png")
    words = [b"planted", b"4711", b"doe", b"jane", b"secret", b"1.2.3", str(tmp_path).encode()]
    for folder in ("out", "out2"):
        for name, data in contents(tmp_path / folder).items():
            if name.endswith(".gz"):
                import gzip

                data = gzip.decompress(data)
            text = name.lower().encode() + data.lower()
            assert [word for word in words if word.lower() in text] == [], name
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert rows["problem"].notna().tolist() == [False, True]


def write_studies(folder: Path, count: int) -> dict[str, int]:
    """Small studies of all kinds a folder may hold, and how many of each.

    Most are CT series and pictures that can be used; every tenth each is damaged, of another modality, or holds nothing
    but a localizer.
    """
    import pydicom

    kinds = {"series": 0, "picture": 0, "damaged": 0, "other": 0, "localizer": 0}
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"study{number:03d}"
        kind = {3: "damaged", 5: "other", 7: "localizer"}.get(number % 10, ("series", "picture")[number % 2])
        kinds[kind] += 1
        if kind == "picture":
            place.mkdir(parents=True)
            cv2.imwrite(str(place / "image.png"), rng.integers(0, 255, (20, 24)).astype(np.uint8))
            continue
        voxels = rng.integers(-900, 900, (16, 14, 2)).astype(np.int16)
        for file in write_series(place, voxels, AFFINES["LPS"], number).iterdir():
            dataset = pydicom.dcmread(file)
            dataset.SeriesInstanceUID, dataset.StudyInstanceUID = f"1.2.3.{number}", f"1.2.4.{number}"
            if kind == "other":
                dataset.Modality, dataset.SOPClassUID = "US", pydicom.uid.UltrasoundImageStorage
            if kind == "localizer":
                dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            dataset.save_as(file)
            if kind == "damaged":
                file.write_bytes(file.read_bytes()[:-50])
    return kinds


def kill_at(number: int, bundle: Path, images: Path, out: Path) -> None:
    """Predict in a process of its own, which is killed while it writes its ``number``-th file."""
    import os
    import signal

    from radimagenet_monai.core import atomic

    pid = os.fork()
    if pid == 0:
        written = [0]
        replace = Path.replace

        def kill(self: Path, target: Any) -> Any:
            written[0] += 1
            if written[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(self, target)

        atomic.Path.replace = kill
        try:
            predict(bundle, images, out, resume=True)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)


@pytest.mark.parametrize("count", [20, pytest.param(300, marks=pytest.mark.long)])
def test_a_killed_prediction_ends_as_one_that_was_not(count: int, tmp_path: Path) -> None:
    bundle = window(untrained("breast_mass_us_segmentation", tmp_path, Bright(), image_size=32))
    images = tmp_path / "images"
    kinds = write_studies(images, count)
    predict(bundle, images, tmp_path / "whole")
    for number in np.random.default_rng(7).integers(2, count // 4, 5).tolist():
        kill_at(number, bundle, images, tmp_path / "out")
    assert 1 < len(list((tmp_path / "out" / "studies").glob("0*.json"))) < count
    predict(bundle, images, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")

    head = json.loads((tmp_path / "out" / "predictions.json").read_text())
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert head["answered"] == table["problem"].isna().sum() == kinds["series"] + kinds["picture"]
    assert sum(head["problems"].values()) == kinds["damaged"] + kinds["other"]
    assert sorted(head["problems"].values()) == sorted(kinds[kind] for kind in ("damaged", "other"))
    assert sum(head["files_left_out"].values()) == 2 * kinds["localizer"]
