"""Federated training of a bundle in NVFlare's simulator: several sites, several rounds, one global model.

    python examples/nvflare/job.py --bundle bundles/breast_mass_us_classification --sites sites --out global --rounds 2

``--sites`` holds a folder for each site, with ``bundle``, its own copy of the bundle, and ``keys.json``: the keys of
its training (``train``) and of its evaluation (``evaluate``), as on the command line of ``monai.bundle run``. The
global model is written into ``OUT/NAME``, a copy of ``--bundle`` that can be evaluated as any other.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe import SimEnv

from radimagenet_monai.engine.trained.global_model import save_global_model

HERE = Path(__file__).parent
NETWORK = "radimagenet_monai.models.build_classifier"


def main() -> None:
    """Run the simulation and write the global model into a bundle."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bundle", required=True, type=Path)
    arguments.add_argument("--sites", required=True, type=Path)
    arguments.add_argument("--out", required=True, type=Path)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--metric", default="val_auc", help="of the validation data, for the best global model")
    given = arguments.parse_args()
    sites = sorted(path.name for path in given.sites.iterdir() if (path / "keys.json").is_file())
    keys = json.loads((given.sites / sites[0] / "keys.json").read_text(encoding="utf-8"))["train"]
    classes = len(keys.get("classes") or json.loads((given.bundle / "configs" / "train.json").read_text())["classes"])
    recipe = FedAvgRecipe(
        name="radimagenet",
        model={"class_path": NETWORK, "args": {"architecture": keys["architecture"], "num_classes": classes}},
        min_clients=len(sites),
        num_rounds=given.rounds,
        train_script=str(HERE / "client.py"),
        train_args=f"--sites {given.sites.absolute()}",
        launch_external_process=True,
        command=f"{sys.executable} -u",
        key_metric=given.metric,
    )
    workspace = given.out.absolute() / "nvflare"
    allow_networks(workspace / "radimagenet")
    run = recipe.execute(SimEnv(clients=sites, workspace_root=str(workspace)))
    saved = next(Path(run.get_result()).rglob("FL_global_model.pt"))
    weights = torch.load(saved, map_location="cpu", weights_only=True)["model"]
    target = Path(shutil.copytree(given.bundle, given.out / given.bundle.name, dirs_exist_ok=True))
    facts = {"sites": len(sites), "rounds": given.rounds}
    print(save_global_model(target, weights, given.sites / sites[0] / "bundle", facts))


def allow_networks(workspace: Path) -> None:
    """NVFlare builds only classes that a site allows by name; its own are allowed by default."""
    from nvflare.app_common.default_component_policy import DEFAULT_CLASS_ALLOW_LIST

    local = workspace / "local"
    local.mkdir(parents=True, exist_ok=True)
    allowed = [*DEFAULT_CLASS_ALLOW_LIST, NETWORK]
    (local / "resources.json.default").write_text(json.dumps({"format_version": 2, "class_allow_list": allowed}))


if __name__ == "__main__":
    main()
