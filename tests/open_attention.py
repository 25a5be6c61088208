"""Attention written out, every part of it in the graph: for oracles on small models."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from vit_zoo import build, pixels

from xai.attention import Probe, find_layout, probe
from xai.attention.intercept import AttentionInterceptor

# the norms that the residual stream enters before attention, and before an attention pooling head
FIRST_NORMS = (".layer_norm1", ".layernorm_before", ".norm1", ".post_layernorm")


@dataclass
class OpenLayer:
    query: Tensor
    key: Tensor
    value: Tensor
    scores: Tensor
    attention: Tensor
    output: Tensor


class OpenAttention(AttentionInterceptor):
    """Collects one `OpenLayer` per image attention call, in double precision if the model is."""

    def __init__(self, tokens: int, factors: dict[int, float] | None = None):
        super().__init__()
        self.tokens, self.factors, self.layers = tokens, factors or {}, []

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
        scale = options.get("scale") or query.shape[-1] ** -0.5
        scores = torch.einsum("bhid,bhjd->bhij", query, key) * scale
        if options.get("attn_mask") is not None:
            scores = scores + options["attn_mask"]
        attention = torch.exp(scores - scores.amax(-1, keepdim=True))
        attention = attention / attention.sum(-1, keepdim=True)
        if key.shape[-2] == self.tokens:
            attention = attention * self.factors.get(len(self.layers), 1.0)
        output = torch.einsum("bhij,bhje->bhie", attention, value)
        if key.shape[-2] == self.tokens:
            self.layers.append(OpenLayer(query, key, value, scores, attention, output))
        return output


@dataclass
class Opened:
    model: nn.Module
    x: Tensor
    seen: Probe
    layers: list[OpenLayer]
    logits: Tensor
    streams: list[Tensor]

    def rows(self, layer: int) -> list[int]:
        """The rows read in a layer."""
        if self.seen.pooling and layer == len(self.layers) - 1:
            return [0]
        return list(self.seen.rows)

    def projection(self, layer: int) -> Tensor:
        """The weight after attention, by the names that these models give it."""
        named = [n for n, _ in self.model.named_modules() if n.endswith((".out_proj", ".o_proj"))]
        in_blocks = [n for n in named if ".layer" in n]
        name = in_blocks[layer] if layer < len(in_blocks) else next(n for n in named if ".head." in n)
        return self.model.get_submodule(name).weight

    def gradients(self, y: Tensor, part: str = "attention") -> list[Tensor]:
        """Of y with respect to a part of every layer."""
        parts = [getattr(layer, part) for layer in self.layers]
        return list(torch.autograd.grad(y.sum(), parts, retain_graph=True, materialize_grads=True))


def opened(name: str, x: Tensor | None = None, factors: dict[int, float] | None = None) -> Opened:
    """A model of the zoo in double precision after one forward pass with attention in the open."""
    model = build(name).double()
    x = pixels().double() if x is None else x
    grid = find_layout(model).grid(*x.shape[-2:])
    seen = probe(model, x, (), grid)
    streams: list[Tensor] = []
    entries = [m for n, m in model.named_modules() if n.endswith(FIRST_NORMS)]
    hooks = [m.register_forward_pre_hook(lambda _, args: streams.append(args[0])) for m in entries]
    with OpenAttention(grid.tokens, factors) as attention:
        logits = model(x)
    for hook in hooks:
        hook.remove()
    return Opened(model, x, seen, attention.layers[: seen.layers], logits, streams[: seen.layers])


def relative(got: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest entry."""
    return float((got - expected).abs().max() / expected.abs().max())
