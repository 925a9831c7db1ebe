"""The catalogue of this collection: the 14 bundles, their data, protocol and sources.

Bundles, model cards, command-line help and documentation are made from this module. It imports neither torch nor
MONAI, so it answers at once. Each figure has a `Certainty`, because several facts of the field are claimed in only one
place; the model cards print it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.core.errors import ConfigurationError


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


class Certainty(StrEnum):
    """Source of a figure."""

    PUBLISHED = "published"  # seen in a primary source
    DERIVED = "derived"  # computed from a primary source
    CLAIMED = "claimed"  # stated by a third party, not checked
    REMEMBERED = "not verified"  # known from memory only


@dataclass(frozen=True)
class Count:
    """A number of images, patients, ... with its certainty."""

    value: int
    certainty: Certainty = Certainty.PUBLISHED


@dataclass(frozen=True)
class Dataset:
    """A dataset on which a task is defined.

    ``reader`` names the module of `radimagenet_monai.datasets` that reads its on-disk format. It is ``None`` if there
    is no reader yet; such data are given as a records table.
    """

    name: str
    title: str
    access: str
    terms: str
    format: str
    counts: dict[str, Count] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reader: str | None = None


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
        `radimagenet_monai.engine.outputs.predictions.by_exam` and
        `radimagenet_monai.datasets.records.slices.choose_slices`.
    batch_size, paper_batch_size
        The bundle's default, which suits a workstation, and that of the authors' scripts.
    body_parts
        Regions of `radimagenet_monai.io.dicom.body_part.REGIONS` that a header may name in Body Part Examined; empty if
        the images are of all regions.
    in_channels
        Channels of the canonical image: 1, or 3 for three CT windows.
    classes
        Class names in index order; in a two-class task the positive class is last.
    released
        Whether ``bundles/<name>`` exists in this version.
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
    batch_size: int = 32
    paper_batch_size: int | None = 256
    learning_rate: float = 1e-4
    max_epochs: int = 30
    reported_gain: str | None = None
    released: bool = True

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


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "radimagenet",
            "RadImageNet",
            "Request form and signed agreement with the authors (BMEII-AI/RadImageNet).",
            "The authors' agreement; whether weights derived from the images may be redistributed is contested, so "
            "this project ships none.",
            "PNG in radiology_ai/{CT,MR}/<region>/<class>/ and radiology_ai/US/<class>/; "
            "RadiologyAI_{train,val,test}.csv with filename,label",
            {
                "images": Count(1_350_000),
                "patients": Count(131_872),
                "classes": Count(165),
                "CT images": Count(292_367, Certainty.REMEMBERED),
                "MR images": Count(672_600, Certainty.REMEMBERED),
                "US images": Count(389_885, Certainty.REMEMBERED),
                "CT_abd_normal": Count(69_238, Certainty.CLAIMED),
                "MR_mriabd_normal": Count(72_054, Certainty.CLAIMED),
            },
            (
                "Patient ids are not published: the split cannot be derived again, use the official CSVs.",
                "Identical images under different labels and blank images exist.",
                "Strong class imbalance: report balanced accuracy beside plain accuracy.",
            ),
            reader="radimagenet",
        ),
        Dataset(
            "ddti",
            "DDTI (digital database of thyroid images)",
            "Public.",
            "See the data set's own page; cite its authors.",
            "N.xml beside N_K.jpg; polygons and TI-RADS in the XML",
            {"images": Count(349), "malignant": Count(288), "benign": Count(61), "patients": Count(298)},
            ("Cases without a TI-RADS value exist in larger mirrors and are left out.",),
            reader="ddti",
        ),
        Dataset(
            "busi",
            "BUSI (breast ultrasound images dataset)",
            "Public: Al-Dhabyani W, et al. Dataset of breast ultrasound images. Data in Brief 2020;28:104863.",
            "See the data set's own page; cite its authors.",
            "Dataset_BUSI_with_GT/{benign,malignant,normal}/benign (1).png with benign (1)_mask.png, _mask_1.png, ...",
            {
                "images": Count(780),
                "malignant": Count(210),
                "benign": Count(437, Certainty.REMEMBERED),
                "normal": Count(133, Certainty.REMEMBERED),
            },
            (
                "No patient ids are published; near-duplicate images are known. Near-duplicates are kept on one side "
                "of every split here, but patients cannot be.",
                "Normal images count as benign, as in the RadImageNet protocol.",
            ),
            reader="busi",
        ),
        Dataset(
            "mrnet",
            "MRNet v1.0 (knee MRI)",
            "Request form of the Stanford ML group.",
            "Research use agreement of its authors.",
            "{train,valid}/{axial,coronal,sagittal}/0000.npy of [slices, 256, 256]; train-acl.csv, ... without header",
            {
                "exams": Count(1_370),
                "ACL tears": Count(319),
                "meniscal tears": Count(508),
                "train exams": Count(1_130),
                "valid exams": Count(120),
                "acl exams": Count(262, Certainty.REMEMBERED),
                "meniscus exams": Count(449, Certainty.REMEMBERED),
                "abnormal exams": Count(1_008, Certainty.REMEMBERED),
            },
            (
                "The 120 exams of the test part are not public: of 1 370 exams 1 250 can be had. The last three counts "
                "are of those.",
                "Labels are per exam; the authors' rule for choosing slices is not published.",
            ),
            reader="mrnet",
        ),
        Dataset(
            "rsna_pneumonia",
            "RSNA Pneumonia Detection Challenge",
            "Public (Kaggle).",
            "The challenge's terms.",
            "stage_2_train_images/<patientId>.dcm; stage_2_train_labels.csv, one row a box",
            {
                "images": Count(26_684),
                "Normal": Count(8_851),
                "No Lung Opacity / Not Normal": Count(11_821),
                "Lung Opacity": Count(6_012),
            },
            reader="rsna_pneumonia",
        ),
        Dataset(
            "covid19_ct",
            "COVID-19 CT (private cohort of the authors)",
            "Not public: bring your own data as a records table.",
            "Your own.",
            "CSV filename,label with positive/negative",
            {"images": Count(9_050, Certainty.REMEMBERED)},
            reader="covid19_ct",
        ),
        Dataset(
            "cc_ccii",
            "CC-CCII (China consortium of chest CT image investigation)",
            "Public.",
            "See the data set's own page; cite its authors.",
            "{CP,NCP,Normal}/<patient>/<scan>/<slice>.png|jpg",
            {"images": Count(58_766, Certainty.REMEMBERED)},
            reader="cc_ccii",
        ),
        Dataset(
            "rsna_ich",
            "RSNA Intracranial Hemorrhage Detection Challenge",
            "Public (Kaggle).",
            "The challenge's terms.",
            "stage_2_train/ID_xxxxxxxxx.dcm; stage_2_train.csv with ID,Label",
            {
                "images in the authors' CSVs": Count(573_614, Certainty.REMEMBERED),
                "images": Count(752_803, Certainty.REMEMBERED),
                "any": Count(107_933, Certainty.REMEMBERED),
                "epidural": Count(3_145, Certainty.REMEMBERED),
                "intraparenchymal": Count(36_118, Certainty.REMEMBERED),
                "intraventricular": Count(26_205, Certainty.REMEMBERED),
                "subarachnoid": Count(35_675, Certainty.REMEMBERED),
                "subdural": Count(47_166, Certainty.REMEMBERED),
            },
            ("Duplicated rows exist; patient and series ids are in the DICOM headers.",),
            reader="rsna_ich",
        ),
    )
}


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


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
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
    )
}


def get_task(name: str) -> Task:
    """The task with a name.

    Raises
    ------
    ConfigurationError
        If there is none; the message lists the known tasks.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise ConfigurationError(f"unknown task {name!r}; choose one of {', '.join(TASKS)}") from None
