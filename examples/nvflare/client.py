"""One site: trains a bundle on its own images and sends weights and validation metric; images stay where they are.

NVFlare starts this script at each site (`job.py`). It hands the weights of each round to MONAI's own client for
bundles, `monai.fl.client.MonaiAlgo`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nvflare.client as flare
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType


def main() -> None:
    """Train round after round until the server says that it is done."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--sites", required=True, help="folder with one folder a site: bundle, keys.json")
    arguments.add_argument("--local_epochs", type=int, default=1)
    given = arguments.parse_args()
    flare.init()
    name = flare.get_site_name()
    folder = Path(given.sites) / name
    keys = json.loads((folder / "keys.json").read_text(encoding="utf-8"))
    algo = MonaiAlgo(
        str(folder / "bundle"),
        local_epochs=given.local_epochs,
        send_weight_diff=False,
        train_kwargs=keys["train"],
        eval_kwargs=keys["evaluate"],
    )
    algo.initialize({ExtraItems.CLIENT_NAME: name})
    while flare.is_running():
        received = flare.receive()
        if received is None:
            break
        weights = {key: torch.as_tensor(value) for key, value in received.params.items()}
        metrics = algo.evaluate(ExchangeObject(weights=weights)).metrics
        algo.train(ExchangeObject(weights=weights))
        sent = algo.get_weights()
        steps = sent.statistics["num_executed_iterations"]
        flare.send(
            FLModel(
                params=dict(sent.weights),
                params_type=ParamsType.FULL,
                metrics={key: float(value) for key, value in metrics.items()},
                meta={"NUM_STEPS_CURRENT_ROUND": int(steps)},
            )
        )
    algo.finalize()


if __name__ == "__main__":
    main()
