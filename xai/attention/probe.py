"""Find out how a model attends: how many layers, and which rows of the last one its classifier reads."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xai.attention.census import Census, check_alignment, closed, describe_unseen, refuse_scripted_attention
from xai.attention.intercept import ALTERNATIVES, UnseenAttentionError
from xai.attention.record import AttentionCall, Recording, advice, check_recording, recorded
from xai.core import ModelError, PatchGrid


@dataclass(frozen=True)
class Probe:
    """How a model attends to an input of a given size.

    Args:
        grid: Its patch grid.
        layers: Number of image attention layers, a pooling head included if the classifier reads it.
        rows: Token rows that the classifier reads: the class token's where it has one, else all patches.
        pooling: Whether the last call is an attention pooling head, whose own rows are read instead.
        reads_patches: Whether the classifier reads patch rows of the last layer, besides or instead of the
            class token's; a pooling head reads them through attention only, which does not count.
        calls: Image attention calls that one forward pass makes, a pooling head that nobody reads included.
    """

    grid: PatchGrid
    layers: int
    rows: tuple[int, ...]
    pooling: bool
    reads_patches: bool
    calls: int

    @property
    def readout(self) -> str:
        """What the classifier reads, in words."""
        if self.pooling:
            return "pooling head"
        return "class token" if self.rows[0] < self.grid.prefix else "mean over patches"

    def rows_of(self, layer: int) -> list[int] | slice:
        """Query rows to read in a layer; their mean is that layer's read-out."""
        if self.pooling and layer == self.layers - 1:
            return slice(None)
        return list(self.rows)


def probe(
    model: nn.Module,
    pixels: Tensor,
    args: tuple[Any, ...],
    grid: PatchGrid,
    expected: Tensor | None = None,
) -> Probe:
    """Run the model once and look at which rows of its last layer carry gradient.

    A row of the last attention layer that the classifier does not read has a gradient of exactly zero.
    Models that read the class token together with the patches (DINOv2) count as reading the class token.

    The pass has a graph down to the pixels, in which all attention between them and the logits is counted.

    Args:
        model: A classifier, pixels in and logits out.
        pixels: (B, 3, H, W).
        args: Further arguments of the model.
        grid: The patch grid of this input.
        expected: Its logits for these pixels in a plain pass, if known: recording must not change them.

    Raises:
        UnseenAttentionError: When attention that reads the image was not recorded.
        ModelError: When no image attention is seen or no gradient reaches it.
    """
    refuse_scripted_attention(model)
    images = len(pixels)
    recording, census = Recording(grid.tokens, images), Census()
    with torch.inference_mode(False), torch.enable_grad(), census, recorded(model, recording, None, True):
        leaf = (pixels.clone() if pixels.is_inference() else pixels.detach()).requires_grad_()
        logits = model(leaf, *args)
    calls = list(recording.calls.values())
    unseen, reached = census.unseen(logits, [call.output for call in calls], grid, images)
    if not calls:
        _refuse_unrecorded(model, recording, len(unseen))
    if unseen:
        message = describe_unseen(model, len(calls), unseen, images)
        raise UnseenAttentionError(
            message, len(calls), len(calls) + len(unseen), advice(model) or ALTERNATIVES
        )
    if not logits.requires_grad:
        raise ModelError(
            "The logits do not depend on the recorded attention through a graph.",
            "The model may detach its features or compute them under torch.inference_mode().",
        )
    _check_calls(model, calls, reached, grid)
    check_alignment(model, census.first_values([call.output for call in calls]), leaf, grid)
    if expected is not None:
        _check_logits(logits.detach(), expected)
    # distinct weights: the logits of a two-class margin head would cancel in a plain sum
    weights = torch.arange(1, logits.shape[-1] + 1, device=logits.device, dtype=logits.dtype)
    gradients = torch.autograd.grad(
        (logits * weights).sum(), [c.output for c in calls[-2:]], materialize_grads=True
    )
    used = [(g != 0).any(dim=-1).flatten(0, 1).any(dim=0).cpu() for g in gradients]
    pooling = calls[-1].query.shape[-2] != grid.tokens
    if pooling and not used[-1].any():  # a pooling head that runs, but is not read
        pooling = False
        del calls[-1], used[-1]
    rows = used[-2] if pooling and len(used) > 1 else used[-1]
    if not rows.any():
        raise ModelError(
            "No gradient of the logits reaches the last attention layer: there is nothing to explain."
        )
    special = () if pooling else tuple(rows[: grid.prefix].nonzero()[:, 0].tolist())
    patches = tuple(range(grid.prefix, grid.tokens))
    reads_patches = not pooling and bool(rows[grid.prefix :].any())
    return Probe(grid, len(calls), special or patches, pooling, reads_patches, recording.layers)


def _refuse_unrecorded(model: nn.Module, recording: Recording, unseen: int) -> None:
    """Say why nothing was recorded, and how much attention the graph shows all the same."""
    try:
        check_recording(recording, None, model)
    except ModelError as error:
        own = f" Its graph holds {unseen} attention layers of its own." if unseen else ""
        own = "" if recording.shapes else own
        raise UnseenAttentionError(error.message + own + closed(model), 0, unseen, error.hint) from None


def _check_calls(model: nn.Module, calls: list[AttentionCall], reached: set[int], grid: PatchGrid) -> None:
    odd = [call.query.shape[-2] for call in calls[:-1] if call.query.shape[-2] != grid.tokens]
    if odd:
        raise UnseenAttentionError(
            f"{len(odd) + 1} attention layers of {type(model).__name__} have other queries than the "
            f"{grid.tokens} image tokens (class attention, or keys that were pooled: "
            f"{', '.join(f'{rows}×{grid.tokens}' for rows in sorted(set(odd)))}); only the last one, a "
            "pooling head, may.",
            len(calls) - len(odd) - 1,
            len(calls),
        )
    cut = sorted(set(range(max(reached, default=0))) - reached)
    if cut:
        raise ModelError(
            f"No gradient passes from the logits to the attention layers {', '.join(map(str, cut))}, "
            f"although it reaches layer {max(reached)}: the model detaches its features in between, or "
            "computes them a second time during backward.",
            ALTERNATIVES,
        )


def _check_logits(recorded_logits: Tensor, plain: Tensor) -> None:
    apart = float((recorded_logits - plain).abs().max())
    low = recorded_logits.dtype in (torch.float16, torch.bfloat16)
    if apart > (0.1 if low else 1e-3) * float(plain.abs().max()):
        raise ModelError(
            f"The logits change by {apart:.3g} when attention is recorded: the model is random by design, or "
            "does not run the same way each time.",
            ALTERNATIVES,
        )
