"""Which policy an image gets, what is refused and how, and what leaves a policy."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, list_data_collate
from native_frames import dicom, picture, shown, volume

import radimagenet_monai.intensity as intensity
from radimagenet_monai.catalog.tasks import Modality
from radimagenet_monai.core.errors import ConfigurationError, IntensityError, UnreadableImageError
from radimagenet_monai.intensity import AutoIntensityd, CTWindowd, MRPercentiled, RadiographVOId, UltrasoundLuminanced
from radimagenet_monai.intensity.checks.modality import POLICIES, POLICY_OF_MODALITY

pytestmark = pytest.mark.slow

STORED = np.arange(64, dtype=np.int16).reshape(8, 8)
SINGLE = {"CT": CTWindowd, "MR": MRPercentiled, "US": UltrasoundLuminanced, "radiograph": RadiographVOId}


def test_policies_are_those_of_the_tasks() -> None:
    assert [str(modality) for modality in Modality] == list(POLICIES)
    assert set(POLICY_OF_MODALITY.values()) == set(POLICIES)


@pytest.mark.parametrize(("modality", "policy"), POLICY_OF_MODALITY.items())
def test_header_chooses_the_policy(modality: str, policy: str) -> None:
    image = dicom(modality, STORED, BodyPartExamined="ABDOMEN")
    np.testing.assert_array_equal(shown(AutoIntensityd("image"), image), shown(SINGLE[policy]("image"), image))


@pytest.mark.parametrize("modality", ["PT", "NM", "OT", "SC", "SEG", "XA", "QQ", None])
def test_other_modalities_are_refused_by_name(modality: str | None) -> None:
    image = dicom(modality, STORED)
    with pytest.raises(IntensityError) as caught:
        shown(AutoIntensityd("image"), image)
    assert "study/image.dcm" in str(caught.value)
    assert (modality or "unknown modality") in str(caught.value)
    assert "--allow_modality_mismatch true" in str(caught.value)
    assert shown(AutoIntensityd("image", "CT", allow_modality_mismatch=True), image).shape == (1, 8, 8)


@pytest.mark.parametrize("expected", POLICIES)
@pytest.mark.parametrize("modality", ["CT", "MR", "US", "CR"])
def test_wrong_modality_is_refused_alike_by_auto_and_single(expected: str, modality: str) -> None:
    image = dicom(modality, STORED)
    if POLICY_OF_MODALITY[modality] == expected:
        assert shown(AutoIntensityd("image", expected), image).shape == (1, 8, 8)
        return
    messages = []
    for policy in (AutoIntensityd("image", expected), SINGLE[expected]("image")):
        with pytest.raises(IntensityError) as caught:
            shown(policy, image)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert f"modality {modality} was given, {expected} (" in messages[0]
    allowed = AutoIntensityd("image", expected, allow_modality_mismatch=True)
    single = SINGLE[expected]("image", allow_modality_mismatch=True)
    np.testing.assert_array_equal(shown(allowed, image), shown(single, image))


@pytest.mark.parametrize("expected", POLICIES)
def test_pictures_are_taken_as_expected(expected: str) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_allclose(shown(AutoIntensityd("image", expected), picture(grey))[0], grey / 255, atol=1e-7)


def test_without_expectation_pictures_are_taken_as_shown_and_volumes_refused() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_allclose(shown(AutoIntensityd("image"), picture(grey))[0], grey / 255, atol=1e-7)
    with pytest.raises(IntensityError, match=r"states no modality, was given.*records' column 'modality'"):
        shown(AutoIntensityd("image"), volume(STORED[None]))


@pytest.mark.parametrize("stated", POLICIES)
def test_a_record_says_what_its_volume_is(stated: str) -> None:
    auto, single = AutoIntensityd("image"), SINGLE[stated]("image")
    values = np.abs(STORED[None])
    expected = single({"image": volume(values)})["image"]
    found = auto({"image": volume(values), "modality": stated, "region": "abd"})["image"]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ConfigurationError, match="unknown modality policy 'PET'"):
        auto({"image": volume(values), "modality": "PET"})


def test_a_record_that_contradicts_the_header_is_refused() -> None:
    with pytest.raises(IntensityError, match="modality MR was given, CT"):
        AutoIntensityd("image")({"image": dicom("MR", STORED), "modality": "CT"})


def test_options_reach_their_policy() -> None:
    policy = AutoIntensityd("image", ct={"windows": ["brain", "subdural", "bone"]}, mr={"lower": 0, "upper": 100})
    assert shown(policy, dicom("CT", STORED)).shape == (3, 8, 8)
    np.testing.assert_allclose(shown(policy, dicom("MR", STORED))[0], STORED / 63, atol=1e-6)
    with pytest.raises(ConfigurationError, match="options of the CT intensity policy"):
        AutoIntensityd("image", ct={"window": ["brain"]})
    with pytest.raises(ConfigurationError, match="unknown modality policy 'XR'"):
        AutoIntensityd("image", "XR")


@pytest.mark.parametrize(
    "value",
    [
        STORED,
        STORED[np.newaxis],
        torch.from_numpy(STORED.copy()),
        MetaTensor(torch.from_numpy(STORED.copy())[None], meta={"filename_or_obj": "a.nii.gz"}),
    ],
)
def test_plain_arrays_hold_native_values(value: object) -> None:
    out = CTWindowd("image", [[32, 64]])({"image": value, "label": 1})
    assert out["label"] == 1
    np.testing.assert_allclose(out["image"].numpy()[0], STORED / 64, atol=1e-6)
    assert out["image"].meta.get("filename_or_obj") == ("a.nii.gz" if isinstance(value, MetaTensor) else None)


@pytest.mark.parametrize(
    "value", ["a.dcm", np.zeros((5, 8, 8)), np.zeros(3), np.array(["a"]), np.zeros((2, 2), complex)]
)
def test_what_is_no_image_is_refused(value: object) -> None:
    with pytest.raises(IntensityError):
        CTWindowd("image")({"image": value})


@pytest.mark.parametrize("frame", [-1, 3])
def test_frame_beyond_the_volume_is_refused(frame: int) -> None:
    with pytest.raises(UnreadableImageError, match="it holds frames 0 to 2"):
        shown(CTWindowd("image"), volume(np.zeros((3, 4, 4))), frame)


def test_metadata_tell_what_was_done_and_collate() -> None:
    one = dicom("CT", STORED, PatientName="Doe^Jane", PatientID="4711")
    other = volume(STORED[np.newaxis])
    policy = AutoIntensityd("image", "CT")
    tensors = [policy({"image": image})["image"] for image in (one, other)]
    assert tensors[0].dtype == torch.float32
    assert tensors[0].meta["filename_or_obj"] == "study/image.dcm"
    assert tensors[0].meta["modality"] == "CT"
    assert tensors[0].meta["original_shape"] == (8, 8)
    assert tensors[0].meta["crop"] == (0, 0, 8, 8)
    assert tensors[0].meta["intensity"] == "CT window abdomen 50/400 HU"
    assert tensors[1].meta["modality"] == "unknown"
    assert "Doe" not in str(tensors[0].meta)
    assert "4711" not in str(tensors[0].meta)
    batch = list_data_collate([{"image": tensor} for tensor in tensors])["image"]
    assert batch.shape == (2, 1, 8, 8)


def test_policies_are_named_from_json() -> None:
    config = json.loads(
        '{"_target_": "radimagenet_monai.intensity.AutoIntensityd", "keys": "image", "expected": "CT",'
        ' "ct": {"windows": ["brain", [75, 215], "bone"]}}'
    )
    policy = ConfigParser({"policy": config}).get_parsed_content("policy")
    assert shown(policy, dicom("CT", STORED)).shape == (3, 8, 8)


def test_import_is_lazy() -> None:
    code = (
        "import sys, radimagenet_monai.intensity as i; assert 'CTWindowd' in dir(i);"
        "assert not {'torch', 'monai', 'itk'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    assert intensity.CTWindowd.__name__ == "CTWindowd"
    with pytest.raises(AttributeError, match="no attribute 'PTWindowd'"):
        intensity.PTWindowd  # noqa: B018  # the access is what is tested
