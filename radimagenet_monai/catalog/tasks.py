"""The catalogue of this collection: the 14 bundles, their data, protocol and sources.

Bundles, model cards, command-line help and documentation are made from this module. It imports neither torch nor
MONAI, so it answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from radimagenet_monai.catalog.codes import TASK_CODES, TaskCodes
from radimagenet_monai.catalog.datasets import DATASETS as DATASETS
from radimagenet_monai.catalog.datasets import Certainty as Certainty
from radimagenet_monai.catalog.datasets import Count as Count
from radimagenet_monai.catalog.datasets import Dataset as Dataset
from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.registry import Registry


class Kind(StrEnum):
    """What a bundle does."""

    PRETRAINING = "pretraining"
    CLASSIFICATION = "classification"
    SEGMENTATION = "segmentation"


class Modality(StrEnum):
    """Imaging modality; each has one intensity policy."""

    CT = "CT"
    MR = "MR"
    US = "US"
    RADIOGRAPH = "radiograph"


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the protocol's random affine transform, in the units of Keras' ``ImageDataGenerator``.

    ``rotation`` and ``shear`` are in degrees, ``shift`` and ``zoom`` are fractions.
    """

    rotation: float = 10.0
    shift: float = 0.1
    shear: float = 0.1
    zoom: float = 0.1
    horizontal_flip: bool = True


SMALL_TASK_AUGMENTATION = Augmentation()
LARGE_TASK_AUGMENTATION = Augmentation(rotation=0.0, horizontal_flip=False)


@dataclass(frozen=True)
class Task:
    """One bundle.

    Attributes
    ----------
    name
        Name of the bundle. MONAI cuts names at ``_v``, so none may contain it.
    modality
        ``None`` if images of several modalities are mixed.
    intensity
        Class of `radimagenet_monai.intensity` that makes the canonical image, and its arguments.
    reader_options
        Options with which the dataset's reader makes this task's records.
    findings
        Outputs that may occur together, the task's own first; empty if the classes are mutually exclusive.
    aggregate, slices
        How the slices of an exam are scored together, and which of them inference uses by default; see
        `radimagenet_monai.statistics.predictions.by_exam` and
        `radimagenet_monai.datasets.records.slices.choose_slices`.
    exam
        What `radimagenet_monai.predict` gives one answer for: ``"series"``, a DICOM series or a file; ``"study"``, all
        series of a DICOM study, if the trained model combines slices.
    batch_size, paper_batch_size
        The bundle's default, which suits a workstation, and that of the authors' scripts.
    body_parts
        Regions of `radimagenet_monai.io.dicom.body_part.REGIONS` that a header may name in Body Part Examined; empty if
        the images are of all regions.
    in_channels
        Channels of the canonical image: 1, or 3 for three CT windows.
    classes
        Class names in index order; in a two-class task the positive class is last.
    codes
        SNOMED CT and DICOM codes of the findings, for DICOM output; a task of this collection has them from
        `radimagenet_monai.catalog.codes.TASK_CODES`.
    released
        Whether ``bundles/<name>`` exists in this version.
    module
        For a plug-in's task, the module that describes it.
    """

    name: str
    title: str
    kind: Kind
    modality: Modality | None
    anatomy: str
    dataset: str
    classes: tuple[str, ...]
    intensity: dict[str, Any]
    image_size: int
    augmentation: Augmentation
    split: str
    intended_use: str
    limits: tuple[str, ...]
    references: tuple[str, ...]
    architecture: str = "resnet50"
    in_channels: int = 1
    reader_options: dict[str, Any] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    aggregate: str = "none"
    slices: str = "all"
    exam: Literal["series", "study"] = "series"
    batch_size: int = 32
    paper_batch_size: int | None = 256
    learning_rate: float = 1e-4
    max_epochs: int = 30
    reported_gain: str | None = None
    released: bool = True
    module: str = ""
    codes: TaskCodes = field(default_factory=TaskCodes)

    def __post_init__(self) -> None:
        if self.codes == TaskCodes():
            object.__setattr__(self, "codes", TASK_CODES.get(self.name, TaskCodes()))
        if "_v" in self.name:
            raise ConfigurationError(
                f"the name of task '{self.name}' contains _v, where MONAI cuts the name of a bundle"
            )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the network's outputs in order."""
        return self.findings or self.classes

    @property
    def positive_class(self) -> str | None:
        """For two-class tasks, the class to whose probability the decision threshold is applied."""
        return self.classes[-1] if self.kind is Kind.CLASSIFICATION and len(self.classes) == 2 else None


RADIMAGENET_PAPER = (
    "Mei X, Liu Z, Robson PM, et al. RadImageNet: An Open Radiologic Deep Learning Research Dataset for Effective "
    "Transfer Learning. Radiology: Artificial Intelligence 2022;4(5):e210315."
)
FREES_2025 = "Frees et al. arXiv:2508.17567 (replication: no evidence that RadImageNet initialization is better)."
JUODELYTE = "Juodelyte et al. (replication with ResNet50 in 5 folds: ImageNet at or above RadImageNet on three tasks)."
_REPLICATIONS = (FREES_2025, JUODELYTE)

NOT_A_DEVICE = "Research software: not a medical device, not for diagnosis or triage."
_SLICE_LIMIT = "Labels are per image or slice; several images of a patient are not independent."


_ULTRASOUND = {"name": "UltrasoundLuminanced", "crop": "auto"}
_MR = {"name": "MRPercentiled", "lower": 1.0, "upper": 99.0}
_RADIOGRAPH = {"name": "RadiographVOId"}

_FIVE_FOLD = "5-fold cross-validation"


def _pretraining(architecture: str, title: str, batch_size: int) -> Task:
    return Task(
        name=f"radimagenet_{architecture}_pretraining",
        title=f"RadImageNet pretraining of {title}",
        kind=Kind.PRETRAINING,
        modality=None,
        anatomy="11 anatomies in CT, MRI and ultrasound",
        dataset="radimagenet",
        classes=tuple(label.key for label in LABELS),
        intensity={"name": "AutoIntensityd"},
        image_size=224,
        batch_size=batch_size,
        paper_batch_size=None,
        augmentation=SMALL_TASK_AUGMENTATION,
        split="the authors' CSVs (train, validation, test)",
        intended_use="Pretrain an encoder on RadImageNet for transfer to radiology tasks.",
        limits=(
            NOT_A_DEVICE,
            "The authors published neither optimizer, schedule, epochs, loss nor augmentation of the pretraining; "
            "the recipe here is this project's.",
        ),
        references=(RADIMAGENET_PAPER,),
        architecture=architecture,
        learning_rate=1e-3,
        max_epochs=60,
    )


TASKS: Registry[Task] = Registry(
    "tasks",
    "task",
    Task,
    "TASK",
    given=(
        _pretraining("resnet50", "ResNet50", 256),
        _pretraining("densenet121", "DenseNet121", 256),
        _pretraining("inceptionv3", "InceptionV3", 256),
        _pretraining("inceptionresnetv2", "InceptionResNetV2", 128),
        Task(
            name="thyroid_nodule_us_classification",
            title="Malignancy of thyroid nodules in ultrasound",
            kind=Kind.CLASSIFICATION,
            modality=Modality.US,
            anatomy="thyroid",
            body_parts=("neck",),
            dataset="ddti",
            classes=("benign", "malignant"),
            intensity=_ULTRASOUND,
            image_size=256,
            augmentation=SMALL_TASK_AUGMENTATION,
            split=f"{_FIVE_FOLD}, patient-disjoint",
            intended_use="Research on telling malignant from benign thyroid nodules in B-mode ultrasound.",
            limits=(NOT_A_DEVICE, "The label is derived from TI-RADS, not from histology.", _SLICE_LIMIT),
            references=(RADIMAGENET_PAPER, *_REPLICATIONS),
            reported_gain="+9.4 % AUC over ImageNet (Mei 2022)",
        ),
        Task(
            name="breast_mass_us_classification",
            title="Malignancy of breast masses in ultrasound",
            kind=Kind.CLASSIFICATION,
            modality=Modality.US,
            anatomy="breast",
            body_parts=("breast", "chest"),
            dataset="busi",
            classes=("benign", "malignant"),
            intensity=_ULTRASOUND,
            image_size=256,
            augmentation=SMALL_TASK_AUGMENTATION,
            split=_FIVE_FOLD,
            intended_use="Research on telling malignant from benign or no breast mass in B-mode ultrasound.",
            limits=(
                NOT_A_DEVICE,
                "BUSI publishes no patient ids: a patient may stand on both sides of a split, so estimates may be "
                "optimistic.",
                "One center, two scanners of one vendor: expect a drop elsewhere.",
                "Normal breasts count as benign, which makes the task easier than telling masses apart.",
            ),
            references=(
                RADIMAGENET_PAPER,
                "Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Dataset of breast ultrasound images. "
                "Data in Brief 2020;28:104863.",
                *_REPLICATIONS,
            ),
            reported_gain="+4.0 % AUC over ImageNet (Mei 2022)",
        ),
        *(
            Task(
                name=f"{name}_classification",
                title=title,
                kind=Kind.CLASSIFICATION,
                modality=Modality.MR,
                anatomy="knee",
                body_parts=("knee",),
                dataset="mrnet",
                classes=("no tear", "tear"),
                intensity=_MR,
                image_size=256,
                augmentation=SMALL_TASK_AUGMENTATION,
                split=_FIVE_FOLD,
                intended_use=use,
                limits=(
                    NOT_A_DEVICE,
                    "MRNet's labels are of exams: a slice of a torn knee need not show the tear, and slices of an exam "
                    "are not independent. Exams are scored by the mean over their central slices; the authors' rule "
                    "for choosing slices is not published.",
                ),
                reader_options={"target": target},
                aggregate="mean",
                slices=slices,
                exam="study",
                references=(RADIMAGENET_PAPER, *_REPLICATIONS),
                reported_gain=gain,
            )
            for name, target, slices, title, use, gain in (
                (
                    "acl_tear_mri",
                    "acl",
                    "central:5",
                    "Anterior cruciate ligament tear in knee MRI",
                    "Research on detecting anterior cruciate ligament tears in knee MRI.",
                    "+4.8 % AUC over ImageNet (Mei 2022)",
                ),
                (
                    "meniscal_tear_mri",
                    "meniscus",
                    "central:9",
                    "Meniscal tear in knee MRI",
                    "Research on detecting meniscal tears in knee MRI.",
                    "+4.5 % AUC over ImageNet (Mei 2022)",
                ),
            )
        ),
        Task(
            name="pneumonia_cxr_classification",
            title="Pneumonia in chest radiographs",
            kind=Kind.CLASSIFICATION,
            modality=Modality.RADIOGRAPH,
            anatomy="chest",
            body_parts=("chest",),
            dataset="rsna_pneumonia",
            classes=("no lung opacity", "lung opacity"),
            intensity=_RADIOGRAPH,
            image_size=256,
            augmentation=LARGE_TASK_AUGMENTATION,
            split="one split, about 76 / 8.5 / 15 %",
            intended_use="Research on detecting lung opacities suspicious of pneumonia in chest radiographs.",
            limits=(NOT_A_DEVICE, "The reference is radiologists' reading of the radiograph, not microbiology."),
            references=(RADIMAGENET_PAPER,),
            reported_gain="+1.9 % AUC over ImageNet (Mei 2022)",
        ),
        Task(
            name="covid19_ct_classification",
            title="COVID-19 in chest CT",
            kind=Kind.CLASSIFICATION,
            modality=Modality.CT,
            anatomy="chest",
            body_parts=("chest",),
            dataset="covid19_ct",
            classes=("negative", "positive"),
            intensity={"name": "CTWindowd", "windows": ["lung"]},
            image_size=224,
            paper_batch_size=1024,
            augmentation=LARGE_TASK_AUGMENTATION,
            split="one split",
            intended_use="Research on detecting COVID-19 in slices of chest CT.",
            limits=(NOT_A_DEVICE, "No public data: bring your own.", _SLICE_LIMIT),
            references=(RADIMAGENET_PAPER,),
            reported_gain="+6.1 % AUC over ImageNet (Mei 2022)",
        ),
        Task(
            name="sarscov2_ct_classification",
            title="SARS-CoV-2 against common pneumonia in chest CT",
            kind=Kind.CLASSIFICATION,
            modality=Modality.CT,
            anatomy="chest",
            body_parts=("chest",),
            dataset="cc_ccii",
            classes=("CP", "NCP"),
            intensity={"name": "CTWindowd", "windows": ["lung"]},
            image_size=256,
            augmentation=LARGE_TASK_AUGMENTATION,
            split="one split, patient-disjoint",
            intended_use="Research on telling SARS-CoV-2 pneumonia (NCP) from common pneumonia (CP) in CT slices.",
            limits=(NOT_A_DEVICE, _SLICE_LIMIT, "The public images are already windowed pictures, not HU."),
            references=(RADIMAGENET_PAPER,),
            reported_gain="+1.7 % AUC over ImageNet (Mei 2022)",
        ),
        Task(
            name="intracranial_hemorrhage_ct_classification",
            title="Intracranial hemorrhage in head CT",
            kind=Kind.CLASSIFICATION,
            modality=Modality.CT,
            anatomy="head",
            body_parts=("head",),
            dataset="rsna_ich",
            classes=("no hemorrhage", "hemorrhage"),
            intensity={"name": "CTWindowd", "windows": ["brain", "subdural", "bone"]},
            in_channels=3,
            image_size=256,
            augmentation=LARGE_TASK_AUGMENTATION,
            split="one split",
            findings=(
                "any",
                "epidural",
                "intraparenchymal",
                "intraventricular",
                "subarachnoid",
                "subdural",
            ),
            intended_use="Research on detecting intracranial hemorrhage and its subtypes in slices of unenhanced head "
            "CT.",
            limits=(
                NOT_A_DEVICE,
                _SLICE_LIMIT,
                "The paper's task is any hemorrhage; the subtypes are this project's addition, from the same labels.",
            ),
            references=(RADIMAGENET_PAPER,),
            reported_gain="+0.9 % AUC over ImageNet (Mei 2022)",
        ),
        *(
            Task(
                name=f"{name}_segmentation",
                title=title,
                kind=Kind.SEGMENTATION,
                modality=Modality.US,
                anatomy=anatomy,
                body_parts={"thyroid": ("neck",), "breast": ("breast", "chest")}[anatomy],
                dataset=dataset,
                classes=("background", "lesion"),
                intensity=_ULTRASOUND,
                image_size=256,
                paper_batch_size=None,
                augmentation=SMALL_TASK_AUGMENTATION,
                split=_FIVE_FOLD,
                intended_use=f"Research on outlining {lesion} in B-mode ultrasound.",
                limits=(
                    NOT_A_DEVICE,
                    limit,
                    "The paper localizes lesions by Grad-CAM of the classifiers; a trained segmenter is this project's "
                    "way to the same references.",
                ),
                references=(RADIMAGENET_PAPER,),
                learning_rate=1e-3,
                reader_options=options,
            )
            for name, title, anatomy, dataset, lesion, options, limit in (
                (
                    "thyroid_nodule_us",
                    "Segmentation of thyroid nodules in ultrasound",
                    "thyroid",
                    "ddti",
                    "nodules",
                    {"target": "nodule"},
                    "One reader's polygons are the reference.",
                ),
                (
                    "breast_mass_us",
                    "Segmentation of breast masses in ultrasound",
                    "breast",
                    "busi",
                    "masses",
                    {},
                    "BUSI publishes no patient ids: a patient may stand on both sides of a split.",
                ),
            )
        ),
    ),
)


def get_task(name: str) -> Task:
    """The task with a name.

    Raises
    ------
    ConfigurationError
        If there is none; the message lists the known tasks.
    """
    return TASKS.require(name)
