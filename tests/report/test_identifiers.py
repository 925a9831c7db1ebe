"""What may name a patient, and what may not be lost."""

from __future__ import annotations

import pytest

from radimagenet_monai.report.identifiers import hide_in_message, looks_like_an_id


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB", "CUDA out of memory. Tried to allocate 20.00 MiB"),
        ("ConfigurationError: don't freeze, it's random", "ConfigurationError: don't freeze, it's random"),
        ("a b.png: cannot be read (decode): cut short", "[hidden]: cannot be read (decode): cut short"),
        (
            "x: cannot be read (open): gone; y: cannot be read",
            "[hidden]: cannot be read (open): gone; y: cannot be read",
        ),
        ("2 images: Doe, Jane.dcm is one", "2 images:[hidden] is one"),
        ("weights 'phantom' not in store '/home/doe'", "weights 'phantom' not in store [hidden]"),
        ("series 1.2.840.113619.2 of Doe^Jane, born 1970-01-31", "series [hidden] of [hidden], born [hidden]"),
        ("loss 0.25 at epoch 12, lr 0.001", "loss 0.25 at epoch 12, lr 0.001"),
    ],
)
def test_messages(message: str, shown: str) -> None:
    hidden = hide_in_message(message, frozenset({"phantom"}))
    assert hidden.replace(": [", ":[") == shown.replace(": [", ":[")


@pytest.mark.parametrize(
    ("column", "names", "patients", "hidden"),
    [
        ("sex", ["F", "M"], 40, False),
        ("age", ["below 45.0", "45.0-61.5", "61.5 and above"], 30, False),
        ("site", [f"site {place}" for place in range(12)], 9, False),
        ("acquired", ["2019", "2020"], 30, False),
        ("number", [str(place) for place in range(40)], 3, True),  # many
        ("code", ["a", "b", "c"], 1, True),  # one patient each
        ("reader", ["Doe^Jane", "Roe^Rex"], 50, True),
        ("born", ["1970-01-31", "1971-02-03"], 50, True),
        ("patient_id", ["1", "2"], 50, True),
        ("PatientName", ["1", "2"], 50, True),
        ("covid", ["yes", "no"], 50, False),
        ("fluid", ["yes", "no"], 50, False),
    ],
)
def test_columns(column: str, names: list[str], patients: int, hidden: bool) -> None:
    groups = [{"group": name, "patients": patients} for name in names]
    assert looks_like_an_id(column, groups) is hidden
