"""``radimagenet demo`` and ``miniature``: whole studies on phantoms."""

from __future__ import annotations

from radimagenet_monai.core.flags import Count, Whole


def demo(
    out: str = "demo_output", images: Count = 480, epochs: Count = 14, image_size: Count = 96, seed: Whole = 0
) -> None:
    """Run the whole workflow on phantoms: images, records, training, evaluation, inference, report.

    Args:
        out: folder that receives everything; removed first if it is an earlier demo.
        images: number of phantom images.
        epochs: number of training epochs.
        image_size: rows and columns of the network's input in pixels.
        seed: random seed of phantoms and training.
    """
    from radimagenet_monai.commands.on_phantoms.demo import run_demo

    print(run_demo(str(out), images=images, epochs=epochs, image_size=image_size, seed=seed))


def miniature(out: str = "miniature_output", seed: Whole = 0) -> None:
    """Run the paper's experiment in miniature, on phantoms: pack, pretrain on 165 classes, compare with random weights.

    Takes about half an hour on two cores. The same command resumes a stopped run.

    Args:
        out: folder that receives everything; the figures are in miniature.md, the report in comparisons/report.html.
        seed: random seed of phantoms, splits, training and comparisons.
    """
    from radimagenet_monai.commands.on_phantoms.miniature import Recipe, run_miniature

    print(run_miniature(str(out), Recipe(seed=seed)))


COMMANDS = {"demo": demo, "miniature": miniature}
