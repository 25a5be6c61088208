"""FullGrad+ under LibraGrad's rules: what every layer was given, and every bias, times its gradient."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchMaps, Pixels
from xai.attr.batching import accurate
from xai.attr.layers import Layers, resolve_layers
from xai.attr.libra import ruled
from xai.attr.lrp_gradient import GradientRules
from xai.attr.lrp_rules import is_data
from xai.attr.recorded_attention import TokenMaps
from xai.attr.registry import register
from xai.attr.transformer_blocks import BlockAttribution, TransformerBlocks, tokens_among
from xai.core import ModelError
from xai.core.target import Target, score

Keep = Callable[[Tensor, Tensor, int], None]


@register
class FullGradPlus(BlockAttribution):
    """Tokens that enter the blocks times their gradient, and biases times theirs, under LibraGrad's rules.

    `R_j = Σ_l Σ_k x_ljk · ∂y/∂x_ljk + Σ_b Σ_k b_k · ∂y/∂b_jk` with x_l the tokens that enter block l, and
    b_j a bias where it is added to token j: of linear layers, of norms and of what else is constant, from
    the first block on. Gradients are those of `libra_rules`; without them a transformer's FullGrad says
    little, as the paper shows. With `layers=0` it is FullGrad: then the relevance of all tokens, class token
    and biases of the head included, sums to the score. A map holds what patches have of it.

    Args:
        forward_func: See `PatchAttribution`.
        layers: Blocks whose inputs are summed, as in `GradientWeightedAttention`; the `+` are those above
            the first.
        biases: Whether biases count.
    """

    info = MethodInfo(
        name="fullgrad_plus",
        family="gradient",
        class_sensitive=True,
        signed=True,
        forwards=1,
        backwards=1,
        reference="Mehri et al. 2025, LibraGrad, arXiv 2411.16760; FullGrad: arXiv 1905.00780",
        summary="What enters each layer and every bias, times a gradient that hands on all it gets.",
        needs="global_attention",
    )

    def __init__(self, forward_func: nn.Module, layers: Layers = "all_layers", biases: bool = True):
        super().__init__(forward_func)
        self.layers, self.biases = layers, biases

    def _check_needs(self, pixels: Pixels, args: tuple[Any, ...]) -> None:
        super()._check_needs(pixels, args)
        self._relevance(self._first(pixels, args).clone(), [0], args)  # only a pass tells what has no rule

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        return self._grid(pixels).to_patches(self._tokens(pixels, targets, args))

    def _tokens(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> TokenMaps:
        """Relevance of every token, (targets, B, tokens)."""
        probe, blocks = self._probe(pixels, args), self._find_blocks(pixels, args)
        chosen = resolve_layers(self.layers, len(blocks.modules))
        terms = _Terms(len(pixels), probe.grid.tokens)
        with (
            ruled(self.model, lambda: _BiasRules(terms.keep if self.biases else None, blocks.token_axis)),
            _entering(blocks, chosen, 0 if self.biases else chosen[0], terms) as leaves,
        ):
            logits = self.model(pixels, *args)
            found = []
            for left, target in zip(reversed(range(len(targets))), targets, strict=True):
                y = score(logits, target).sum()
                if not y.requires_grad:
                    raise ModelError("The logits are cut off from the blocks: no gradient can pass.")
                terms.total = accurate(pixels).new_zeros(len(pixels), probe.grid.tokens)
                torch.autograd.grad(y, leaves, retain_graph=left > 0)
                found.append(terms.total)
        return torch.stack(found)


class _Terms:
    """Adds up values times their gradients, token by token, while a backward pass goes by."""

    def __init__(self, images: int, tokens: int):
        self.images, self.tokens = images, tokens
        self.total: Float[Tensor, "b tokens"] = torch.empty(0)

    def keep(self, x: Tensor, value: Tensor, token_axis: int) -> None:
        """Count `value`, which is or was added to x, times the gradient that reaches x.

        What is of no token, as in a head, is left out.
        """
        if x[..., 0].numel() != self.images * self.tokens:
            return

        def add(gradient: Tensor) -> None:
            term = (accurate(value.detach()) * accurate(gradient)).sum(-1)
            by_image = (self.images, self.tokens) if token_axis == 1 else (self.tokens, self.images)
            term = term.reshape(by_image)
            self.total += term if token_axis == 1 else term.T

        x.register_hook(add)


class _BiasRules(GradientRules):
    """LibraGrad's rules, which hand on what is added to features."""

    def __init__(self, keep: Keep | None, token_axis: int):
        super().__init__(0.0, 0.0, 0.0, constant_attention=True)
        self.keep, self.token_axis = keep, token_axis

    def project(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        usual, self.token_axis = self.token_axis, 0  # nn.MultiheadAttention has the tokens first
        try:
            return super().project(x, weight, bias)
        finally:
            self.token_axis = usual

    def weighted(self, apply: Any, x: Tensor, weight: Tensor, bias: Tensor | None, func: Any) -> Tensor:
        if bias is not None and func is not F.linear and self.keep is not None:
            raise ModelError(
                "The model's blocks hold a convolution with a bias, which FullGrad+ cannot give to tokens.",
                "Use biases=False, or a method that needs no biases, such as input_x_gradient.",
            )
        return self._with(super().weighted(apply, x, weight, bias, func), bias)

    def norm(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        given = dict(zip(("input", "normalized_shape", "weight", "bias"), args, strict=False)) | kwargs
        return self._with(super().norm(func, args, kwargs), given.get("bias"))

    def shifted(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        added = func(*(torch.zeros_like(x) if is_data(x) else x for x in args), **kwargs)
        return self._with(super().shifted(func, args, kwargs), added)

    def _with(self, out: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None and self.keep is not None:
            self.keep(out, bias, self.token_axis)
        return out


@contextmanager
def _entering(
    blocks: TransformerBlocks, chosen: Sequence[int], first: int, terms: _Terms
) -> Iterator[list[Tensor]]:
    """Cut the graph where block `first` begins, and count the tokens that enter the chosen blocks.

    The list holds the leaf of the graph after a forward pass in the block.
    """
    leaves: list[Tensor] = []

    def hook(layer: int) -> Any:
        def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            old = tokens_among(args, kwargs, terms.tokens)
            if old is None:
                raise ModelError(f"Block {layer} was not given all {terms.tokens} tokens as (B, N, D).")
            new = old
            if layer == first:
                leaves.append(old.detach().requires_grad_())
                new = leaves[0].clone()  # a leaf cannot be written over
            if layer in chosen:
                terms.keep(new, new.clone(), blocks.token_axis)
            swapped = {k: new if v is old else v for k, v in kwargs.items()}
            return tuple(new if a is old else a for a in args), swapped

        return enter

    handles = [
        module.register_forward_pre_hook(hook(layer), with_kwargs=True)
        for layer, module in enumerate(blocks.modules)
        if layer in chosen or layer == first
    ]
    try:
        yield leaves
    finally:
        for handle in handles:
            handle.remove()
