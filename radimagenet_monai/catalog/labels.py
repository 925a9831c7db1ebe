"""The 165 RadImageNet classes: 3 modalities, 11 anatomies (Mei et al., Radiology: AI 2022).

The names are spelled as in one public class map, including trailing underscores and misspellings, because folder names
on disk are matched against them. The authors' own index order is not published; the order here, alphabetical by
``key``, is this project's convention and is written into every pretrained head's metadata.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RadImageNetLabel:
    """One class. ``region_code`` is the name of the region folder of CT and MR; US has no region folder on disk."""

    modality: str
    region_code: str
    region: str
    class_name: str

    @property
    def key(self) -> str:
        """Unique name, e.g. ``"CT_lung_Nodule"``."""
        return f"{self.modality}_{self.region_code}_{self.class_name}"

    @property
    def words(self) -> str:
        """The class in words, without its region: ``"calcific tendinosis"`` for ``ca++_tendinosis``.

        ``extra`` and ``intra`` are not changed, because their meaning is not published.
        """
        text = f" {self.class_name.lower().replace('_', ' ').strip()} "
        for spelled, meant in _WORDS.items():
            text = text.replace(f" {spelled} ", f" {meant} ")
        return text.strip()


_WORDS = {
    "abn": "abnormality",
    "achilles": "Achilles",
    "acj": "acromioclavicular joint",
    "acl": "ACL",
    "atfl": "ATFL",
    "bil dil": "biliary dilatation",
    "ca++": "calcific",
    "cbd": "common bile duct",
    "cfl": "CFL",
    "dural epidural": "dural or epidural",
    "fcl": "FCL",
    "flair": "FLAIR",
    "gb": "gallbladder",
    "ghj": "glenohumeral joint",
    "hyper": "hyperintensity",
    "ivc": "inferior vena cava",
    "lisfranc": "Lisfranc",
    "mcl": "MCL",
    "oa": "osteoarthritis",
    "pathlogy": "pathology",
    "pcl": "PCL",
    "pituatary": "pituitary",
    "post op": "postoperative",
    "post operative": "postoperative",
    "quad": "quadriceps",
}
"""Abbreviations and misspellings of the class names."""


_CLASSES: dict[tuple[str, str, str], str] = {
    ("CT", "abd", "abdomen/pelvis"): (
        "abnormal_entire_organ adrenal_pathology arterial_pathology ascites bil_dil bladder_pathology "
        "bowel_abnormality bowel_inflammation bowel_mass degenerative_changes dilated_urinary_tract "
        "fat_containing_tumor gallbladder_pathology gallstone intraperitoneal_mass liver_lesion normal "
        "osseous_neoplasm ovarian_pathology pancreatic_lesion post_op prostate_lesion renal_lesion "
        "soft_tissue_collection soft_tissue_mass splenic_lesion urolithiasis uterine_pathology"
    ),
    ("CT", "lung", "chest/lung"): (
        "Airspace_opacity Bronchiectasis Nodule Parenchyma_destruction interstitial_lung_disease normal"
    ),
    ("MR", "af", "ankle/foot"): (
        "Plantar_plate_tear achilles_pathology_ atfl_pathology bone_inflammation cfl_pathology "
        "chondral_abnormality coalition deltoid_pathology extensor_pathology_ fat_containing_tumor "
        "flexor_pathology_ hematoma intra lisfranc_pathology normal osseous_disruption osseous_neoplasm "
        "peroneal_pathology plantar_fascia_pathology post_op soft_tissue_edema soft_tissue_fluid soft_tissue_mass "
        "spring_ligament_injury syndesmosis_pathology"
    ),
    ("MR", "brain", "brain"): (
        "acute_infarct arteriovenous_anomaly chronic_infarct edema extra focal_flair_hyper intra normal "
        "pituatary_lesion white_matter_changes"
    ),
    ("MR", "hip", "hip"): (
        "abductor_pathology_ capsular_pathology chondral_pathology hamstring_pathology hematoma labral_pathology "
        "marrow_inflammation normal osseous_disruption osseous_lesion post_op soft_tissue_edema soft_tissue_fluid "
        "soft_tissue_mass"
    ),
    ("MR", "knee", "knee"): (
        "acl_pathology bone_inflammation chondral_abnormality fcl_pathology fracture hematoma intra mcl_pathology "
        "meniscal_abnormality muscle_strain normal patella_pathology pcl_pathology post_operative_acl "
        "quad_pathology soft_tissue_edema soft_tissue_fluid_collection soft_tissue_mass"
    ),
    ("MR", "mriabd", "abdomen/pelvis"): (
        "adrenal_pathology arterial_pathology ascites bil_dil bladder_pathology bowel_abnormality "
        "bowel_inflammation bowel_mass degenerative_changes dilated_urinary_tract enlarged_organ "
        "gallbladder_pathology intraperitoneal_mass liver_disease_ liver_lesion marrow_abn normal "
        "osseous_neoplasm ovarian_pathology pancreatic_lesion prostate_lesion renal_lesion soft_tissue_collection "
        "soft_tissue_mass splenic_lesion uterine_pathology"
    ),
    ("MR", "shoulder", "shoulder"): (
        "acj_oa biceps_pathology ca++_tendinosis ghj_oa infraspinatus_pathology labral_pathology "
        "marrow_inflammation normal osseous_lesion post_op soft_tissue_edema soft_tissue_fluid "
        "subscapularis_pathology supraspinatus_pathology"
    ),
    ("MR", "spine", "spine"): (
        "cord_pathology_ cystic_lesions disc_pathology dural_epidural_abn facet_arthropathy foraminal_pathlogy "
        "normal osseous_abn scoliosis"
    ),
    ("US", "usabd", "abdomen/pelvis"): (
        "aorta bladder cbd fibroid gb ivc kidney liver ovary pancreas portal_vein spleen uterus"
    ),
    ("US", "usthyroid", "thyroid"): "thyroid thyroid_nodule",
}

LABELS: tuple[RadImageNetLabel, ...] = tuple(
    sorted(
        (RadImageNetLabel(*group, name) for group, names in _CLASSES.items() for name in names.split()),
        key=lambda label: label.key,
    )
)
"""All 165 classes, ordered by key: the index of a class is its place here."""
