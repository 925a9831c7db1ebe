"""The layers of the four Keras applications, each with the module it becomes in our encoder.

A Keras file numbers or names its layers; nothing in it says what a layer is for. Only the order in which Keras builds
or sorts them does, so each network is defined here once as a graph of layers in the order of construction. Both
numberings that Keras has used follow from the graph:

- layer *names* without a name of their own (``conv2d_17``) count in the order of construction, from an offset that
  depends on what the session had built before;
- *positions* in a ``.weights.h5`` (``layers/conv2d_17``) count in the order of ``model.layers``: by depth, and in one
  depth in the order of a depth-first walk from the output.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Literal

LayerKind = Literal["conv", "bn", "other"]

_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


@dataclass(frozen=True)
class KerasLayer:
    """One layer of a Keras application.

    Attributes
    ----------
    kind
        ``"conv"``, ``"bn"``, or ``"other"`` for a layer without weights.
    module
        Name of the module in our backbone that holds its weights.
    name
        Its name in Keras, or None if Keras numbers it.
    weights
        Its weights, in the order in which Keras saves them.
    inputs
        Indices of its input layers.
    folds_into
        For a convolution with a bias that our backbone does not have: the batch norm behind it.
    """

    kind: LayerKind
    module: str = ""
    name: str | None = None
    weights: tuple[str, ...] = ()
    inputs: tuple[int, ...] = ()
    folds_into: str | None = None


@cache
def keras_layers(architecture: str) -> tuple[KerasLayer, ...]:
    """All layers of the Keras application without head, in the order of construction."""
    graph = _Graph()
    _BUILDERS[architecture](graph)
    return tuple(graph.layers)


@cache
def saved_order(architecture: str) -> tuple[KerasLayer, ...]:
    """The layers in the order of ``model.layers``."""
    layers = keras_layers(architecture)
    depth = [0] * len(layers)
    for index in range(len(layers) - 1, -1, -1):
        for source in layers[index].inputs:
            depth[source] = max(depth[source], depth[index] + 1)
    visited: dict[int, int] = {}
    stack = [len(layers) - 1]
    while stack:
        index = stack.pop()
        if index not in visited:
            visited[index] = len(visited)
            stack.extend(reversed(layers[index].inputs))
    return tuple(layers[index] for index in sorted(visited, key=lambda index: (-depth[index], visited[index])))


@dataclass
class _Graph:
    layers: list[KerasLayer] = field(default_factory=lambda: [KerasLayer("other")])

    def add(self, layer: KerasLayer) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1

    def other(self, *inputs: int) -> int:
        """A layer without weights: padding, pooling, activation, sum or concatenation."""
        return self.add(KerasLayer("other", inputs=inputs))

    def conv(
        self, x: int, module: str, name: str | None = None, bias: bool = False, folds_into: str | None = None
    ) -> int:
        weights = ("kernel", "bias") if bias else ("kernel",)
        return self.add(KerasLayer("conv", module, name, weights, (x,), folds_into))

    def norm(self, x: int, module: str, name: str | None = None, gamma: bool = True) -> int:
        return self.add(KerasLayer("bn", module, name, _NORM if gamma else _NORM[1:], (x,)))

    def conv_norm_relu(self, x: int, *modules: str, name: str | None = None) -> int:
        """Convolution, batch norm without gamma and ReLU, for each of ``modules`` in turn: the Inception nets' unit."""
        for module in modules:
            x = self.conv(x, f"{module}.conv", name)
            x = self.other(self.norm(x, f"{module}.bn", name and f"{name}_bn", gamma=False))
        return x


def _resnet50(graph: _Graph) -> None:
    def conv_norm(x: int, name: str, conv: str, norm: str) -> int:
        return graph.norm(graph.conv(x, conv, f"{name}_conv", bias=True, folds_into=norm), norm, f"{name}_bn")

    x = graph.other(conv_norm(graph.other(0), "conv1", "conv1", "bn1"))
    x = graph.other(graph.other(x))
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            name, module = f"conv{stage + 1}_block{block + 1}", f"layer{stage}.{block}"
            shortcut = x
            if block == 0:
                shortcut = conv_norm(x, f"{name}_0", f"{module}.downsample.0", f"{module}.downsample.1")
            for i in (1, 2, 3):
                x = conv_norm(x, f"{name}_{i}", f"{module}.conv{i}", f"{module}.bn{i}")
                if i < 3:
                    x = graph.other(x)
            x = graph.other(graph.other(shortcut, x))


def _densenet121(graph: _Graph) -> None:
    x = graph.conv(graph.other(0), "features.conv0", "conv1_conv")
    x = graph.other(graph.norm(x, "features.norm0", "conv1_bn"))
    x = graph.other(graph.other(x))
    for stage, blocks in enumerate((6, 12, 24, 16), start=1):
        for block in range(1, blocks + 1):
            name, module = f"conv{stage + 1}_block{block}", f"features.denseblock{stage}.denselayer{block}"
            new = graph.other(graph.norm(x, f"{module}.norm1", f"{name}_0_bn"))
            new = graph.conv(new, f"{module}.conv1", f"{name}_1_conv")
            new = graph.other(graph.norm(new, f"{module}.norm2", f"{name}_1_bn"))
            new = graph.conv(new, f"{module}.conv2", f"{name}_2_conv")
            x = graph.other(x, new)
        if stage < 4:
            module = f"features.transition{stage}"
            x = graph.other(graph.norm(x, f"{module}.norm", f"pool{stage + 1}_bn"))
            x = graph.other(graph.conv(x, f"{module}.conv", f"pool{stage + 1}_conv"))
    graph.other(graph.norm(x, "features.norm5", "bn"))


def _inceptionv3(graph: _Graph) -> None:
    unit = graph.conv_norm_relu
    x = unit(0, "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3")
    x = unit(graph.other(x), "Conv2d_3b_1x1", "Conv2d_4a_3x3")
    x = graph.other(x)

    def branch(x: int, module: str, name: str, count: int) -> int:
        return unit(x, *(f"{module}.{name}_{i}" for i in range(1, count + 1)))

    for module in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        single = unit(x, f"{module}.branch1x1")
        five = branch(x, module, "branch5x5", 2)
        three = branch(x, module, "branch3x3dbl", 3)
        x = graph.other(single, five, three, unit(graph.other(x), f"{module}.branch_pool"))
    single = unit(x, "Mixed_6a.branch3x3")
    three = branch(x, "Mixed_6a", "branch3x3dbl", 3)
    x = graph.other(single, three, graph.other(x))
    for module in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        single = unit(x, f"{module}.branch1x1")
        seven = branch(x, module, "branch7x7", 3)
        double = branch(x, module, "branch7x7dbl", 5)
        x = graph.other(single, seven, double, unit(graph.other(x), f"{module}.branch_pool"))
    three = branch(x, "Mixed_7a", "branch3x3", 2)
    seven = branch(x, "Mixed_7a", "branch7x7x3", 4)
    x = graph.other(three, seven, graph.other(x))
    for module in ("Mixed_7b", "Mixed_7c"):
        single = unit(x, f"{module}.branch1x1")
        ends = []
        for name, count in (("branch3x3", 1), ("branch3x3dbl", 2)):
            stem = branch(x, module, name, count)
            wide = unit(stem, f"{module}.{name}_{count + 1}a")
            ends.append(graph.other(wide, unit(stem, f"{module}.{name}_{count + 1}b")))
        x = graph.other(single, *ends, unit(graph.other(x), f"{module}.branch_pool"))


def _inceptionresnetv2(graph: _Graph) -> None:
    unit = graph.conv_norm_relu

    def branches(x: int, module: str, *counts: int) -> list[int]:
        """Branches of one or more units each; one of a single unit is no sequence in timm."""
        return [
            unit(x, *([f"{module}.branch{i}"] if n == 1 else [f"{module}.branch{i}.{j}" for j in range(n)]))
            for i, n in enumerate(counts)
        ]

    def residual(x: int, module: str, name: str, *counts: int, relu: bool = True) -> int:
        mixed = graph.other(*branches(x, module, *counts))
        x = graph.other(x, graph.conv(mixed, f"{module}.conv2d", f"{name}_conv", bias=True))
        return graph.other(x) if relu else x

    x = graph.other(unit(0, "conv2d_1a", "conv2d_2a", "conv2d_2b"))
    x = graph.other(unit(x, "conv2d_3b", "conv2d_4a"))
    mixed = branches(x, "mixed_5b", 1, 2, 3)
    x = graph.other(*mixed, unit(graph.other(x), "mixed_5b.branch3.1"))
    for i in range(10):
        x = residual(x, f"repeat.{i}", f"block35_{i + 1}", 1, 2, 3)
    mixed = branches(x, "mixed_6a", 1, 3)
    x = graph.other(*mixed, graph.other(x))
    for i in range(20):
        x = residual(x, f"repeat_1.{i}", f"block17_{i + 1}", 1, 3)
    mixed = branches(x, "mixed_7a", 2, 2, 3)
    x = graph.other(*mixed, graph.other(x))
    for i in range(9):
        x = residual(x, f"repeat_2.{i}", f"block8_{i + 1}", 1, 3)
    x = residual(x, "block8", "block8_10", 1, 3, relu=False)
    unit(x, "conv2d_7b", name="conv_7b")


_BUILDERS = {
    "resnet50": _resnet50,
    "densenet121": _densenet121,
    "inceptionv3": _inceptionv3,
    "inceptionresnetv2": _inceptionresnetv2,
}
