"""Where in the network a map comes from: one map per preset, layer and head, from one recorded pass."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from xai import report
from xai.attr import LAYER_PRESETS, GradientWeightedAttention, resolve_layers
from xai.attr.layers import HEAD_FUSIONS, LAYER_FUSIONS
from xai.core import Explanation, UsageError
from xai.explanation.explainer import Explainer


def require_panels(explainer: Explainer) -> None:
    """Raise a UsageError unless the method has maps per layer and head."""
    if explainer.method_name != GradientWeightedAttention.info.name:
        raise UsageError(
            f"Panels of layers and heads show gradient_weighted_attention, not {explainer.method_name}.",
            "Use --method gradient_weighted_attention, or leave out the panels.",
        )


def draw_panels(
    explainer: Explainer, explanation: Explanation, *, layers: bool = False, heads: bool = False
) -> dict[str, Figure]:
    """Draw the panels that are asked for, of the predicted class if it was explained, else of the first map.

    Returns:
        `layer_comparison` and `head_comparison`, as far as they were asked for.

    Raises:
        OutOfMemoryError: All layers of one image do not fit into memory.
    """
    if not (layers or heads):
        return {}
    names = list(explanation.maps)
    name = explanation.predicted if explanation.predicted in names else names[0]
    products = layer_products(explainer, explanation, name)
    figures = {}
    if layers:
        maps = layer_maps(products, explainer.options)
        by_layer = {title: replace(explanation, maps={name: values}) for title, values in maps.items()}
        figures["layer_comparison"] = report.draw_layers(by_layer, name)
    if heads:
        titles = [f"layer {index}" for index in range(len(products))]
        figures["head_comparison"] = report.draw_heads(explanation, products.numpy(), titles, name)
    return figures


def layer_products(explainer: Explainer, explanation: Explanation, name: str) -> Tensor:
    """What layers and heads hold before any fusion, of one image and target, signed, on the CPU.

    Returns:
        (layers, heads, rows, cols): attention × gradient, or shares of an integrated mask gradient.
    """
    if name in explanation.layers:
        return torch.from_numpy(explanation.layers[name])
    target = explainer.targets.target_of(name)
    pixels = explainer.prepare(explanation.sample).pixels[None].to(explainer.classifier.device)
    with explainer.memory_errors():
        return explainer.layered.attribute_layers(pixels, target)[0].float().cpu()


def layer_maps(products: Tensor, options: Mapping[str, Any]) -> dict[str, Any]:
    """One (rows, cols) array per preset that the model is deep enough for, then one per layer."""
    depth = len(products)
    chosen = presets_of(depth) | {f"layer {index}": [index] for index in range(depth)}
    return {title: fuse(products[indices], options).numpy() for title, indices in chosen.items()}


def presets_of(depth: int) -> dict[str, list[int]]:
    """The layers of each preset that a model of `depth` attention layers is deep enough for."""
    return {
        preset: resolve_layers(preset, depth)
        for preset, indices in LAYER_PRESETS.items()
        if indices is None or -min(indices) <= depth
    }


def fuse(products: Tensor, options: Mapping[str, Any]) -> Tensor:
    """Fuse (layers, heads, rows, cols) over heads, then layers, clamped as the method's options say."""
    products = products.clamp_min(0) if options["clamp"] == "heads" else products
    by_layer = HEAD_FUSIONS[options["head_fusion"]](products, 1)
    fused = LAYER_FUSIONS[options["layer_fusion"]](by_layer, 0)
    return fused.clamp_min(0) if options["clamp"] == "fused" else fused
