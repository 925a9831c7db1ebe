"""Records of parts of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from monai.bundle import ConfigParser

from radimagenet_monai.core.plain_config import LEFT_OUT, RESOLVED, NotPlainError, rebuilt, recorded

CONFIG: dict[str, Any] = {
    "size": 8,
    "step": {"_target_": "Flipd", "keys": "@name", "_desc_": "no argument"},
    "name": "image",
    "part": {"_target_": "Compose", "transforms": ["@step", {"_target_": "Resized", "spatial_size": "$[@size] * 2"}]},
    "odd": ["$(1, 2)", "@name", 3],
}


def test_a_record_holds_values_in_place_of_references() -> None:
    record = recorded(ConfigParser(CONFIG), "part", lambda text: RESOLVED, lambda text, value: text)
    resize = {"_target_": "Resized", "spatial_size": [8, 8]}
    assert record == {"_target_": "Compose", "transforms": [{"_target_": "Flipd", "keys": "image"}, resize]}


def test_what_is_not_plain_and_what_is_left_out() -> None:
    instead = {"@name": LEFT_OUT}
    record = recorded(ConfigParser(CONFIG), "odd", lambda text: instead.get(text, RESOLVED), lambda text, value: text)
    assert record == ["$(1, 2)", 3]


def test_nothing_is_built_of_a_record_that_is_refused_in_part() -> None:
    built: list[str] = []

    def locate(config: Mapping[str, Any], place: str) -> Any:
        if config["_target_"] != "good":
            raise NotPlainError(f"{place} is bad")
        return built.append

    def build(target: Any, config: Mapping[str, Any], arguments: dict[str, Any], place: str) -> Any:
        target(place)
        return arguments["x"]

    good = {"_target_": "good", "x": "@given"}
    assert rebuilt([good, 1], "part", locate, build, {"@given": 5}) == [5, 1]
    assert built == ["part::0"]
    for bad in ({"_target_": "bad"}, {"x": ["$1"]}, "@other", {"_debug_": True}, {**good, "y": {"_requires_": "$1"}}):
        with pytest.raises(NotPlainError, match="part::1"):
            rebuilt([good, bad], "part", locate, build, {"@given": 5})
    assert built == ["part::0"]
