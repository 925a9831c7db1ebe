"""DDTI's XML files: what they say, however damaged, and outlines filled as scikit-image fills them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.readers.ddti_case import fill_polygons, read_case, read_outlines

SQUARE = [(10, 20), (40, 20), (40, 30), (10, 30)]


def svg(*polygons: list[tuple[float, float]]) -> str:
    regions = [{"points": [{"x": x, "y": y} for x, y in points], "regionType": "freehand"} for points in polygons]
    return json.dumps(regions)


def case(*marks: tuple[object, str], tirads: str = "4a", number: str = "12") -> str:
    inner = "".join(f"<mark><image>{image}</image><svg>{text}</svg></mark>" for image, text in marks)
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
        f"<case><number>{number}</number><age> 41 </age><sex>F</sex><composition/>"
        f"<margins>well defined\n smooth</margins><tirads>{tirads}</tirads>{inner}</case>"
    )


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "12.xml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_case(tmp_path: Path) -> None:
    path = write(tmp_path, case((1, svg(SQUARE, SQUARE[:3])), (2, ""), (1, svg(SQUARE))))
    read = read_case(path)
    assert read.facts["number"] == "12"
    assert read.facts["age"] == "41"
    assert read.facts["tirads"] == "4a"
    assert read.facts["margins"] == "well defined smooth"
    assert read.facts["composition"] == read.facts["calcifications"] == ""
    assert {image: len(polygons) for image, polygons in read.outlines.items()} == {1: 3, 2: 0}
    np.testing.assert_array_equal(read.outlines[1][0], SQUARE)
    assert read.problems == []
    assert len(read_outlines(path, 1)) == 3
    with pytest.raises(RecordsError, match="has no outline of image 2"):
        read_outlines(path, 2)


def test_an_outline_cut_off_after_its_points_is_used(tmp_path: Path) -> None:
    """As 197.xml and 205.xml of the published set are."""
    for kept in ('"regionTy', '], "re'):
        text = svg(SQUARE, [(1, 2), (3, 4.5), (5, -6)])
        cut = text[: text.rindex(kept) + len(kept)]
        read = read_case(write(tmp_path, case((1, cut))))
        assert [polygon.tolist() for polygon in read.outlines[1]] == [
            [list(point) for point in SQUARE],
            [[1, 2], [3, 4.5], [5, -6]],
        ]
        assert read.problems == []
    inside_points = svg(SQUARE)[:60]
    read = read_case(write(tmp_path, case((1, inside_points))))
    assert read.outlines == {1: []}
    assert read.problems == ["the outline of image 1 is no JSON text"]


@pytest.mark.parametrize(
    ("image", "text", "problem"),
    [
        (1, "<path d='M0 0'/>", None),
        (1, "nonsense", "the outline of image 1 is no JSON text"),
        (1, '{"points": 3}', "has 0 usable points"),
        (1, "[3]", "has 0 usable points"),
        (1, "5", "has 0 usable points"),
        (1, svg([(1, 1), (2, 2)]), "has 2 usable points"),
        (1, svg([(1, 1), (1, 1), (2, 2)]), "has 2 usable points"),
        (1, svg([*SQUARE, (float("nan"), 1)]), "has 4 usable points"),
        (1, svg([*SQUARE, (10**400, 1)]), "has 4 usable points"),
        (1, svg([*SQUARE, (99_999, 1)]), "has 4 usable points"),
        (1, '[{"points": [{"x": "1", "y": 1}]}]', "has 0 usable points"),
        ("first", svg(SQUARE), "names image 'first', which is no number"),
        ("", svg(SQUARE), "names image '', which is no number"),
    ],
)
def test_what_is_no_outline_is_named(tmp_path: Path, image: object, text: str, problem: str | None) -> None:
    read = read_case(write(tmp_path, case((image, text))))
    assert not any(read.outlines.values())
    assert [problem is not None and problem in given for given in read.problems] == ([True] if problem else [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not XML"),
        ("<case><number>1</number>", "not XML"),
        ('<?xml version="1.0" encoding="klingon"?><case/>', "not XML"),
        ("<annotation><folder>x</folder></annotation>", "holds neither number, tirads nor mark"),
        ('<!DOCTYPE case [<!ENTITY x "12">]><case><number>&x;</number></case>', "declares a document type"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        read_case(write(tmp_path, content))


def test_missing_files_are_refused(tmp_path: Path) -> None:
    for read in (read_case, lambda path: read_outlines(path, 1)):
        with pytest.raises(RecordsError, match=r"none\.xml: cannot be read"):
            read(tmp_path / "none.xml")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, case((1, svg(SQUARE))))
    assert len(read_outlines(path, 1)) == 1
    path.write_text(case((1, svg(SQUARE, SQUARE))))
    os.utime(path, ns=(0, 0))
    assert len(read_outlines(path, 1)) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-50, 50) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["points", "x", "y"]), inner, max_size=3)
    ),
    max_leaves=25,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=80), JSON.map(lambda value: case((1, json.dumps(value)))).map(str.encode)))
def test_any_file_is_a_case_or_refused(tmp_path: Path, content: bytes) -> None:
    try:
        read = read_case(write(tmp_path, content))
    except RecordsError:
        return
    for polygons in read.outlines.values():
        for polygon in polygons:
            assert polygon.ndim == 2
            assert polygon.shape[0] >= 3
            assert np.isfinite(polygon).all()
        fill_polygons(polygons, (30, 40))


def blob(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A wavy outline, x and y, that may leave the image."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 40)))
    radius = rng.uniform(0.2, 0.6) * min(shape) * (1 + 0.2 * np.cos(3 * angle + rng.uniform(0, 6)))
    center = rng.uniform(0, 1, 2) * (shape[1], shape[0])
    return np.round(center + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def test_filling_agrees_with_scikit_image_up_to_the_edge() -> None:
    """They differ in which pixels of the edge itself they fill, and in nothing else."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        shape = (int(rng.integers(30, 90)), int(rng.integers(30, 90)))
        polygon = blob(rng, shape)
        ours = fill_polygons([polygon], shape)
        theirs = polygon2mask(shape, polygon[:, ::-1])
        edge = np.zeros(shape, np.uint8)
        cv2.polylines(edge, [polygon.astype(np.int32)], isClosed=True, color=1)
        near = cv2.dilate(edge, np.ones((3, 3), np.uint8)).astype(bool)
        assert (ours == theirs)[~near].all()


def test_x_runs_to_the_right_and_y_down() -> None:
    mask = fill_polygons([np.array(SQUARE, float)], (50, 60))
    assert mask.shape == (50, 60)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 30, 10, 40)


def test_overlapping_outlines_are_joined_and_cut_at_the_image() -> None:
    far = [(-30_000, -30_000), (30_000, -30_000), (30_000, 30_000), (-30_000, 30_000)]
    assert fill_polygons([np.array(far, float)], (20, 30)).all()
    pair = [np.array(SQUARE, float), np.array(SQUARE, float) + 5]
    joined = fill_polygons(pair, (50, 60))
    np.testing.assert_array_equal(joined, fill_polygons(pair[:1], (50, 60)) | fill_polygons(pair[1:], (50, 60)))
    assert not fill_polygons([], (5, 6)).any()
