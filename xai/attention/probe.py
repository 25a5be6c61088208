"""Find out how a model attends, what of the last layer its classifier reads, and that it repeats itself."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from xai.attention.alignment import check_alignment
from xai.attention.census import Census, closed, describe_unseen, refuse_scripted_attention
from xai.attention.intercept import ALTERNATIVES, UnseenAttentionError
from xai.attention.record import AttentionCall, Recording, advice, check_recording, recorded
from xai.attention.running import modules_of
from xai.core import ModelError, PatchGrid

_AGAIN = 5  # passes compared where random numbers are drawn: a layer dropped now and then must show
_TOLERANCE = {torch.float16: 0.05, torch.bfloat16: 0.05}  # relative; kernels on a GPU may add in any order


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
        towers: How many of them read no other attention: more than 1 where towers, or passes of one, stand
            side by side.
    """

    grid: PatchGrid
    layers: int
    rows: tuple[int, ...]
    pooling: bool
    reads_patches: bool
    calls: int
    towers: int = field(default=1, kw_only=True)

    def check_chain(self) -> None:
        """Refuse to multiply attention through layers that do not follow one another.

        Raises:
            ModelError: They are of several towers.
        """
        if self.towers > 1:
            raise ModelError(
                f"The {self.layers} attention layers are of {self.towers} towers, or passes, side by side: "
                "what one attends to is not handed on by the other, so they cannot be multiplied.",
                "Use a method that adds what layers show, integrated_mask_gradient or "
                "gradient_weighted_attention.",
            )

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
    first = census.first_values([call.output for call in calls])
    check_alignment(model, first, leaf, grid)
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
    rows_read, towers = special or patches, max(1, len(first))
    return Probe(grid, len(calls), rows_read, pooling, reads_patches, recording.layers, towers=towers)


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


class _BatchStatistics(TorchFunctionMode):
    """Stops a pass before batch normalisation reads, or writes, statistics of the batch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            # input, running_mean, running_var, weight, bias, training
            training = kwargs.get("training", args[5] if len(args) > 5 else False)
            if training:
                raise _OfBatchError
        return func(*args, **kwargs)


class _OfBatchError(Exception):
    pass


def check_repeatable(
    model: nn.Module, pixels: Tensor, args: tuple[Any, ...] = (), *, passes: int = 2
) -> Tensor:
    """Run the model on the same pixels and compare its answers; it and the random state are as before.

    Args:
        model: A classifier, pixels in and logits out.
        pixels: (B, 3, H, W).
        args: Further arguments of the model.
        passes: How many; more where random numbers were drawn, or the model is in training mode.

    Returns:
        Its logits.

    Raises:
        ModelError: The answers differ, or depend on the batch, or the pass writes into buffers in training
            mode: because it is in training mode, or by design.
    """
    buffers = [(name, buffer, buffer.detach().clone()) for name, buffer in model.named_buffers()]
    training = sorted({type(module).__name__ for module in model.modules() if module.training})
    with same_random_state(pixels.device) as drawn:
        try:
            with torch.no_grad(), _BatchStatistics():
                outputs = [model(pixels.clone(), *args)]  # a model may write over what it is given
                if drawn() or (training and passes > 1):
                    passes = max(passes, _AGAIN)
                outputs += [model(pixels.clone(), *args) for _ in range(passes - 1)]
        except _OfBatchError:
            _restore(buffers)
            raise ModelError(
                "Batch normalisation takes its statistics from the batch, so an image's answer depends on "
                "the images beside it.",
                _remedy(training) if training else "Give it running statistics (track_running_stats=True).",
            ) from None
        drew = drawn()
    written = _restore(buffers) if training else []
    logits = outputs[0]
    if not isinstance(logits, Tensor):  # what is no tensor is told where it is read
        return logits
    apart = max(float((logits - other).abs().max()) for other in outputs) if logits.numel() else 0.0
    if training and drew:
        raise ModelError(
            "The model is in training mode and draws random numbers (dropout, stochastic depth …): every "
            "pass would explain another model.",
            _remedy(training),
        )
    if written:
        raise ModelError(
            f"The model is in training mode and writes into its buffers ({', '.join(written[:3])}).",
            _remedy(training),
        )
    if apart > _TOLERANCE.get(logits.dtype, 1e-4) * float(logits.abs().max()):
        raise ModelError(
            f"The model gives the same image other logits each time (they differ by {apart:.3g}): it draws "
            "random numbers by design.",
            _remedy(training) if training else "Make the draw a fixed one, e.g. a mask that does not change.",
        )
    return logits


def _remedy(training: list[str]) -> str:
    names = ", ".join(training[:4]) + (" …" if len(training) > 4 else "")
    return f"Call model.eval() first; in training mode are: {names}."


def _restore(buffers: list[tuple[str, Tensor, Tensor]]) -> list[str]:
    """Put back the buffers that were written to; their names."""
    written = [
        (name, buffer, copy)
        for name, buffer, copy in buffers
        if not torch.equal(buffer.nan_to_num(), copy.nan_to_num())
    ]
    with torch.no_grad():
        for _, buffer, copy in written:
            buffer.copy_(copy)
    return [name for name, _, _ in written]


def may_vary(model: nn.Module) -> bool:
    """Whether a look at its modules leaves open that answers vary: training mode, no running statistics."""
    return any(
        module.training or (isinstance(module, _BatchNorm) and module.running_mean is None)
        for module in modules_of(model)
    )


def random_state(device: torch.device) -> tuple[bytes, ...]:
    """The state of torch's own generators, to tell later whether a number was drawn from them."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return tuple(state.numpy().tobytes() for state in states)


@contextmanager
def same_random_state(device: torch.device) -> Iterator[Any]:
    """Gives a function that says whether torch drew random numbers; the states are put back."""
    python, numpy, before = random.getstate(), np.random.get_state(), random_state(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield lambda: random_state(device) != before
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
