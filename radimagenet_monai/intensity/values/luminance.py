"""Luminance of color images, without converting to RGB if the file already holds luminance.

Standard: DICOM PS3.3 C.7.6.3.1.2 (photometric interpretations; Y there is Rec. 601 luma), C.7.6.3.1.5 and C.7.9
(palette color lookup tables, plain and segmented).
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from radimagenet_monai.intensity.values.grayscale import byte_order, first_input, map_stored, stored_range

#: Weights of red, green and blue in Rec. 601 luma.
REC601 = np.array([0.299, 0.587, 0.114])

_LUMA_FIRST = frozenset({"YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})


def rgb_luminance(rgb: np.ndarray, largest: float) -> np.ndarray:
    """Rec. 601 luma of ``(..., 3)`` values up to ``largest``, as float32 in [0, 1], not rounded to 8 bits."""
    weights = (REC601 / largest).astype(np.float32)
    luma = rgb[..., 0] * weights[0]
    luma += rgb[..., 1] * weights[1]
    luma += rgb[..., 2] * weights[2]
    # Rounded to float32, the weights do not sum to exactly 1.
    return np.clip(luma, 0, 1, out=luma)


def color_luminance(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Luminance in [0, 1] of one color frame of a DICOM image.

    Parameters
    ----------
    stored
        ``(rows, columns, 3)`` for RGB and YBR, ``(rows, columns)`` of palette indices for PALETTE COLOR.
    Header with the photometric interpretation of ``stored``.
        States the photometric interpretation of ``stored``.

    Raises
    ------
    ValueError
        For another photometric interpretation, a malformed palette, or values beyond Bits Stored.
    """
    photometric = str(header.get("PhotometricInterpretation"))
    if photometric == "PALETTE COLOR":
        if stored.ndim != 2:
            raise ValueError("PALETTE COLOR with more than one sample a pixel")
        first, luminance = palette_luminance(header)
        return map_stored(stored, lambda index: luminance[np.clip(index - first, 0, len(luminance) - 1).astype(int)])
    if stored.ndim != 3:
        raise ValueError(f"{photometric} with one sample a pixel")
    low, high = stored_range(header)
    if stored.dtype.kind not in "iu" or low < 0 or int(stored.min()) < low or int(stored.max()) > high:
        raise ValueError(f"color values beyond the {header.BitsStored} bits stored")
    if photometric == "RGB":
        return rgb_luminance(stored, float(high))
    if photometric in _LUMA_FIRST:
        return map_stored(stored[..., 0], lambda luma: luma / high)
    if photometric.startswith("YBR_PARTIAL"):
        # 8-bit studio range: black is 16, white is 235.
        return map_stored(stored[..., 0], lambda luma: np.clip((luma * 255 / high - 16) / 219, 0, 1))
    raise ValueError(f"Photometric Interpretation {photometric!r} has no luminance rule")


def palette_luminance(header: Dataset) -> tuple[int, np.ndarray]:
    """The luminance of every palette entry of a header, computed once and then looked up by index.

    Returns
    -------
    first
        Index of the first entry; smaller indices map to it, indices beyond the palette to the last entry.
    luminance
        Shape ``(entries,)``, float64 in [0, 1].
    """
    channels = []
    first = 0
    for color in ("Red", "Green", "Blue"):
        descriptor = header.get(f"{color}PaletteColorLookupTableDescriptor")
        if descriptor is None or len(descriptor) != 3:
            raise ValueError(f"{color} Palette Color LUT Descriptor holds {descriptor!r}, expected three values")
        length, start, bits = (int(value) for value in descriptor)
        length = length % 2**16 or 2**16
        if bits not in (8, 16):
            raise ValueError(f"{color} Palette Color LUT Descriptor [{length}, {start}, {bits}] is not allowed")
        if color == "Red":
            first = first_input(start, *stored_range(header))
        channels.append(_palette_channel(header, color, length, bits))
    if len({len(channel) for channel in channels}) != 1:
        raise ValueError("the palette's red, green and blue tables differ in length")
    return first, np.clip(np.stack(channels, axis=-1) @ REC601, 0, 1)


def _palette_channel(header: Dataset, color: str, length: int, bits: int) -> np.ndarray:
    """One color of the palette, float64 in [0, 1]."""
    data = header.get(f"{color}PaletteColorLookupTableData")
    if data:
        # A table with one byte per entry may be described as 16 bits, which pydicom also accepts; an odd length is
        # padded.
        width = 1 if len(data) in (length, length + length % 2) else 2
        if len(data) < length * width:
            raise ValueError(f"{color} palette holds {len(data)} bytes, too few for {length} entries")
        order = byte_order(header)
        return np.frombuffer(data, dtype=f"{order}u{width}", count=length) / (256**width - 1)
    segments = header.get(f"Segmented{color}PaletteColorLookupTableData")
    if not segments:
        raise ValueError(f"no {color.lower()} palette data")
    width = bits // 8
    words = np.frombuffer(segments, dtype=f"{byte_order(header)}u{width}", count=len(segments) // width)
    entries = _expand_segments(words.tolist(), width)
    if len(entries) < length:
        raise ValueError(f"a segmented palette expands to {len(entries)} entries, the descriptor states {length}")
    return np.array(entries[:length], dtype=np.float64) / (256**width - 1)


def _expand_segments(words: list[int], width: int) -> list[int]:
    """Expand discrete (0), linear (1) and indirect (2) segments of ``width`` bytes per entry (PS3.3 C.7.9.2)."""
    entries: list[int] = []

    def expand(at: int, nested: bool) -> int:
        opcode, count = words[at], words[at + 1]
        if opcode == 0:
            entries.extend(words[at + 2 : at + 2 + count])
            return at + 2 + count
        if opcode == 1:
            if not entries:
                raise ValueError("a segmented palette starts with a linear segment")
            start, end = entries[-1], words[at + 2]
            entries.extend(round(start + (end - start) * step / count) for step in range(1, count + 1))
            return at + 3
        if opcode == 2 and not nested:
            # The offset is four bytes, counted from the start of the data, least significant part first.
            parts = 4 // width
            offset = sum(word << (8 * width * place) for place, word in enumerate(words[at + 2 : at + 2 + parts]))
            target = offset // width
            for _ in range(count):
                target = expand(target, True)
            return at + 2 + parts
        raise ValueError(f"segment type {opcode} in a segmented palette")

    position = 0
    # One word may remain: the null that pads the data to even length.
    while position + 1 < len(words):
        position = expand(position, False)
    return entries
