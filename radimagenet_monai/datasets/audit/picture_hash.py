"""Find pictures that look the same: a perceptual hash, an exhaustive search among many hashes, and a second check.

The hash is the difference hash of N. Krawetz (*Kind of like that*, 2013) on a 16 x 17 grid: 256 bits that stay the same
under recompression, rescaling and contrast changes. `near_pairs` finds *all* pairs within a number of bits by comparing
every pair. Faster schemes (buckets of hash bands) pay off only for small distances: for 32 of 256 bits they would need
thousands of buckets per image, while one processor core compares 500 million pairs per second.

The hash alone also matches slices of different patients, since their outlines and dark margins are alike.
`detail_correlation` compares two small copies after equalizing local contrast and removing shading.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np

HASH_BITS = 256

NEAR_DUPLICATE_BITS = 32
"""Two pictures whose 256-bit hashes differ in at most this many bits may be the same picture.

On phantoms of breast ultrasound, recompression, rescaling, contrast changes, noise and drawn calipers change up to 23
bits, a cut of 2 % off two sides about 30, and different pictures differ in 72 or more.
"""

THUMBNAIL_SIDE = 64
"""Pixels of the small square copy that `detail_correlation` compares."""

SAME_DETAIL = 0.9
"""Detail correlation from which two pictures whose hashes are near are taken for the same picture.

On phantoms of ultrasound, CT and mixed modalities, 99 % of the copies that were recompressed, rescaled, brightened,
darkened or made noisy reach 0.94 or more; different patients reach 0.81 in CT of heads, whose outlines are much the
same, 0.77 in radiographs of chests, and 0.74 elsewhere.
"""

_WORDS = HASH_BITS // 64
_BLOCK = (64, 4096)  # pairs compared at a time: their 2 MB stay in a core's cache
_COARSE = 2.0  # standard deviation of the blur that defines shading, in thumbnail pixels
_CLIP, _TILES = 4.0, (4, 4)  # of the equalization
_DEVIATION = 32.0  # of details: most fit into int8, and rounding errors are a fiftieth of it
_FLAT = 0.05  # gray levels
_MOST_SKETCH_BITS = 64
_SKETCHED_AT_ONCE = 4096


def difference_hash(gray: np.ndarray) -> np.ndarray:
    """256 booleans: whether brightness rises from each cell of a 16 x 17 grid to its right neighbor.

    Parameters
    ----------
    gray
        Gray picture, ``(rows, columns)`` uint8.
    """
    grid = cv2.resize(gray, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return (grid[:, 1:] > grid[:, :-1]).ravel()


def pack_hashes(bits: np.ndarray) -> np.ndarray:
    """``(n, 256)`` booleans of `difference_hash` as ``(n, 4)`` uint64.

    Each word holds every fourth row of the grid, so that two words already distinguish most pictures, even if the upper
    or lower half of all pictures is black.
    """
    rows = np.asarray(bits, bool).reshape(len(bits), 16, 16)
    mixed = np.concatenate([rows[:, first::_WORDS] for first in range(_WORDS)], axis=1)
    return np.packbits(mixed.reshape(len(bits), HASH_BITS), axis=1).view(np.uint64)


def near_pairs(hashes: np.ndarray, most_bits: int, workers: int = 1) -> Iterator[np.ndarray]:
    """All pairs of hashes that differ in at most ``most_bits`` bits.

    Every pair is compared, so none is missed. Memory holds the hashes and one block per worker.

    Parameters
    ----------
    hashes
        ``(n, 4)`` uint64 from `pack_hashes`.
    most_bits
        Largest number of differing bits, 0 ... 256.
    workers
        Number of threads.

    Yields
    ------
    numpy.ndarray
        ``(3, m)`` int64 for a block of rows: ``i``, ``j`` with ``i < j``, and the number of differing bits. The order
        of blocks and pairs depends only on ``hashes``.
    """
    words = np.ascontiguousarray(hashes.T)
    starts = range(0, hashes.shape[0], _BLOCK[0])
    if workers <= 1:
        for start in starts:
            yield _near_in_rows(words, start, most_bits)
        return
    with ThreadPoolExecutor(workers) as pool:  # NumPy releases the interpreter lock while comparing
        ahead: deque[Future[np.ndarray]] = deque()
        for start in starts:
            ahead.append(pool.submit(_near_in_rows, words, start, most_bits))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def thumbnail(gray: np.ndarray) -> np.ndarray:
    """``(64, 64)`` int8: the details of a ``(rows, columns)`` uint8 picture, for `detail_correlation`.

    The picture is averaged down and its local contrast equalized (contrast-limited, adaptive; Zuiderveld, *Graphics
    Gems IV*, 1994), which gives soft tissue weight beside bone and makes copies with another contrast alike. The
    remainder after subtracting a Gaussian blur of two pixels has mean 0 and standard deviation 32, or is 0 in a
    constant picture.
    """
    small = cv2.resize(gray, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    equalized = cv2.createCLAHE(_CLIP, _TILES).apply(small).astype(np.float32)
    details = equalized - cv2.GaussianBlur(equalized, (0, 0), _COARSE)
    details -= details.mean()
    deviation = details.std()
    scaled = details * (_DEVIATION / deviation) if deviation > _FLAT else np.zeros_like(details)
    return np.rint(np.clip(scaled, -127, 127)).astype(np.int8)


def may_have_same_detail(sketches: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``(m,)`` booleans: whether the details of pictures ``first`` and ``second`` can correlate by `SAME_DETAIL`.

    A thousand times cheaper than the correlation, for sets whose hashes are barely distinctive. Sketches of pictures
    that correlate by 0.9 differ in 37 bits on average, and in more than the 64 allowed here once in a million.
    """
    differing = np.bitwise_count(sketches[first] ^ sketches[second]).sum(axis=1, dtype=np.int64)
    return np.asarray(differing <= _MOST_SKETCH_BITS)


def sketch_details(thumbnails: np.ndarray) -> np.ndarray:
    """``(n, 4)`` uint64: the signs of 256 random projections of each of ``(n, 64, 64)`` int8 thumbnails.

    The share of differing bits is the angle between the details over pi (Charikar, *STOC* 2002).
    """
    directions = np.random.default_rng(0).standard_normal((THUMBNAIL_SIDE**2, HASH_BITS), np.float32)
    sketches = np.empty((len(thumbnails), _WORDS), np.uint64)
    for start in range(0, len(thumbnails), _SKETCHED_AT_ONCE):
        block = thumbnails[start : start + _SKETCHED_AT_ONCE].reshape(-1, THUMBNAIL_SIDE**2).astype(np.float32)
        sketches[start : start + len(block)] = np.packbits(block @ directions > 0, axis=1).view(np.uint64)
    return sketches


def detail_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of two pictures' details.

    Parameters
    ----------
    first, second
        ``(n, 64, 64)`` int8 from `thumbnail`.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` float32 in [-1, 1]; 0 if a picture has no details. Symmetric in its arguments.
    """
    one, other = (part.reshape(len(part), -1).astype(np.float32) for part in (first, second))
    lengths = np.sqrt(np.einsum("ni,ni->n", one, one) * np.einsum("ni,ni->n", other, other))
    product = np.einsum("ni,ni->n", one, other)
    return np.clip(np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0), -1, 1)


def _near_in_rows(words: np.ndarray, start: int, most_bits: int) -> np.ndarray:
    """Pairs of one block of rows from ``start`` on with all later rows."""
    rows = words[:, start : start + _BLOCK[0]]
    height = rows.shape[1]
    # Reused arrays: allocating new ones for each block would double the time.
    xor, first, second = (np.empty((height, _BLOCK[1]), kind) for kind in (np.uint64, np.uint8, np.uint8))
    found = []
    for left in range(start, words.shape[1], _BLOCK[1]):
        columns = words[:, left : left + _BLOCK[1]]
        width = columns.shape[1]
        for word, count in ((0, first), (1, second)):
            np.bitwise_xor(rows[word][:, None], columns[word], out=xor[:, :width])
            np.bitwise_count(xor[:, :width], out=count[:, :width])
        differing = np.add(first[:, :width], second[:, :width], out=first[:, :width])
        # More differing bits in two words decide; few pairs need the other two. At most 128 fits in uint8.
        possible = differing <= most_bits
        if not possible.any():
            continue
        i, j = np.nonzero(possible)
        i, j = i[j + left > i + start], j[j + left > i + start]
        bits = differing[i, j].astype(np.int64)
        for word in range(2, _WORDS):
            bits += np.bitwise_count(rows[word][i] ^ columns[word][j])
        near = bits <= most_bits
        found.append(np.stack([i[near] + start, j[near] + left, bits[near]]))
    return np.concatenate([np.empty((3, 0), np.int64), *found], axis=1)
