"""The classes in words, as pages show them."""

from __future__ import annotations

import pytest

from radimagenet_monai.catalog.labels import LABELS

BY_KEY = {label.key: label for label in LABELS}


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("CT_lung_Nodule", "nodule"),
        ("MR_af_achilles_pathology_", "Achilles pathology"),
        ("MR_shoulder_ca++_tendinosis", "calcific tendinosis"),
        ("MR_knee_post_operative_acl", "postoperative ACL"),
        ("MR_brain_pituatary_lesion", "pituitary lesion"),
        ("MR_mriabd_marrow_abn", "marrow abnormality"),
        ("MR_mriabd_adrenal_pathology", "adrenal pathology"),
        ("US_usabd_gb", "gallbladder"),
    ],
)
def test_words_of_a_class(key: str, words: str) -> None:
    assert BY_KEY[key].words == words


def test_words_tell_the_classes_of_a_region_apart() -> None:
    told = {(label.modality, label.region, label.words) for label in LABELS}
    assert len(told) == len(LABELS)
    assert not [label.key for label in LABELS if set(label.words) & set("_+") or not label.words]
