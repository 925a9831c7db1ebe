"""Training in 1, 2 and 4 processes beside perfect scaling: as many times the images a second of one process.

    python benchmarks/scaling.py [--architecture resnet50] [--size 224] [--batch 8] [--iterations 8] [--workers 1]

The trainer is that of the pretraining bundle's train.json and multi_gpu_train.json under torchrun, on a packed store
of phantoms, with its loader, augmentation, precision and step, and gradients exchanged at each step; validation,
checkpoints and logs are left out. Each process has batches of the same size (weak scaling). With GPUs each process has
one, over NCCL, and numbers beyond those there are are left out; use batches of 256 and more iterations. On the CPU each
process has one thread, over gloo, and more processes than cores share them: perfect is then the rate of one process
times the cores.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import monai
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser

from radimagenet_monai.collection.render import write_bundles
from radimagenet_monai.engine.distributed import is_first_process, process_count, stop_process_group
from radimagenet_monai.phantoms import write_phantom

_NOT_COUNTED = 3
_PROCESSES = (1, 2, 4)


def build_trainer(folder: Path, arguments: argparse.Namespace) -> Any:
    """The trainer of the bundle, without handlers."""
    parser = ConfigParser()
    configs = folder / f"radimagenet_{arguments.architecture}_pretraining" / "configs"
    parser.read_config([str(configs / "train.json"), str(configs / "multi_gpu_train.json")])
    parser["bundle_root"] = str(configs.parent)
    parser["dataset_dir"] = str(folder / "phantoms")
    parser["store_dir"] = str(folder / "store")
    parser["image_size"] = arguments.size
    parser["batch_size"] = arguments.batch
    parser["num_workers"] = arguments.workers
    parser["max_epochs"] = 1
    parser["train"]["trainer"]["train_handlers"] = []
    parser.get_parsed_content("initialize")
    return parser.get_parsed_content("train::trainer")


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """One process of a run; the first writes images a second of all together."""
    trainer = build_trainer(folder, arguments)
    # The loader starts over where it has fewer batches.
    trainer.state.epoch_length = _NOT_COUNTED + arguments.iterations
    times = []

    def note(engine: Any) -> None:
        if engine.state.iteration in (_NOT_COUNTED, trainer.state.epoch_length):
            if engine.state.device.type == "cuda":
                torch.cuda.synchronize(engine.state.device)
            torch.distributed.barrier()
            times.append(time.perf_counter())

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    if is_first_process():
        images = arguments.iterations * arguments.batch * process_count()
        (folder / "rate.json").write_text(json.dumps(images / (times[1] - times[0])))
    stop_process_group()


def rate(folder: Path, processes: int) -> float:
    """Images a second of a run of so many processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*launcher, __file__, *sys.argv[1:], "--folder", str(folder)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{processes} processes failed:\n{done.stderr[-9000:]}")
    return float(json.loads((folder / "rate.json").read_text()))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8, help="images of a process")
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1, help="of a process")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    if arguments.folder:
        measure(arguments.folder, arguments)
        return

    gpus, cores = torch.cuda.device_count(), len(os.sched_getaffinity(0))
    print(f"{platform.platform()}, {cores} cores, {gpus} GPUs, torch {torch.__version__}, MONAI {monai.__version__}")
    print(f"{arguments.architecture}, {arguments.size} px, {arguments.batch} images a process and step\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = max(_PROCESSES) * max(4 * arguments.batch, 64)
        write_phantom("radimagenet", folder / "phantoms", patients=images, size=arguments.size, progress=False)
        write_bundles(folder, [f"radimagenet_{arguments.architecture}_pretraining"])
        one = rate(folder, 1)
        print("| processes | images/s | of perfect scaling | |\n|---|---|---|---|")
        for processes in _PROCESSES:
            if gpus and processes > gpus:
                print(f"| {processes} | | | {gpus} GPUs only |")
                continue
            found = one if processes == 1 else rate(folder, processes)
            shared = not gpus and processes > cores
            perfect = one * (cores if shared else processes)
            note = f"{processes} processes share {cores} cores" if shared else ""
            print(f"| {processes} | {found:.1f} | {found / perfect:.2f} | {note} |", flush=True)


if __name__ == "__main__":
    main()
