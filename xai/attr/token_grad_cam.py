"""Grad-CAM on the tokens that enter an attention layer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai.attention import Recording, record_attention
from xai.attr.base import MethodInfo, PatchAttribution, PatchMaps, Pixels
from xai.attr.batching import accurate, arguments_of
from xai.attr.cam_formulas import mean_gradient
from xai.attr.layers import Layers, resolve_layers
from xai.attr.registry import register
from xai.attr.transformer_blocks import tokens_among
from xai.core import ModelError, PatchGrid, UsageError
from xai.core.target import Target, score


@register
class TokenGradCAM(PatchAttribution):
    """Grad-CAM with tokens for pixels: `ReLU(Σ_k w_k · T_jk)`, `w_k = mean_j ∂y/∂T_jk` over the patches j.

    T (patches × channels) are the tokens that enter an attention layer. In a pre-norm transformer they are
    the output of the norm before that layer's attention, the usual choice for Grad-CAM on vision
    transformers: what leaves the last layer has no gradient at the patches when the class token is read.
    T is found by following one forward pass: it enters the innermost module that makes the attention call.

    Args:
        forward_func: See `PatchAttribution`.
        layer: Index of an attention layer, negative from the end, or `last_layer`; an attention pooling head
            counts as the last.
        relu: Drop negative relevance, as in the paper.
        rules: As in `Saliency`.
    """

    info = MethodInfo(
        name="token_grad_cam",
        family="gradient",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Selvaraju et al. 2017, arXiv 1610.02391, eq. 1-2",
        summary="Channels of the tokens entering the last attention, weighted by their mean gradient.",
        needs="global_attention",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        layer: Layers = -1,
        relu: bool = True,
        rules: str | None = None,
    ):
        super().__init__(forward_func)
        self._follow(rules)
        self.layer = layer
        self.relu = relu
        self._entries: dict[tuple[int, ...], TokenEntry] = {}

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        probe = self._probe(pixels, args)
        grid, size, layers = probe.grid, tuple(pixels.shape[1:]), resolve_layers(self.layer, probe.layers)
        if len(layers) > 1:
            raise UsageError(f"layer={self.layer!r} means the layers {layers}; one is looked at.")
        if size not in self._entries:
            self._entries[size] = find_entry(self.model, grid, layers[0], pixels, args)
        entry = self._entries[size]
        with (
            self._recording(probe, len(pixels), layers) as recording,
            entry.as_leaf(recording, grid.tokens) as leaves,
            self._by_rules(),
        ):
            logits = self.model(pixels, *args)
        tokens, maps = leaves[0], []
        for left, target in zip(reversed(range(len(targets))), targets, strict=True):
            y = score(logits, target).sum()
            if not y.requires_grad:
                raise ModelError("The logits are cut off from the attention layers: no gradient can pass.")
            (gradient,) = torch.autograd.grad(y, tokens, retain_graph=left > 0, materialize_grads=True)
            maps.append(self._combine(entry.patches(tokens, grid), entry.patches(gradient, grid)))
        relevance = torch.stack(maps).unflatten(-1, (grid.rows, grid.cols))
        return relevance.clamp_min(0) if self.relu else relevance

    def _combine(
        self, tokens: Float[Tensor, "b patches d"], gradient: Float[Tensor, "b patches d"]
    ) -> Float[Tensor, "b patches"]:
        """Relevance of the patches, before the ReLU."""
        return mean_gradient(tokens, gradient)


@dataclass(frozen=True)
class TokenEntry:
    """Where the tokens of one attention layer enter.

    Args:
        module: The innermost module that gets all tokens and makes the layer's attention call.
        calls_before: Image attention calls made before it is entered (a shared module runs more than once).
        batch_first: Whether the tokens are (B, N, D) rather than (N, B, D).
    """

    module: nn.Module
    calls_before: int
    batch_first: bool

    @contextmanager
    def as_leaf(self, recording: Recording, tokens: int) -> Iterator[list[Tensor]]:
        """Cut the graph where the tokens enter; the list holds them after a forward pass in the block."""
        leaves: list[Tensor] = []

        def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            old = tokens_among(args, kwargs, tokens)
            if recording.layers != self.calls_before or leaves or old is None:
                return None
            torch.set_grad_enabled(True)  # also inside a model that runs its backbone under no_grad
            new = old.detach().requires_grad_()
            leaves.append(new)
            swapped = {k: new if v is old else v for k, v in kwargs.items()}
            return tuple(new if a is old else a for a in args), swapped

        handle = self.module.register_forward_pre_hook(enter, with_kwargs=True)
        try:
            yield leaves
        finally:
            handle.remove()

    def patches(self, x: Tensor, grid: PatchGrid) -> Float[Tensor, "b patches d"]:
        """The patch tokens, at least in float32."""
        x = x.detach() if self.batch_first else x.detach().transpose(0, 1)
        return accurate(x[:, grid.prefix : grid.tokens])


def find_entry(
    model: nn.Module, grid: PatchGrid, layer: int, pixels: Pixels, args: tuple[Any, ...]
) -> TokenEntry:
    """Follow one image through the modules: which of them makes the layer's attention call?"""
    entered: list[int] = []
    found: list[TokenEntry] = []
    with record_attention(model, tokens=grid.tokens, layers=[layer], gradients=False, images=1) as recording:

        def enter(*_: Any) -> None:
            entered.append(recording.layers)

        def leave(module: nn.Module, args: Any, kwargs: dict[str, Any], _: Any) -> None:
            before = entered.pop()
            if not found and before <= layer < recording.layers:
                tokens = tokens_among(args, kwargs, grid.tokens)
                if tokens is not None:
                    found.append(TokenEntry(module, before, batch_first=tokens.shape[1] == grid.tokens))

        handles = [m.register_forward_pre_hook(enter) for m in model.modules()]
        handles += [m.register_forward_hook(leave, with_kwargs=True) for m in model.modules()]
        try:
            model(pixels[:1], *arguments_of(args, torch.zeros(1, dtype=torch.long), len(pixels)))
        finally:
            for handle in handles:
                handle.remove()
    if not found:
        raise ModelError(
            f"No module of {type(model).__name__} takes all {grid.tokens} tokens as (B, N, D) and makes "
            f"attention call {layer}.",
            "Use a method that needs no token activations, e.g. gradient_weighted_attention.",
        )
    return found[0]
