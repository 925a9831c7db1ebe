"""The drawings of the RadImageNet phantom: body regions, and the site of each of the 165 classes.

Coordinates are measured from the image center in units of half its side: x to the right, y down, both -1 ... 1. Angles
are in degrees, clockwise on the screen.
"""

from __future__ import annotations

Shape = tuple[str, float, float, float, float, float]
"""Tissue, x, y, half width, half height, angle of an ellipse; later ones lie over earlier ones."""


def _bone(x: float, y: float, half_width: float, half_height: float, angle: float = 0) -> tuple[Shape, Shape]:
    """Cortex with marrow inside."""
    inner = (max(half_width - 0.03, 0.6 * half_width), max(half_height - 0.03, 0.6 * half_height))
    return ("bone", x, y, half_width, half_height, angle), ("marrow", x, y, *inner, angle)


_TRUNK: tuple[Shape, ...] = (
    ("fat", 0, 0, 0.94, 0.72, 0),
    ("muscle", 0, 0, 0.85, 0.62, 0),
)

VIEWS: dict[str, tuple[Shape, ...]] = {
    "abdomen": (
        *_TRUNK,
        ("fat", 0, -0.04, 0.79, 0.54, 0),
        ("muscle", -0.28, 0.47, 0.19, 0.12, 10),
        ("muscle", 0.28, 0.47, 0.19, 0.12, -10),
        *_bone(0, 0.32, 0.17, 0.14),
        ("fluid", 0, 0.50, 0.06, 0.05, 0),
        ("organ", -0.40, -0.08, 0.38, 0.36, -15),
        ("spleen", 0.58, 0.05, 0.14, 0.26, 20),
        ("kidney", 0.38, 0.27, 0.13, 0.17, -20),
        ("kidney", -0.38, 0.30, 0.13, 0.17, 20),
        ("fat", 0.36, 0.27, 0.04, 0.07, -20),
        ("fat", -0.36, 0.30, 0.04, 0.07, 20),
        ("vessel", 0.06, 0.12, 0.07, 0.07, 0),
        ("vessel", -0.11, 0.14, 0.08, 0.06, 0),
        ("bowel", 0.34, -0.30, 0.20, 0.14, -25),
        ("bowel", 0.02, -0.38, 0.13, 0.09, 10),
        ("organ", 0.10, -0.03, 0.25, 0.06, -15),
        ("fluid", -0.17, -0.26, 0.08, 0.10, 20),
    ),
    "pelvis": (
        *_TRUNK,
        ("fat", 0, -0.05, 0.62, 0.46, 0),
        *_bone(-0.62, 0.05, 0.10, 0.30, 15),
        *_bone(0.62, 0.05, 0.10, 0.30, -15),
        *_bone(0, 0.46, 0.22, 0.12),
        ("bowel", 0.35, -0.25, 0.14, 0.11, 20),
        ("bowel", -0.35, -0.25, 0.14, 0.11, -20),
        ("fluid", 0, -0.20, 0.25, 0.19, 0),
        ("organ", 0, 0.10, 0.18, 0.13, 0),
        ("spleen", 0.33, 0.10, 0.08, 0.07, 0),
        ("spleen", -0.33, 0.10, 0.08, 0.07, 0),
        ("bowel", 0, 0.29, 0.10, 0.07, 0),
    ),
    "chest": (
        *_TRUNK,
        *(("bone", 0.80 * side, y, 0.05, 0.09, 25 * side) for side in (-1, 1) for y in (-0.25, 0.02, 0.28)),
        ("fat", 0.02, -0.08, 0.24, 0.42, 0),
        ("lung", -0.43, 0.0, 0.31, 0.45, 8),
        ("lung", 0.45, 0.0, 0.30, 0.45, -8),
        ("organ", 0.14, -0.06, 0.28, 0.26, -30),
        *_bone(0, 0.40, 0.15, 0.12),
        ("vessel", 0.14, 0.28, 0.08, 0.08, 0),
        ("vessel", -0.10, -0.22, 0.08, 0.09, 0),
        *(("vessel", 0.27 * side, 0.05, 0.09, 0.05, 20 * side) for side in (-1, 1)),
        *(("vessel", 0.42 * side, y, 0.035, 0.02, 40 * side) for side in (-1, 1) for y in (-0.22, -0.06, 0.12, 0.26)),
        *(("vessel", 0.57 * side, y, 0.02, 0.02, 0) for side in (-1, 1) for y in (-0.15, 0.03, 0.20)),
    ),
    "ankle": (
        ("fat", 0.10, -0.62, 0.48, 0.80, 0),
        ("fat", -0.16, 0.22, 0.86, 0.38, 6),
        ("muscle", 0.26, -0.62, 0.14, 0.45, 0),
        ("muscle", -0.20, 0.38, 0.42, 0.09, 10),
        *_bone(-0.12, -0.78, 0.21, 0.54),
        *_bone(-0.05, -0.13, 0.27, 0.15, 8),
        *_bone(0.32, 0.22, 0.32, 0.17, 12),
        *_bone(-0.42, -0.02, 0.10, 0.14),
        *_bone(-0.60, 0.10, 0.10, 0.11, 20),
        *_bone(-0.84, 0.26, 0.18, 0.06, 25),
        ("tendon", 0.43, -0.42, 0.035, 0.50, -8),
        ("tendon", -0.36, -0.34, 0.03, 0.28, -35),
        ("tendon", 0.22, -0.36, 0.025, 0.36, 5),
        ("tendon", 0.10, 0.48, 0.48, 0.025, 8),
    ),
    "brain": (
        ("fat", 0, 0, 0.80, 0.94, 0),
        ("bone", 0, 0, 0.75, 0.89, 0),
        ("fluid", 0, 0, 0.70, 0.84, 0),
        ("gray", 0, 0, 0.67, 0.81, 0),
        ("white", -0.30, 0, 0.28, 0.66, 0),
        ("white", 0.30, 0, 0.28, 0.66, 0),
        ("gray", -0.24, 0.06, 0.10, 0.17, 10),
        ("gray", 0.24, 0.06, 0.10, 0.17, -10),
        ("fluid", -0.12, -0.16, 0.06, 0.20, 14),
        ("fluid", 0.12, -0.16, 0.06, 0.20, -14),
        ("fluid", -0.15, 0.26, 0.06, 0.15, -14),
        ("fluid", 0.15, 0.26, 0.06, 0.15, 14),
        ("fluid", 0, -0.62, 0.012, 0.20, 0),
        ("fluid", 0, 0.62, 0.012, 0.20, 0),
    ),
    "hip": (
        ("fat", 0.05, 0.10, 0.95, 1.30, 0),
        ("fluid", -0.86, -0.08, 0.18, 0.26, 0),
        ("muscle", 0.48, -0.50, 0.20, 0.50, -25),
        ("muscle", -0.14, 0.72, 0.24, 0.46, 10),
        ("muscle", -0.55, 0.50, 0.16, 0.30, 25),
        ("muscle", 0.70, 0.60, 0.14, 0.60, 0),
        *_bone(-0.22, -0.62, 0.24, 0.42, 25),
        *_bone(-0.55, 0.18, 0.13, 0.28, -20),
        *_bone(0.38, 0.74, 0.16, 0.56),
        *_bone(0.20, 0.24, 0.17, 0.30, -50),
        *_bone(-0.04, -0.03, 0.25, 0.25),
    ),
    "knee": (
        ("fat", 0.02, 0, 0.70, 1.40, 0),
        ("muscle", 0.46, -0.60, 0.18, 0.55, 6),
        ("muscle", 0.42, 0.72, 0.20, 0.48, -6),
        *_bone(-0.10, -0.82, 0.20, 0.55),
        *_bone(-0.05, -0.24, 0.38, 0.31),
        *_bone(0.02, 0.82, 0.22, 0.56),
        *_bone(0.02, 0.38, 0.39, 0.17),
        *_bone(-0.55, -0.28, 0.09, 0.19, -5),
        ("fluid", 0, 0.13, 0.34, 0.05, 0),
        ("tendon", -0.26, 0.14, 0.12, 0.05, 8),
        ("tendon", 0.28, 0.14, 0.12, 0.05, -8),
        ("tendon", -0.52, -0.70, 0.03, 0.30, 4),
        ("tendon", -0.50, 0.14, 0.03, 0.30, -14),
        ("tendon", 0.02, 0.06, 0.04, 0.20, 38),
        ("tendon", 0.20, 0.06, 0.04, 0.18, -30),
    ),
    "shoulder": (
        ("fat", 0.05, 0.15, 0.90, 1.0, 0),
        ("muscle", 0.66, 0.12, 0.18, 0.62, -6),
        ("muscle", -0.40, -0.32, 0.36, 0.12, 10),
        ("muscle", -0.48, 0.08, 0.26, 0.16, 0),
        ("muscle", -0.30, 0.48, 0.30, 0.16, -15),
        *_bone(0.34, 0.76, 0.15, 0.52),
        *_bone(0.22, 0.12, 0.30, 0.30),
        *_bone(-0.22, 0.16, 0.12, 0.26, -10),
        *_bone(0.14, -0.54, 0.24, 0.09, 12),
        *_bone(-0.36, -0.60, 0.24, 0.08, -5),
        ("tendon", 0.14, -0.25, 0.24, 0.045, 18),
        ("tendon", -0.09, -0.10, 0.03, 0.06, 0),
        ("tendon", 0.48, 0.30, 0.03, 0.26, 0),
    ),
    "spine": (
        ("bowel", -0.62, 0, 0.36, 1.5, 0),
        ("vessel", -0.26, 0, 0.07, 1.5, 0),
        ("fat", 0.62, 0, 0.40, 1.5, 0),
        ("muscle", 0.70, 0, 0.16, 1.5, 0),
        ("fluid", 0.27, 0, 0.075, 1.5, 0),
        ("gray", 0.27, -0.5, 0.035, 0.8, 0),
        *(
            shape
            for y in (-0.88, -0.66, -0.44, -0.22, 0.0, 0.22, 0.44, 0.66, 0.88)
            for shape in _bone(0, y + 0.11, 0.17, 0.09)
        ),
        *(("disc", 0.0, y, 0.15, 0.022, 0.0) for y in (-0.88, -0.66, -0.44, -0.22, 0.0, 0.22, 0.44, 0.66, 0.88)),
        *(shape for y in (-0.66, -0.22, 0.22, 0.66) for shape in _bone(0.46, y + 0.08, 0.12, 0.06, 15)),
    ),
    # Ultrasound: the background comes first.
    "aorta": (
        ("organ", 0, -0.55, 1.3, 0.30, 0),
        ("fat", 0, 0.6, 1.4, 0.5, 0),
        ("wall", 0, 0.06, 1.3, 0.20, 3),
        ("fluid", 0, 0.06, 1.3, 0.15, 3),
    ),
    "ivc": (
        ("organ", 0, -0.35, 1.3, 0.60, 0),
        ("fluid", -0.1, 0.22, 1.0, 0.10, -9),
        ("fluid", -0.3, -0.05, 0.30, 0.05, 50),
    ),
    "portal_vein": (
        ("organ", 0, -0.1, 1.4, 1.1, 0),
        ("wall", 0.05, 0.05, 0.72, 0.14, -32),
        ("fluid", 0.05, 0.05, 0.68, 0.09, -32),
        ("fluid", -0.5, 0.45, 0.24, 0.05, 20),
    ),
    "cbd": (
        ("organ", 0, -0.2, 1.4, 0.9, 0),
        ("wall", 0, -0.02, 0.55, 0.075, -20),
        ("fluid", 0, -0.02, 0.55, 0.045, -20),
        ("fluid", 0.12, 0.22, 0.70, 0.09, -22),
    ),
    "bladder": (("muscle", 0, 0, 1.4, 1.0, 0), ("wall", 0, 0.0, 0.62, 0.46, 0), ("fluid", 0, 0.0, 0.57, 0.41, 0)),
    "gb": (
        ("organ", 0, -0.1, 1.4, 1.0, 0),
        ("wall", -0.02, 0.0, 0.25, 0.50, 28),
        ("fluid", -0.02, 0.0, 0.21, 0.46, 28),
    ),
    "kidney": (
        ("organ", 0, -0.4, 1.3, 0.6, 0),
        ("fat", 0, 0.08, 0.75, 0.42, 8),
        ("kidney", 0, 0.08, 0.68, 0.34, 8),
        ("wall", 0, 0.08, 0.36, 0.12, 8),
        ("fluid", 0.1, 0.08, 0.05, 0.04, 8),
    ),
    "liver": (
        ("organ", 0, 0, 1.5, 1.3, 0),
        ("fluid", -0.3, 0.0, 0.28, 0.04, 35),
        ("fluid", 0.32, 0.15, 0.30, 0.045, -40),
        ("fluid", 0.1, -0.35, 0.05, 0.05, 0),
        ("wall", 0.1, 0.85, 1.1, 0.05, -4),
    ),
    "spleen": (
        ("muscle", 0, 0, 1.4, 1.0, 0),
        ("spleen", 0.02, -0.02, 0.72, 0.32, -14),
        ("wall", -0.1, -0.42, 0.85, 0.04, -14),
    ),
    "pancreas": (
        ("organ", 0, -0.62, 1.2, 0.40, 0),
        ("fat", 0, 0, 0.95, 0.20, -6),
        ("fluid", 0.05, 0.18, 0.62, 0.05, -4),
        ("fluid", 0.02, 0.45, 0.14, 0.13, 0),
        ("wall", 0, 0.80, 0.32, 0.06, 0),
    ),
    "ovary": (
        ("muscle", 0, 0, 1.4, 1.0, 0),
        ("kidney", 0, 0.02, 0.46, 0.32, -15),
        ("fluid", -0.2, 0.0, 0.11, 0.10, 0),
        ("fluid", 0.05, -0.1, 0.08, 0.08, 0),
        ("fluid", 0.2, 0.08, 0.12, 0.10, 0),
        ("fluid", 0.0, 0.17, 0.07, 0.06, 0),
    ),
    "uterus": (
        ("muscle", 0, 0, 1.4, 1.0, 0),
        ("fluid", -0.1, -0.62, 0.7, 0.16, 0),
        ("organ", 0.02, 0.08, 0.62, 0.34, -12),
        ("wall", 0.02, 0.08, 0.36, 0.05, -12),
    ),
    "fibroid": (
        ("muscle", 0, 0, 1.4, 1.0, 0),
        ("organ", 0.02, 0.05, 0.66, 0.42, -12),
        ("wall", 0.25, -0.05, 0.22, 0.04, -30),
        ("kidney", -0.18, 0.14, 0.28, 0.25, 0),
    ),
    "thyroid": (
        ("muscle", 0, 0, 1.4, 1.2, 0),
        ("wall", 0, -0.55, 1.3, 0.03, 0),
        ("spleen", -0.36, 0.0, 0.27, 0.26, 10),
        ("spleen", 0.36, 0.0, 0.27, 0.26, -10),
        ("spleen", 0, -0.13, 0.2, 0.07, 0),
        ("wall", 0, 0.06, 0.17, 0.14, 0),
        ("shadow", 0, 0.10, 0.16, 0.12, 0),
        ("fluid", -0.74, 0.12, 0.12, 0.12, 0),
        ("fluid", 0.74, 0.12, 0.12, 0.12, 0),
    ),
}
VIEWS["thyroid_nodule"] = VIEWS["thyroid"]
"""Ellipses by view."""

VIEW_OF_REGION = {
    "lung": "chest",
    "af": "ankle",
    "brain": "brain",
    "hip": "hip",
    "knee": "knee",
    "shoulder": "shoulder",
    "spine": "spine",
}
"""View of the regions that have one; abdominal ones have two, ultrasound one an organ."""

SITES: dict[str, dict[str, tuple[float, float, float]]] = {
    "abdomen": {
        "liver": (-0.42, -0.08, 0.20),
        "spleen": (0.58, 0.05, 0.12),
        "kidney": (0.38, 0.27, 0.11),
        "adrenal": (-0.22, 0.16, 0.09),
        "pancreas": (0.08, -0.03, 0.12),
        "gallbladder": (-0.17, -0.26, 0.11),
        "aorta": (0.06, 0.12, 0.10),
        "vertebra": (0.0, 0.32, 0.14),
        "bowel": (0.30, -0.30, 0.17),
        "mesentery": (0.02, -0.36, 0.17),
        "flank": (-0.74, 0.12, 0.14),
        "muscle": (-0.28, 0.47, 0.13),
    },
    "pelvis": {
        "bladder": (0.0, -0.20, 0.26),
        "prostate": (0.0, 0.12, 0.14),
        "uterus": (0.0, 0.06, 0.22),
        "ovary": (0.33, 0.10, 0.13),
    },
    "chest": {
        "lung": (0.52, -0.12, 0.12),
        "lower": (-0.42, 0.22, 0.24),
        "hilum": (-0.26, 0.02, 0.15),
        "upper": (-0.45, -0.15, 0.24),
        "lungs": (0.42, 0.05, 0.30),
    },
    "ankle": {
        "forefoot": (-0.80, 0.32, 0.12),
        "achilles": (0.42, -0.45, 0.16),
        "lateral": (0.14, -0.20, 0.12),
        "calcaneus": (0.32, 0.24, 0.16),
        "below": (0.22, 0.02, 0.11),
        "dome": (-0.06, -0.27, 0.12),
        "subtalar": (0.05, 0.06, 0.14),
        "medial": (-0.26, -0.26, 0.12),
        "extensor": (-0.36, -0.32, 0.15),
        "heel": (0.62, 0.36, 0.12),
        "flexor": (0.26, -0.40, 0.13),
        "sole": (-0.20, 0.40, 0.14),
        "joint": (-0.22, -0.06, 0.10),
        "midfoot": (-0.58, 0.10, 0.13),
        "tibia": (-0.12, -0.62, 0.18),
        "peroneal": (0.52, 0.10, 0.12),
        "fascia": (0.10, 0.48, 0.16),
        "dorsum": (-0.55, -0.12, 0.16),
        "spring": (-0.36, 0.20, 0.11),
        "syndesmosis": (0.08, -0.55, 0.12),
    },
    "brain": {
        "insula": (-0.36, 0.02, 0.18),
        "frontal": (0.30, -0.40, 0.18),
        "parietal": (0.35, 0.38, 0.18),
        "occipital": (-0.28, 0.48, 0.20),
        "convexity": (0.58, -0.10, 0.15),
        "sella": (0.0, 0.10, 0.10),
        "white": (0.0, -0.05, 0.45),
    },
    "hip": {
        "abductor": (0.42, -0.18, 0.14),
        "capsule": (0.18, 0.12, 0.14),
        "cartilage": (-0.10, -0.26, 0.12),
        "hamstring": (-0.55, 0.45, 0.14),
        "thigh": (-0.12, 0.66, 0.18),
        "labrum": (0.16, -0.30, 0.09),
        "head": (-0.04, -0.03, 0.18),
        "neck": (0.20, 0.24, 0.15),
        "joint": (-0.26, 0.16, 0.12),
        "gluteal": (0.52, -0.50, 0.20),
    },
    "knee": {
        "acl": (0.03, 0.06, 0.14),
        "pcl": (0.20, 0.06, 0.13),
        "femur": (-0.05, -0.28, 0.20),
        "cartilage": (-0.14, 0.02, 0.13),
        "fibular": (0.40, -0.05, 0.12),
        "tibia": (0.02, 0.42, 0.17),
        "popliteal": (0.52, 0.12, 0.15),
        "joint": (-0.36, 0.04, 0.10),
        "mcl": (-0.36, -0.14, 0.12),
        "meniscus": (-0.26, 0.14, 0.12),
        "calf": (0.42, 0.66, 0.20),
        "patella": (-0.55, -0.28, 0.13),
        "quadriceps": (-0.50, -0.70, 0.14),
        "hoffa": (-0.44, 0.26, 0.15),
        "thigh": (0.45, -0.58, 0.18),
    },
    "shoulder": {
        "acj": (-0.10, -0.58, 0.12),
        "biceps": (0.47, 0.30, 0.13),
        "cuff": (0.14, -0.25, 0.13),
        "joint": (-0.06, 0.14, 0.13),
        "infraspinatus": (-0.45, 0.08, 0.16),
        "labrum": (-0.10, -0.10, 0.09),
        "head": (0.22, 0.12, 0.18),
        "glenoid": (-0.22, 0.18, 0.13),
        "deltoid": (0.66, 0.10, 0.16),
        "axilla": (0.05, 0.52, 0.15),
        "subscapularis": (-0.30, 0.45, 0.16),
        "supraspinatus": (-0.35, -0.32, 0.15),
    },
    "spine": {
        "cord": (0.27, -0.15, 0.13),
        "root": (0.27, 0.30, 0.08),
        "disc": (0.06, 0.0, 0.10),
        "dural": (0.33, 0.12, 0.14),
        "facet": (0.50, 0.0, 0.12),
        "foramen": (0.20, 0.24, 0.08),
        "vertebra": (0.0, -0.22, 0.13),
        "column": (0.0, 0.0, 0.30),
    },
}
"""Where findings lie in a view: x, y and radius."""


def _read_findings(text: str) -> dict[str, tuple[str, str]]:
    return {key: (site, kind) for key, site, kind in (line.split() for line in text.strip().splitlines())}


FINDINGS = _read_findings(
    """
    CT_abd_abnormal_entire_organ liver diffuse
    CT_abd_adrenal_pathology adrenal blob
    CT_abd_arterial_pathology aorta ring
    CT_abd_ascites flank fluid
    CT_abd_bil_dil liver tubes
    CT_abd_bladder_pathology bladder wall
    CT_abd_bowel_abnormality bowel tubes
    CT_abd_bowel_inflammation bowel wall
    CT_abd_bowel_mass bowel blob
    CT_abd_degenerative_changes vertebra stripes
    CT_abd_dilated_urinary_tract kidney fluid
    CT_abd_fat_containing_tumor kidney fat
    CT_abd_gallbladder_pathology gallbladder ring
    CT_abd_gallstone gallbladder stones
    CT_abd_intraperitoneal_mass mesentery blob
    CT_abd_liver_lesion liver blob
    CT_abd_normal - none
    CT_abd_osseous_neoplasm vertebra mottle
    CT_abd_ovarian_pathology ovary ring
    CT_abd_pancreatic_lesion pancreas blob
    CT_abd_post_op mesentery metal
    CT_abd_prostate_lesion prostate blob
    CT_abd_renal_lesion kidney blob
    CT_abd_soft_tissue_collection muscle fluid
    CT_abd_soft_tissue_mass muscle blob
    CT_abd_splenic_lesion spleen blob
    CT_abd_urolithiasis kidney stones
    CT_abd_uterine_pathology uterus blob
    CT_lung_Airspace_opacity lower haze
    CT_lung_Bronchiectasis hilum tubes
    CT_lung_Nodule lung blob
    CT_lung_Parenchyma_destruction upper mottle
    CT_lung_interstitial_lung_disease lungs stripes
    CT_lung_normal - none
    MR_af_Plantar_plate_tear forefoot line
    MR_af_achilles_pathology_ achilles band
    MR_af_atfl_pathology lateral band
    MR_af_bone_inflammation calcaneus haze
    MR_af_cfl_pathology below band
    MR_af_chondral_abnormality dome line
    MR_af_coalition subtalar stripes
    MR_af_deltoid_pathology medial band
    MR_af_extensor_pathology_ extensor band
    MR_af_fat_containing_tumor heel fat
    MR_af_flexor_pathology_ flexor band
    MR_af_hematoma sole mottle
    MR_af_intra joint stones
    MR_af_lisfranc_pathology midfoot line
    MR_af_normal - none
    MR_af_osseous_disruption tibia line
    MR_af_osseous_neoplasm calcaneus ring
    MR_af_peroneal_pathology peroneal band
    MR_af_plantar_fascia_pathology fascia band
    MR_af_post_op midfoot metal
    MR_af_soft_tissue_edema dorsum haze
    MR_af_soft_tissue_fluid dorsum fluid
    MR_af_soft_tissue_mass sole blob
    MR_af_spring_ligament_injury spring band
    MR_af_syndesmosis_pathology syndesmosis band
    MR_brain_acute_infarct insula diffuse
    MR_brain_arteriovenous_anomaly frontal tubes
    MR_brain_chronic_infarct occipital fluid
    MR_brain_edema parietal haze
    MR_brain_extra convexity blob
    MR_brain_focal_flair_hyper frontal blob
    MR_brain_intra parietal ring
    MR_brain_normal - none
    MR_brain_pituatary_lesion sella blob
    MR_brain_white_matter_changes white spots
    MR_hip_abductor_pathology_ abductor band
    MR_hip_capsular_pathology capsule band
    MR_hip_chondral_pathology cartilage line
    MR_hip_hamstring_pathology hamstring band
    MR_hip_hematoma thigh mottle
    MR_hip_labral_pathology labrum line
    MR_hip_marrow_inflammation head haze
    MR_hip_normal - none
    MR_hip_osseous_disruption neck line
    MR_hip_osseous_lesion neck ring
    MR_hip_post_op head metal
    MR_hip_soft_tissue_edema gluteal haze
    MR_hip_soft_tissue_fluid joint fluid
    MR_hip_soft_tissue_mass thigh blob
    MR_knee_acl_pathology acl band
    MR_knee_bone_inflammation femur haze
    MR_knee_chondral_abnormality cartilage line
    MR_knee_fcl_pathology fibular band
    MR_knee_fracture tibia line
    MR_knee_hematoma calf mottle
    MR_knee_intra joint stones
    MR_knee_mcl_pathology mcl band
    MR_knee_meniscal_abnormality meniscus line
    MR_knee_muscle_strain thigh haze
    MR_knee_normal - none
    MR_knee_patella_pathology patella mottle
    MR_knee_pcl_pathology pcl band
    MR_knee_post_operative_acl acl metal
    MR_knee_quad_pathology quadriceps band
    MR_knee_soft_tissue_edema hoffa haze
    MR_knee_soft_tissue_fluid_collection popliteal fluid
    MR_knee_soft_tissue_mass calf blob
    MR_mriabd_adrenal_pathology adrenal blob
    MR_mriabd_arterial_pathology aorta ring
    MR_mriabd_ascites flank fluid
    MR_mriabd_bil_dil liver tubes
    MR_mriabd_bladder_pathology bladder wall
    MR_mriabd_bowel_abnormality bowel tubes
    MR_mriabd_bowel_inflammation bowel haze
    MR_mriabd_bowel_mass bowel blob
    MR_mriabd_degenerative_changes vertebra stripes
    MR_mriabd_dilated_urinary_tract kidney fluid
    MR_mriabd_enlarged_organ spleen diffuse
    MR_mriabd_gallbladder_pathology gallbladder ring
    MR_mriabd_intraperitoneal_mass mesentery blob
    MR_mriabd_liver_disease_ liver mottle
    MR_mriabd_liver_lesion liver blob
    MR_mriabd_marrow_abn vertebra haze
    MR_mriabd_normal - none
    MR_mriabd_osseous_neoplasm vertebra mottle
    MR_mriabd_ovarian_pathology ovary ring
    MR_mriabd_pancreatic_lesion pancreas blob
    MR_mriabd_prostate_lesion prostate blob
    MR_mriabd_renal_lesion kidney blob
    MR_mriabd_soft_tissue_collection muscle fluid
    MR_mriabd_soft_tissue_mass muscle blob
    MR_mriabd_splenic_lesion spleen blob
    MR_mriabd_uterine_pathology uterus blob
    MR_shoulder_acj_oa acj stripes
    MR_shoulder_biceps_pathology biceps band
    MR_shoulder_ca++_tendinosis cuff stones
    MR_shoulder_ghj_oa joint stripes
    MR_shoulder_infraspinatus_pathology infraspinatus band
    MR_shoulder_labral_pathology labrum line
    MR_shoulder_marrow_inflammation head haze
    MR_shoulder_normal - none
    MR_shoulder_osseous_lesion glenoid ring
    MR_shoulder_post_op head metal
    MR_shoulder_soft_tissue_edema deltoid haze
    MR_shoulder_soft_tissue_fluid axilla fluid
    MR_shoulder_subscapularis_pathology subscapularis band
    MR_shoulder_supraspinatus_pathology supraspinatus band
    MR_spine_cord_pathology_ cord haze
    MR_spine_cystic_lesions root ring
    MR_spine_disc_pathology disc fluid
    MR_spine_dural_epidural_abn dural blob
    MR_spine_facet_arthropathy facet stripes
    MR_spine_foraminal_pathlogy foramen blob
    MR_spine_normal - none
    MR_spine_osseous_abn vertebra mottle
    MR_spine_scoliosis column bend
    US_usabd_aorta aorta none
    US_usabd_bladder bladder none
    US_usabd_cbd cbd none
    US_usabd_fibroid fibroid none
    US_usabd_gb gb none
    US_usabd_ivc ivc none
    US_usabd_kidney kidney none
    US_usabd_liver liver none
    US_usabd_ovary ovary none
    US_usabd_pancreas pancreas none
    US_usabd_portal_vein portal_vein none
    US_usabd_spleen spleen none
    US_usabd_uterus uterus none
    US_usthyroid_thyroid thyroid none
    US_usthyroid_thyroid_nodule thyroid_nodule none
    """
)
"""Class to the site and kind of its finding; of ultrasound classes the site is the organ that is shown."""
