"""The layers of the four Keras applications, each with the module it becomes in our encoder.

A Keras file numbers or names its layers; nothing in it says what a layer is for. Only the order in which Keras builds
or sorts them does, so the file of each encoder defines its network once as a graph of layers in the order of
construction. Both numberings that Keras has used follow from the graph:

- layer *names* without a name of their own (``conv2d_17``) count in the order of construction, from an offset that
  depends on what the session had built before;
- *positions* in a ``.weights.h5`` (``layers/conv2d_17``) count in the order of ``model.layers``: by depth, and in one
  depth in the order of a depth-first walk from the output.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from radimagenet_monai.encoders.architectures import get_architecture
from radimagenet_monai.encoders.keras_graph import KerasGraph, KerasLayer


@cache
def keras_layers(architecture: str) -> tuple[KerasLayer, ...]:
    """All layers of the Keras application without head, in the order of construction; none if there is no such one."""
    module = import_module(get_architecture(architecture).module)
    if not hasattr(module, "keras_layers"):
        return ()
    graph = KerasGraph()
    module.keras_layers(graph)
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
