"""Named CT windows, in Hounsfield units.

A named window runs linearly from centre - width/2 (black) to centre + width/2 (white): the LINEAR_EXACT function of
DICOM PS3.3 C.11.2.1.3.2, because it names an interval of HU. The LINEAR function, whose half-pixel terms are made for
integer displays, is used only for header windows, which state their function themselves.

Sources: [R] Radiopaedia, *Windowing (CT)*, doi:10.53347/rID-52108, the values customary for reading; the middle of a
range if it gives one. [I] the channels commonly combined by entries to the RSNA 2019 hemorrhage challenge (data set:
Flanders et al., Radiol Artif Intell 2020;2(3):e190211): brain, subdural, bone or soft tissue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.intensity.values.grayscale import Window

#: Name to (centre, width) in HU.
WINDOWS: dict[str, tuple[float, float]] = {
    "brain": (40, 80),  # [R], [I]
    "subdural": (75, 215),  # [R] centre 50-100, width 130-300; near [I] 80/200
    "stroke": (40, 40),  # [R]
    "temporal_bone": (600, 2800),  # [R]; the bone window of [I]
    "head_neck": (40, 375),  # [R] centre 20-60, width 350-400; near the soft tissue window of [I], 40/380
    "lung": (-600, 1500),  # [R]
    "mediastinum": (50, 350),  # [R]
    "pulmonary_embolism": (100, 700),  # [R]
    "abdomen": (50, 400),  # [R]
    "liver": (30, 150),  # [R]
    "spine": (50, 250),  # [R]
    "bone": (400, 1800),  # [R]
}


@dataclass(frozen=True)
class HeaderWindow:
    """Window number ``index`` of the image's own header."""

    index: int = 0


WindowChoice = str | Sequence[float]


def parse_windows(windows: WindowChoice | Sequence[WindowChoice]) -> list[tuple[str, Window | HeaderWindow]]:
    """Parse the windows of a configuration into a label and a window for each channel.

    Parameters
    ----------
    windows
        One, or a list of one or three, of: a name in `WINDOWS`; a (centre, width) pair in HU; ``"header"`` or
        ``"header:1"`` for the header's first or second window.

    Raises
    ------
    ConfigurationError
        For an unknown name, an invalid pair, or a number of windows other than one or three.
    """
    given = [windows] if isinstance(windows, str) else list(windows)
    parsed = [_parse(choice) for choice in given]
    if len(parsed) not in (1, 3):
        raise ConfigurationError(f"{len(parsed)} CT windows were given; one or three make the channels of an image")
    return parsed


def _parse(choice: WindowChoice | float) -> tuple[str, Window | HeaderWindow]:
    if isinstance(choice, str):
        name, _, index = choice.partition(":")
        if name == "header" and (not index or index.isdecimal()):
            return choice, HeaderWindow(int(index or 0))
        if choice not in WINDOWS:
            raise ConfigurationError(
                f"unknown CT window {choice!r}: choose one of {', '.join(WINDOWS)}, header, or a [centre, width] pair"
            )
        center, width = WINDOWS[choice]
        return f"{choice} {center:g}/{width:g} HU", Window(center, width)
    try:
        center, width = (float(value) for value in choice)  # type: ignore[union-attr]  # a bare number ends below
        return f"{center:g}/{width:g} HU", Window(center, width)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"CT window {choice!r} is no [centre, width] pair in HU with a positive width; write for example [[40, 80]]"
        ) from error
