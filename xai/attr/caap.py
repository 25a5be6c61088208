"""Causal attribution via activation patching: a patch's activations in a neutral image."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchMaps, Pixels
from xai.attr.batching import accurate, arguments_of, variant_scores
from xai.attr.layers import Layers, resolve_layers
from xai.attr.registry import register
from xai.attr.transformer_blocks import (
    BlockAttribution,
    TransformerBlocks,
    block_outputs,
    tokens_of,
    without_blocks,
)
from xai.core.options import check_counts
from xai.core.target import Target, score
from xai.perturb import AnyOperator, baseline_images, operator_of

Tokens = Float[Tensor, "b n d"]


@register
class CausalActivationPatching(BlockAttribution):
    """The score of a neutral image with one patch's activations: `R_j = y(x' | h_lj ← h_lj(x)) − y(x')`.

    The image x and a neutral one x' are run once each. Then, for every patch j, x' is run again, and what
    the blocks l of an intermediate range return for token j is replaced by what they returned in x. So the
    evidence is the patch's as the model had formed it within its image, before the last layers mix patches.
    Class token and all other patches are those of the neutral image, but for what they read of token j.

    The paper's account, as far as it was open to us, leaves the neutral image and the range to the reader:
    both are options here, and the defaults ours. The score of the neutral image is subtracted, which is the
    same for all patches. Blocks below the range are not run again: they are the same for all patches.

    Args:
        forward_func: See `PatchAttribution`.
        layers: Blocks whose outputs are replaced, as in `GradientWeightedAttention`; None takes the middle
            half, of 12 the fourth to the ninth.
        operator: What paints the neutral image: an operator of `xai.perturb`, as in `IntegratedGradients`;
            by default 0, the mean colour in normalised pixels.
        seed: For an operator that draws noise.
        internal_batch_size: Patches per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="caap",
        family="perturbation",
        class_sensitive=True,
        signed=True,
        forwards=198,  # 14 × 14 patches
        backwards=0,
        reference="Izadi et al. 2026, arXiv 2603.13652",
        summary="What each patch's inner activations do to the score of a neutral image that receives them.",
        needs="global_attention",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        layers: Layers | None = None,
        operator: AnyOperator = "constant",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func)
        check_counts(internal_batch_size=internal_batch_size)
        self._operator = operator_of(operator)
        self.layers, self.operator = layers, self._operator.describe()
        self.seed, self.internal_batch_size = seed, internal_batch_size

    def _layers(self, depth: int) -> list[int]:
        chosen = list(range(depth // 4, depth - depth // 4)) if self.layers is None else self.layers
        return resolve_layers(chosen, depth)

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        probe, blocks = self._probe(pixels, args), self._find_blocks(pixels, args)
        images, grid, depth = len(pixels), probe.grid, len(blocks.modules)
        first, *further = self._layers(depth)
        whole = depth - 1 in (first, *further) or probe.pooling
        short = nullcontext() if whole else self._readout_only(probe, pixels, args)
        neutral = baseline_images(self._operator, self.model, pixels, self.seed)
        with torch.no_grad():
            with block_outputs(blocks.modules) as outputs:
                self.model(pixels, *args)
            source = {layer: _batch_first(outputs[layer], blocks) for layer in (first, *further)}
            with block_outputs(blocks.modules) as outputs:
                plain = accurate(self.model(neutral, *args))
            context, pattern = _batch_first(outputs[first], blocks), outputs[: first + 1]

            def forward(image: Tensor, variant: Tensor) -> Any:
                at, token = image.to(pixels.device), variant.to(pixels.device) + grid.prefix
                new = {layer: tokens[at, token] for layer, tokens in source.items()}
                start = _put(context[at], token, new[first]).movedim(1, blocks.token_axis)
                with (
                    without_blocks(blocks.modules[: first + 1], pattern, start),
                    _patched(blocks, {layer: new[layer] for layer in further}, token),
                ):
                    return self.model(neutral[at], *arguments_of(args, image, images))

            with short:
                y = variant_scores(forward, images, grid.patches, targets, self.internal_batch_size)
            before = torch.stack([score(plain, target) for target in targets])
        return (y - before[..., None]).unflatten(-1, (grid.rows, grid.cols))


def _batch_first(output: Any, blocks: TransformerBlocks) -> Tokens:
    return tokens_of(output).movedim(blocks.token_axis, 1)


def _put(tokens: Tokens, token: Int[Tensor, "b"], new: Float[Tensor, "b d"]) -> Tokens:
    """The tokens, of each image one of them replaced."""
    tokens = tokens.clone()
    tokens[torch.arange(len(tokens), device=tokens.device), token] = new
    return tokens


@contextmanager
def _patched(
    blocks: TransformerBlocks, new: Mapping[int, Float[Tensor, "b d"]], token: Int[Tensor, "b"]
) -> Iterator[None]:
    """Inside the block, blocks return these activations in the place of a token."""

    def hook(activation: Tensor) -> Any:
        def replace(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            tokens = _put(_batch_first(output, blocks), token, activation).movedim(1, blocks.token_axis)
            return tokens if isinstance(output, Tensor) else type(output)([tokens, *output[1:]])

        return replace

    handles = [blocks.modules[layer].register_forward_hook(hook(values)) for layer, values in new.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
