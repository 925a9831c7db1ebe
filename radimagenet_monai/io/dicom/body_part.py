"""Body regions named in the free text of Body Part Examined.

The standard asks for a term of PS3.16 annex L; in practice the element holds whatever a protocol was called:
``CHEST``, ``THORAX``, ``ABD_PELVIS``, ``CHESTABDPELVIS``. Matching therefore uses parts of words, and a text may name
several regions or no known one.
"""

from __future__ import annotations

import re

#: Region to parts of words, only letters and digits, in capitals. English, with the usual German and Romance words.
REGIONS: dict[str, tuple[str, ...]] = {
    "head": ("HEAD", "BRAIN", "SKULL", "CRANI", "CEREBR", "KOPF", "SCHAEDEL", "CABEZA", "ORBIT", "SINUS"),
    "neck": ("NECK", "THYROID", "LARYNX", "PHARYNX", "HALS", "CAROTID"),
    "breast": ("BREAST", "MAMMA", "MAMMO"),
    "chest": ("CHEST", "THORAX", "THORAC", "TORAX", "LUNG", "PULMON", "MEDIASTIN", "HEART", "CARDIAC", "RIB"),
    "abdomen": (
        *("ABD", "PELVI", "LIVER", "HEPAT", "KIDNEY", "RENAL", "PANCREA", "SPLEEN", "BOWEL", "COLON", "STOMACH"),
        *("GALLBLADDER", "BLADDER", "PROSTAT", "UTERUS", "OVARY", "RECTUM", "BAUCH", "BECKEN"),
    ),
    "spine": ("SPINE",),
    "shoulder": ("SHOULDER", "CLAVICLE", "SCAPULA"),
    "arm": ("ELBOW", "HUMERUS", "WRIST", "HAND", "FOREARM"),
    "hip": ("HIP",),
    "knee": ("KNEE", "PATELLA", "KNIE"),
    "foot": ("FOOT", "ANKLE", "CALCANEUS", "TOE"),
}


def regions_in(body_part: object) -> frozenset[str]:
    """The regions of `REGIONS` that a text names; empty if the text is missing or names none."""
    text = re.sub(r"[^A-Z0-9]", "", str(body_part or "").upper())
    if "SPINE" in text:  # CSPINE, THORACIC SPINE, ...
        return frozenset({"spine"})
    return frozenset(region for region, stems in REGIONS.items() if any(stem in text for stem in stems))
