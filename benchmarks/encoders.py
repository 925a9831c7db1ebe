"""Throughput and peak memory of each encoder beside torchvision's or timm's own network.

    python benchmarks/encoders.py [--architectures resnet50,...] [--batch 4] [--size 224] [--rounds 4]

Both take the same images in [0, 1], hold the same tensors and give the same pooled features, which is checked first;
the published network gets the subtraction and division before it that anyone has to do. Rounds alternate between the
two in one process with one thread, and processor time is counted, so that other programs on the machine do not matter;
the ratio is the median of the rounds' ratios. Memory is the growth of the resident set at its peak, beyond the network
itself, for each network in a process of its own (Linux).

A ratio of rates above 1 means that ours is faster, a ratio of memory below 1 that it needs less. The targets are a rate
of at least 0.95 and a memory of at most 1.05; the exit status is 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1] / "tests" / "oracles"))
from torchvision_oracle import published_network, without_head

from radimagenet_monai.encoders import Encoder
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.models import build_encoder

LEAST_RATE, MOST_MEMORY = 0.95, 1.05
PARTS = ("forward", "training step")


class OurFeatures(nn.Module):
    """Pooled features of an encoder."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder.pooled(image)


def our_network(architecture: str) -> OurFeatures:
    torch.manual_seed(0)
    return OurFeatures(build_encoder(architecture))


class TheirFeatures(nn.Module):
    """A published network, cut to its pooled features, behind a plain normalization to [-1, 1]."""

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.network = published_network(architecture)
        head = {"densenet121": "classifier", "inceptionresnetv2": "classif"}.get(architecture, "fc")
        setattr(self.network, head, nn.Identity())

    def forward(self, image: Tensor) -> Tensor:
        return self.network((image - 0.5) / 0.5)


def their_network(architecture: str) -> TheirFeatures:
    torch.manual_seed(0)
    return TheirFeatures(architecture)


def forward(network: nn.Module, image: Tensor) -> Callable[[], None]:
    """A function that runs the network in evaluation mode."""

    def run() -> None:
        network.eval()
        with torch.no_grad():
            network(image)

    return run


def training_step(network: nn.Module, image: Tensor) -> Callable[[], None]:
    """A function that takes one step of gradient descent."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)

    def run() -> None:
        network.train()
        optimizer.zero_grad()
        network(image).square().mean().backward()
        optimizer.step()

    return run


def seconds(run: Callable[[], None]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def compare_rates(architecture: str, batch: int, size: int, rounds: int) -> dict[str, tuple[float, float, float]]:
    """Images per second of ours, of theirs, and their ratio, for each part."""
    ours, theirs = our_network(architecture), their_network(architecture)
    ours.encoder.backbone.load_state_dict(without_head(architecture, theirs.network.state_dict()))
    image = torch.rand(batch, 3, size, size)
    with torch.no_grad():
        found, expected = ours.eval()(image), theirs.eval()(image)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    rates = {}
    for part, make in zip(PARTS, (forward, training_step), strict=True):
        runs = (make(ours, image), make(theirs, image))
        for run in runs:
            run()
        times = []
        for number in range(rounds):
            # Every second round the other one begins.
            first, second = (seconds(run) for run in (runs if number % 2 == 0 else runs[::-1]))
            times.append((first, second) if number % 2 == 0 else (second, first))
        ratio = statistics.median(their_time / our_time for our_time, their_time in times)
        our_time, their_time = (statistics.median(column) for column in zip(*times, strict=True))
        rates[part] = (batch / our_time, batch / their_time, ratio)
    return rates


def peak_growth(network: nn.Module, batch: int, size: int) -> dict[str, float]:
    """Growth of the resident set in MiB at its peak, beyond the network itself, in a process that has done no more."""
    # A step on small images first: code that is read from disk when it first runs is no part of either.
    training_step(network, torch.rand(2, 3, 96, 96))()
    network.zero_grad()
    image = torch.rand(batch, 3, size, size)
    before = reset_peak()
    growth = {}
    for part, make in zip(PARTS, (forward, training_step), strict=True):
        run = make(network, image)
        reset_peak()
        run()
        run()
        growth[part] = peak() - before
    return growth


def reset_peak() -> float:
    """Forget the peak of the resident set, such as that of the imports (Linux, proc(5)); the current one in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    """Peak of the resident set in MiB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def measure_memory(architecture: str, which: str, batch: int, size: int) -> dict[str, float]:
    """`peak_growth` in a new process."""
    command = [sys.executable, __file__, "--memory-of", which, "--architectures", architecture]
    command += ["--batch", str(batch), "--size", str(size)]
    # Large blocks go back to the system when they are freed, so that the resident set is what is in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", default=",".join(ARCHITECTURES), help="names, separated by commas")
    parser.add_argument("--batch", type=int, default=4, help="images at a time (default 4)")
    parser.add_argument("--size", type=int, default=224, help="rows and columns (default 224)")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each measurement (default 4)")
    parser.add_argument("--memory-of", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    architectures = arguments.architectures.split(",")
    if arguments.memory_of:
        network = (our_network if arguments.memory_of == "ours" else their_network)(architectures[0])
        print(json.dumps(peak_growth(network, arguments.batch, arguments.size)))
        return 0
    print(
        f"{platform.machine()}, torch {torch.__version__}, one thread, {arguments.batch} images of {arguments.size} px"
    )
    print(f"{'':19}{'':15}{'images/s':>20}{'':>8}{'MiB':>20}")
    print(f"{'':19}{'':15}{'ours':>10}{'theirs':>10}{'ratio':>8}{'ours':>10}{'theirs':>10}{'ratio':>8}")
    missed = False
    for architecture in architectures:
        rates = compare_rates(architecture, arguments.batch, arguments.size, arguments.rounds)
        ours, theirs = (
            measure_memory(architecture, which, arguments.batch, arguments.size) for which in ("ours", "theirs")
        )
        for part in PARTS:
            our_rate, their_rate, rate_ratio = rates[part]
            memory_ratio = ours[part] / theirs[part]
            missed |= rate_ratio < LEAST_RATE or memory_ratio > MOST_MEMORY
            print(
                f"{architecture:19}{part:15}{our_rate:10.2f}{their_rate:10.2f}{rate_ratio:8.3f}"
                f"{ours[part]:10.0f}{theirs[part]:10.0f}{memory_ratio:8.3f}",
                flush=True,
            )
    print(f"targets: rate at least {LEAST_RATE}, memory at most {MOST_MEMORY}: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
