"""The page of the pretraining recipe has every key of the bundles, with the default they have."""

from __future__ import annotations

import json

import pytest
from bundle_runs import BUNDLES, REPOSITORY

pytestmark = pytest.mark.slow

PAGE = REPOSITORY / "docs" / "reference" / "pretraining_recipe.md"
PRETRAINING = [bundle for bundle in BUNDLES if bundle.name.endswith("_pretraining")]


def keys_of(name: str) -> dict:
    """What stands before the imports of a training config."""
    config = json.loads((REPOSITORY / "bundles" / name / "configs" / "train.json").read_text())
    return dict(list(config.items())[: list(config).index("imports")])


def documented() -> dict[str, str]:
    defaults = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] and cells[0] != "key":
            names, values = cells[0].split(", "), cells[1].split(", ")
            defaults |= dict(zip(names, values, strict=len(names) == len(values)))
    return defaults


@pytest.mark.parametrize("bundle", PRETRAINING, ids=lambda bundle: bundle.name)
def test_every_key_of_the_recipe_is_explained_with_its_default(bundle):
    keys, page = keys_of(bundle.name), documented()
    # The order of samples has a page of its own.
    own = keys.keys() - keys_of("breast_mass_us_classification").keys() - {"shuffle_window"}
    for key in own | {"amp", "learning_rate", "batch_size", "max_epochs", "image_size", "tensorboard"}:
        default = "empty" if keys[key] == "" else str(keys[key]).lower()
        # "256; 128 for InceptionResNetV2"
        assert default in [choice.split()[0] for choice in page[key].lower().split("; ")], key
