"""Which region of the body the free text of Body Part Examined names.

The element holds one of the terms of PS3.16 annex L by the standard, and in practice whatever a protocol was called:
``CHEST``, ``THORAX``, ``ABD_PELVIS``, ``CHESTABDPELVIS``. Parts of words therefore decide, and a text may name several
regions, or none that is known.
"""

from __future__ import annotations

import re

#: Region to parts of words, letters and digits alone, in capitals. English, with the usual German and Romance words.
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
    """The regions that a text names, of `REGIONS`; empty where it is missing or names none of them."""
    text = re.sub(r"[^A-Z0-9]", "", str(body_part or "").upper())
    if "SPINE" in text:  # CSPINE, THORACIC SPINE, ...
        return frozenset({"spine"})
    return frozenset(region for region, stems in REGIONS.items() if any(stem in text for stem in stems))
