"""What all objects written here have in common, and how they reach the disk."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID_dictionary

from radimagenet_monai.catalog.codes import PRIVATE_SCHEME, Code
from radimagenet_monai.core.atomic import atomic_open
from radimagenet_monai.core.errors import ConfigurationError, DicomOutputError, RadImageNetError
from radimagenet_monai.core.version import __version__
from radimagenet_monai.integrations.dicom_output.contents import MANUFACTURER, RESEARCH_ONLY, Model
from radimagenet_monai.io.failures import anonymous, quiet_libraries

_LONGEST = 64  # characters of the value representation LO

SERIES_NUMBERS = {"SEG": 9100, "SR": 9200, "SC": 9300}
"""Series Number by kind: high, so that a viewer lists results behind what was acquired."""


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn what highdicom raises into one line that names the source file, without header values.

    Raises
    ------
    ConfigurationError
        If highdicom is not installed.
    DicomOutputError
        For any other exception.
    """
    try:
        with quiet_libraries():
            yield
    except RadImageNetError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"DICOM output needs highdicom ({error}); install it with pip install 'radimagenet-monai[dicom]'"
        ) from error
    except OSError:
        raise
    except KeyError as error:
        if str(error.args[0]) in UID_dictionary:  # a UID of the standard, not of a patient
            kind = UID_dictionary[str(error.args[0])][0]
            raise DicomOutputError(
                f"{path}: no DICOM object can refer to an image of the class '{kind}', which is "
                "retired or no image of a patient; write results as NIfTI, PNG or CSV"
            ) from None
        raise DicomOutputError(
            f"{path}: its storage class is not one of the standard's images; write results as NIfTI, PNG or CSV"
        ) from None
    except Exception as error:
        # "from None": the original message may quote a header value.
        raise DicomOutputError(
            f"{path}: no DICOM object can be made from it ({anonymous(error)}); write masks as NIfTI or PNG instead"
        ) from None


def long_string(text: str) -> str:
    """``text`` as a value of representation LO: one line of 64 characters at most, without backslash."""
    return re.sub(r"[\\\x00-\x1f]+", " ", text).strip()[:_LONGEST]


def coded(code: Code) -> Any:
    """highdicom's form of a code."""
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def equipment(model: Model, kind: str, created: datetime.datetime) -> dict[str, Any]:
    """Arguments of every object: who made it, when, and that it is for research."""
    from highdicom import ContentQualificationValues

    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": long_string(model.name),
        # 64 characters, as many as the element takes: the one identity that a model file has.
        "device_serial_number": model.sha256,
        "software_versions": [f"radimagenet-monai {__version__}", long_string(f"model {model.version}")],
        "series_description": long_string(f"{kind} {model.name}: research use only"),
        "series_number": SERIES_NUMBERS[kind],
        "series_date": created.date(),
        "series_time": created.time(),
        "content_date": created.date(),
        "content_time": created.time(),
        "content_qualification": ContentQualificationValues.RESEARCH,
    }


def private_scheme() -> Any:
    """The identification of this project's coding scheme."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(
        designator=PRIVATE_SCHEME,
        name=f"{MANUFACTURER}: findings",
        responsible_organization=f"{MANUFACTURER} developers",
    )


def algorithm_parameters(model: Model) -> dict[str, str]:
    """What identifies the model beside its name and version."""
    return {"model_sha256": model.sha256, "status": RESEARCH_ONLY.replace(",", " and")}


def finish(dataset: Dataset, source: Dataset, created: datetime.datetime) -> None:
    """Give an object the stated time of creation, what its source says of its dates, and a fitting character set."""
    from pydicom.valuerep import DA, DT, TM

    if "LongitudinalTemporalInformationModified" in source:
        dataset.LongitudinalTemporalInformationModified = source.LongitudinalTemporalInformationModified
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = DA(created.date()), TM(created.time())
    for item in dataset.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = DT(created)
    texts = (element.value for element in dataset.iterall() if element.VR in ("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
    if all(str(text).isascii() for text in texts):
        dataset.pop("SpecificCharacterSet", None)
    else:
        dataset.SpecificCharacterSet = "ISO_IR 192"


def save(dataset: Dataset, out: str | os.PathLike[str]) -> Path:
    """Write an object as a Part 10 file, complete or not at all.

    Raises
    ------
    OSError
        From the file system.
    """
    with atomic_open(out) as stream:
        dataset.save_as(stream, enforce_file_format=True)
    return Path(out)
