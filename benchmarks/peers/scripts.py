"""Attention methods without a maintained package, written here as their papers' programs go about it.

Eager attention, every map of every layer kept, matrices of all tokens multiplied through. No code of others.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.attribution_cost import Detector

Map = Callable[[Tensor], Tensor]  # pixels (B, 3, H, W) → (B, patches)


def rollout(model: Detector) -> Map:
    """Abnar and Zuidema, arXiv 2005.00928, eq. 1: heads averaged, identity added, rows normalised."""

    @torch.no_grad()
    def run(pixels: Tensor) -> Tensor:
        result = None
        for attention in model.backbone(pixel_values=pixels, output_attentions=True).attentions:
            joined = attention.mean(1) + torch.eye(attention.shape[-1], device=pixels.device).to(attention)
            joined = joined / joined.sum(-1, keepdim=True)
            result = joined if result is None else joined @ result
        return result[:, 0, 1:]

    return run


def chefer_published(model: Detector) -> Map:
    """Chefer et al., arXiv 2103.15679, eq. 5 and 6, with one full backward pass into every parameter."""
    model.requires_grad_(True)

    def run(pixels: Tensor) -> Tensor:
        output = model.backbone(pixel_values=pixels, output_attentions=True)
        for attention in output.attentions:
            attention.retain_grad()
        model.zero_grad(set_to_none=True)
        model.head(output.pooler_output)[:, 1].sum().backward()
        result = _roll_up([(a.detach(), a.grad) for a in output.attentions])
        model.zero_grad(set_to_none=True)
        return result

    return run


def chefer_lean(model: Detector) -> Map:
    """The same with frozen weights and the gradient of the maps alone."""
    model.requires_grad_(False)

    def run(pixels: Tensor) -> Tensor:
        leaf = pixels.detach().requires_grad_()
        output = model.backbone(pixel_values=leaf, output_attentions=True)
        score = model.head(output.pooler_output)[:, 1].sum()
        gradients = torch.autograd.grad(score, output.attentions)
        return _roll_up([(a.detach(), g) for a, g in zip(output.attentions, gradients, strict=True)])

    return run


def _roll_up(layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    attention = layers[0][0]
    images, tokens = len(attention), attention.shape[-1]
    relevance = torch.eye(tokens, device=attention.device).to(attention).expand(images, -1, -1)
    for attention, gradient in layers:
        weighted = (gradient * attention).clamp_min(0).mean(1)
        relevance = relevance + weighted @ relevance
    return relevance[:, 0, 1:]
