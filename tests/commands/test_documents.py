"""What a page tells its reader to type is typed: block by block, in a shell, on phantoms, in a small version.

A page is run as it stands but for what its entry in `PAGES` declares. A block that is not declared is run, so that no
new one is left out silently; a declaration that fits no block, or changes nothing, fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Page:
    """How a page is run where no reader is. A block is named by words that occur in it alone."""

    small: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions and what takes their place in the commands: fewer epochs, smaller images."""
    before: Mapping[str, str] = field(default_factory=dict)
    """What a reader has, or has done elsewhere, before a block; in the shell."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Blocks that a reader keeps as a file, and its name."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """Blocks of flags alone, and a command in which ``{}`` is their place."""
    not_run: Mapping[str, str] = field(default_factory=dict)
    """Blocks that cannot run here, and why."""
    leaves: tuple[str, ...] = ()
    """Files that the page promises."""

    def named(self) -> list[str]:
        """All names of blocks."""
        return [*self.before, *self.files, *self.flags, *self.not_run]


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str
    line: int


TINY = "--image_size 32 --batch_size 16"

PAGES: dict[str, Page] = {
    "README.md": Page(
        small={
            r"(?m)^radimagenet compare .*": r"\g<0> --architectures resnet50 --folds 1 --epochs 1 --image_size 32",
            r"(?m)^(python|torchrun) .*/train.json.*--dataset_dir D\b.*": rf"\g<0> {TINY} --max_epochs 1",
            r"torchrun ": "torchrun --standalone ",  # a free port
            r"--size 224": "--size 32",
            r"--num_workers 8": f"--num_workers 1 {TINY} --first_image_size 32 --max_epochs 1",
            r"\bURL\b": "file://$(echo $PWD/release/breast_mass_us_classification_v*.zip)",
        },
        before={
            "radimagenet compare": """
                radimagenet phantom busi --out D --patients 60 --size 72,96
                radimagenet prepare busi --root D --out prepared
                python make_weights.py
                radimagenet weights import torchvision.pth --as resnet50.imagenet_torchvision
                radimagenet weights import RadImageNet-ResNet50_notop.h5 --as resnet50.radimagenet_keras""",
            "train.json --bundle_root B --dataset_dir D\n": "cp -r bundles/breast_mass_us_classification B",
            "radimagenet weights import": "rm -r B && cp -r bundles/breast_mass_us_classification B",
            "evaluate.json": """
                rm -r B && cp -r bundles/breast_mass_us_classification B
                mkdir IMAGES && cp D/*/malignant/*1?.png IMAGES""",
            "torchrun": "rm -r B && cp -r bundles/breast_mass_us_classification B",
            "prepare radimagenet": """
                mv B trained && cp -r bundles/radimagenet_resnet50_pretraining B
                radimagenet phantom radimagenet --out DOWNLOAD --size 32""",
            "bundles release": """
                ls -d bundles/* | grep -v breast_mass_us_classification | xargs rm -r
                cp -r trained/models bundles/breast_mass_us_classification""",
        },
        not_run={
            "make demo": "sets up an environment from a package index; tests/commands/test_demo.py runs the demo",
            "make test": "runs this test",
            "pip install": "installs from a package index",
        },
        leaves=(
            "comparison/report.html",
            "comparison/analysis.json",
            "trained/models/model.pt",
            "trained/output/run.json",
            "prepared/records.csv",
            "prepared/summary.json",
            "prepared/audit.html",
            "B/models/model.pt",
            "models/breast_mass_us_classification/configs/train.json",
        ),
    ),
    "docs/tutorials/your_own_data.md": Page(
        small={
            r"--patients 45": r"\g<0> --size 64 --slices 2",
            r"--image_size 96 --batch_size 16 --max_epochs 8": f"{TINY} --max_epochs 1",
            r"(?m)^radimagenet compare .*": r"\g<0> --architectures resnet50 --folds 1 --epochs 1 --image_size 32",
        },
        before={
            "prepare csv": "python make_images.py",
            "prepare folder": "rm -r prepared",  # a reader takes one of the two ways
            "train.json": "cp -r bundles/sarscov2_ct_classification B",
            "inference.json": "cp -r own/CC-CCII/NCP NEW_IMAGES",
            "radimagenet compare": """
                python make_weights.py
                radimagenet weights import RadImageNet-ResNet50_notop.h5 --as resnet50.radimagenet_keras""",
        },
        files={"path,diagnosis,patient": "table.csv"},
        flags={
            "AutoIntensityd": "cp -r bundles/sarscov2_ct_classification C && python -m monai.bundle run "
            "--config_file C/configs/train.json --bundle_root C --dataset_dir own/CC-CCII "
            f"--datalist prepared/records.csv --classes \"['CP','NCP','Normal']\" {TINY} --max_epochs 1 {{}}",
        },
        leaves=(
            "prepared/summary.json",
            "prepared/audit.html",
            "B/output/evaluation/report.html",
            "comparison/report.html",
        ),
    ),
    "docs/how-to/dicom_output.md": Page(
        before={"read_image": "python make_clinic.py"},
        not_run={"find_series": "needs an archive; tests/integrations/test_dicomweb.py runs it against Orthanc"},
        leaves=("results/seg.dcm", "results/sr.dcm", "results/sc.dcm"),
    ),
    "docs/how-to/runtimes.md": Page(
        small={r"--data D": r"\g<0> --images 10 --max_auc_change 1"},
        before={
            "--runtime onnx": f"""
                radimagenet phantom busi --out D --patients 60 --size 72,96
                mkdir IMAGES && cp D/*/malignant/*1?.png IMAGES
                cp -r bundles/breast_mass_us_classification B
                python -m monai.bundle run --config_file B/configs/train.json --bundle_root B --dataset_dir D \\
                    {TINY} --max_epochs 1""",
        },
        not_run={"pip install": "installs from a package index"},
        leaves=("predictions/predictions.csv", "B/output/quantization/openvino-int8.json"),
    ),
    "docs/how-to/monai_label.md": Page(
        before={
            "install-app": """
                radimagenet phantom busi --out D --patients 60 --size 72,96
                cp -r bundles/breast_mass_us_classification classifier
                cp -r bundles/breast_mass_us_segmentation segmenter
                for B in classifier segmenter; do python -m monai.bundle run --config_file $B/configs/train.json """
            f"--bundle_root $B --dataset_dir D {TINY} --max_epochs 1 --architecture densenet121; done",
        },
        not_run={
            "python3 -m venv": "installs packages; 'make test-label' does so",
            "serve app --studies STUDIES": "a server; tests/integrations/test_monai_label.py runs it",
            "apps --download": "a server; tests/integrations/test_monai_label.py runs it",
            "dicom-web": "needs an archive",
            "datastore/label": "asks a server; tests/integrations/test_monai_label.py sends the same requests",
            "max_epochs": "asks a server; tests/integrations/test_monai_label.py sends the same requests",
        },
        leaves=("app/main.py", "app/model/classifier/models/model.pt"),
    ),
    "docs/how-to/portable.md": Page(
        small={"--out release ": "--out release --weights include "},
        before={"bundles release": "python make_ct_model.py"},
        leaves=("release/huggingface/covid19_ct_classification_portable/output/inference/predictions.csv",),
    ),
    "docs/how-to/predict.md": Page(
        before={"--out predictions\n": "python make_exams.py"},
        not_run={"--source": "needs an archive; tests/integrations/test_predict_dicomweb.py runs it against Orthanc"},
        leaves=(
            "predictions/predictions.csv",
            "predictions/predictions.json",
            "predictions/report.html",
            "sure/report.html",
            "results/dicom/000001_sr.dcm",
            "results/dicom/000001_sc.dcm",
        ),
    ),
}

# What `before` calls: files that a reader has and we may not.
SCRIPTS = {
    "make_clinic.py": """
from pathlib import Path
import numpy as np
import pydicom
from clinic_images import lesion, order, series
files, _ = series(Path("SERIES"))
for file, mask in zip(files, lesion()[order(6)]):
    dataset = pydicom.dcmread(file)
    dataset.PixelData = np.where(mask, 300, 100).astype("<i2").tobytes()
    dataset.save_as(file)
Path("model.pt").write_bytes(b"a model")
""",
    "make_ct_model.py": """
from pathlib import Path
from clinic_images import series
from small_bundles import untrained
made = untrained("covid19_ct_classification", Path("made"), weights="random")
(made / "models").rename("bundles/covid19_ct_classification/models_made")
for file in (Path("bundles/covid19_ct_classification/models_made")).iterdir():
    file.rename(Path("bundles/covid19_ct_classification/models", file.name))
Path("bundles/covid19_ct_classification/models_made").rmdir()
series(Path("SLICES"), shape=(6, 32, 32), PixelSpacing=["0.7", "0.7"])
""",
    "make_exams.py": """
from pathlib import Path
import numpy as np
import pydicom
from clinic_images import series
from radimagenet_monai.statistics.recalibration import recalibrate
from small_bundles import Mean, untrained
scores = np.linspace(0.01, 0.99, 99)
fitted = recalibrate(np.random.default_rng(0).random(99) < scores, scores)
untrained("acl_tear_mri_classification", Path("made"), Mean(), threshold=0.5, calibration={"tear": fitted.to_dict()})
Path("made/acl_tear_mri_classification").rename("B")
for name in ("a", "b"):
    files, _ = series(Path("IMAGES", name))
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.Modality, dataset.SOPClassUID = "MR", pydicom.uid.MRImageStorage
        noise = np.random.default_rng(0).integers(0, 900, (dataset.Rows, dataset.Columns))
        dataset.PixelData = noise.astype("<i2").tobytes()
        dataset.save_as(file)
""",
    "make_weights.py": """
import torch
from keras_oracle import keras_application
from radimagenet_monai.encoders.encoder import BACKBONES
torch.save(BACKBONES["resnet50"]().state_dict(), "torchvision.pth")
keras_application("resnet50").save_weights("keras.weights.h5")
import os
os.rename("keras.weights.h5", "RadImageNet-ResNet50_notop.h5")
""",
    "make_images.py": """
from pathlib import Path
from own_data import dicom_series, volume
table = Path("table.csv")
more = [f"site_b/{n}/,{('benign', 'malignant')[n % 2]},{n},M" for n in range(1000, 1012)]
table.write_text(table.read_text() + "\\n".join(more) + "\\n")
for name, _, patient, _ in (line.split(",") for line in table.read_text().splitlines()[1:]):
    path = Path("IMAGES", name)
    if name.endswith("/"):
        dicom_series(path, 2, patient)
    elif path.suffix == ".dcm":
        dicom_series(path.parent, 1, patient)[0].rename(path)
    else:
        volume(path, 2)
""",
}


def blocks_of(path: Path) -> list[Block]:
    """All fenced blocks of a page, in order.

    Raises
    ------
    AssertionError
        If a fence is not closed, or code is marked in another way.
    """
    found: list[Block] = []
    opened: tuple[int, str, int] | None = None
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        fence = re.match(r"( *)(```+|~~~+)(.*)", line)
        if fence is None:
            continue
        assert fence[2] == "```", f"{path.name}:{number}: a fence of another kind"
        if opened is None:
            opened = (number, fence[3].strip(), len(fence[1]))
        else:
            assert not fence[3].strip(), f"{path.name}:{number}: a block in a block"
            start, language, indent = opened
            inside = "".join(f"{text[indent:]}\n" for text in lines[start : number - 1])
            found.append(Block(language, inside, start + 1))
            opened = None
    assert opened is None, f"{path.name}:{opened and opened[0]}: this fence is not closed"
    return found


def only(name: str, blocks: list[Block]) -> Block:
    """The block that contains ``name``."""
    found = [block for block in blocks if name in block.text]
    assert len(found) == 1, f"{name!r} is declared here and names {len(found)} blocks of the page"
    return found[0]


def program(name: str) -> tuple[list[tuple[Block, str]], dict[str, str]]:
    """What is typed for a page, block by block, and the files it keeps.

    Raises
    ------
    AssertionError
        If a declaration fits no block or several, or makes nothing smaller.
    """
    page, blocks = PAGES[name], blocks_of(ROOT / name)
    chosen = {key: only(key, blocks) for key in page.named()}
    apart = {chosen[key] for key in (*page.files, *page.not_run)}
    unused = set(page.small)
    typed = []
    for block in blocks:
        if block in apart:
            continue
        text = block.text
        for pattern, replacement in page.small.items():
            text, count = re.subn(pattern, replacement, text)
            if count:
                unused.discard(pattern)
        if block.language == "python":
            text = f"python - <<'END_OF_BLOCK'\n{text}END_OF_BLOCK\n"
        else:
            assert block.language in ("", "bash", "sh", "console"), f"{name}:{block.line}: {block.language}"
        for key, command in page.flags.items():
            if chosen[key] == block:
                text = command.format(text.strip()) + "\n"
        for key, commands in page.before.items():
            if chosen[key] == block:
                text = f"{commands}\n{text}"
        typed.append((block, text))
    assert not unused, f"{name}: these make nothing smaller: {sorted(unused)}"
    return typed, {file: chosen[key].text for key, file in page.files.items()}


def shell(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Type a text in a shell in which the commands of this environment are found first; the first failure ends it."""
    paths = [str(ROOT), *(str(ROOT / "tests" / part) for part in ("", "oracles", "datasets", "io", "integrations"))]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(paths),
        "RADIMAGENET_HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        ["bash", "-eu", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", PAGES)
def test_every_block_is_typed_or_declared(name: str) -> None:
    typed, files = program(name)
    blocks = blocks_of(ROOT / name)
    assert len(typed) + len(files) + len(PAGES[name].not_run) == len(blocks)
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(blocks)
    for block, commands in typed:
        checked = subprocess.run(["bash", "-n"], input=commands, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{name}:{block.line}: {checked.stderr}"


def test_the_readme_and_every_tutorial_are_run() -> None:
    tutorials = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/tutorials/**/*.md")}
    assert {"README.md", *tutorials} <= set(PAGES)


def test_a_declaration_that_fits_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    page = PAGES["README.md"]
    changed: dict[str, Any]
    for change, message in {
        "not_run": "names 0 blocks",
        "before": "names 0 blocks",
        "small": "make nothing smaller",
    }.items():
        changed = {change: {**getattr(page, change), "no such": "x"}}
        monkeypatch.setitem(PAGES, "README.md", replace(page, **changed))
        with pytest.raises(AssertionError, match=message):
            program("README.md")


def test_a_fence_is_never_overlooked(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("- item\n\n  ```bash\n  radimagenet info\n  ```\n\n```\nmake demo\n```\n")
    assert blocks_of(page) == [Block("bash", "radimagenet info\n", 4), Block("", "make demo\n", 8)]
    for text in ("```\nmake demo\n", "~~~\nmake demo\n~~~\n", "```\n```bash\n```\n", "````\nmake demo\n````\n"):
        page.write_text(text)
        with pytest.raises(AssertionError, match=r"fence|block"):
            blocks_of(page)


@pytest.mark.long
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_run_as_its_reader_runs_it(name: str, tmp_path: Path) -> None:
    typed, files = program(name)
    for file, text in {**SCRIPTS, **files}.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    assert shell(f"cp -r {ROOT / 'bundles'} .", tmp_path).returncode == 0
    for block, text in typed:
        done = shell(text, tmp_path)
        assert done.returncode == 0, f"{name}:{block.line}\n{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    missing = [file for file in PAGES[name].leaves if not (tmp_path / file).is_file()]
    assert missing == []
