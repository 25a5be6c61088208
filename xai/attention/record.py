"""Record attention while the model runs as it is, and rebuild rows of it and of its gradient.

With `O = A·V` and `A = softmax(scale·Q·Kᵀ + mask)` per head, `∂y/∂A = (∂y/∂O)·Vᵀ`: the recorded Q, K,
V, mask and O are enough to rebuild any row of A and of its gradient afterwards, in O(H·R·M) for R rows. The
full N×N matrix exists only for who asks for all rows.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xai.attention.intercept import ALTERNATIVES, ImageInterceptor
from xai.attention.running import as_written, frozen, refuse_inference
from xai.core import ModelError
from xai.core.explanation import GRID_HINT

Rows = slice | list[int]


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One recorded attention call. In windowed models windows may have an axis of their own beside the heads.

    Args:
        query: (B, H, N, d), detached.
        key: (B, H, M, d), detached; fewer heads under grouped-query attention.
        value: (B, H, M, e), detached; like `key`.
        output: (B, H, N, e), part of the graph when gradients are recorded.
        mask: Additive float or bool (True = attends), broadcastable to (B, H, N, M), or None.
        scale: Factor of Q·Kᵀ.
        is_causal: Whether query i sees keys up to i only.
        weights: (B, H, N, M) A itself, detached, where the model computes it in the open; None where it is to
            be rebuilt. Query and key then stand for nothing but their numbers.
    """

    query: Float[Tensor, "*b h n d"]
    key: Float[Tensor, "*b h_kv m d"]
    value: Float[Tensor, "*b h_kv m e"]
    output: Float[Tensor, "*b h n e"]
    mask: Tensor | None
    scale: float
    is_causal: bool
    weights: Tensor | None = None


@dataclass(eq=False)
class Recording:
    """What one forward pass showed.

    Args:
        tokens: Number of keys by which image attention is told from other attention (a text tower's).
        calls: Recorded calls by layer index, in the order of execution.
        images: Number of images in a batch of image attention; None takes every batch.
        shapes: (queries, keys) of every attention call, image or not.
        layers: Number of image attention calls.
    """

    tokens: int
    images: int | None = None
    calls: dict[int, AttentionCall] = field(default_factory=dict)
    shapes: list[tuple[int, int]] = field(default_factory=list)
    layers: int = 0


class _Recorder(ImageInterceptor):
    def __init__(self, recording: Recording, chosen: Collection[int] | None, gradients: bool):
        super().__init__(recording.tokens, recording.images, differentiates=gradients)
        self.recording = recording
        self.chosen = chosen
        self.gradients = gradients

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        self.recording.shapes.append((query.shape[-2], key.shape[-2]))
        return super().attend(query, key, value, **options)

    def attend_image(self, layer: int, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        recording = self.recording
        recording.layers = self.layers
        output = F.scaled_dot_product_attention(query, key, value, **options)
        if self.chosen is not None and layer not in self.chosen:
            return output
        if self.gradients:
            # the model may run its backbone under no_grad: what follows must be in the graph all the same
            torch.set_grad_enabled(True)
            if not output.requires_grad:
                output = output.detach().requires_grad_()
        scale = options.get("scale")
        recording.calls[layer] = AttentionCall(
            query=query.detach(),
            key=key.detach(),
            value=value.detach(),
            output=output,
            mask=options.get("attn_mask"),
            scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
            is_causal=bool(options.get("is_causal", False)),
        )
        return output


@contextmanager
def record_attention(
    model: nn.Module,
    *,
    tokens: int,
    layers: Collection[int] | None = None,
    gradients: bool = True,
    images: int | None = None,
    calls: int | None = None,
) -> Iterator[Recording]:
    """Record the attention calls of one forward pass run inside the block.

    The parameters are frozen meanwhile and the output of the lowest chosen layer becomes a leaf, so the
    layers below run as plain inference and a backward pass ends there. Compiled parts run eagerly and flags
    for activation checkpointing are off. Flags, modes and the model are as before afterwards, also after an
    exception.

    Args:
        model: The module that will be called.
        tokens: Number of image tokens; attention over another number of keys is passed through.
        layers: Layer indices ≥ 0 to record; None records all.
        gradients: Whether the outputs must be part of a graph.
        images: Number of images that will be given; attention over another batch, such as windows folded
            into it, is passed through. None takes every batch.
        calls: Image attention calls that the block makes, `Probe.calls` for one pass; None asks for one.

    Raises:
        ModelError: After the block, when a chosen layer did not run, no image attention was seen, or another
            number of calls than `calls`; in it, when a call is made under activation checkpointing.
    """
    with recorded(model, Recording(tokens, images), layers, gradients) as recorder:
        yield recorder.recording
    check_recording(recorder.recording, layers, model)
    recorder.check_layers(model, calls)


@contextmanager
def recorded(
    model: nn.Module, recording: Recording, layers: Collection[int] | None, gradients: bool
) -> Iterator[_Recorder]:
    """`record_attention` without a look at what came of it."""
    refuse_inference(model)
    recorder = _Recorder(recording, layers, gradients)
    with (
        frozen(model),
        torch.inference_mode(False),
        torch.set_grad_enabled(gradients),
        as_written(model),
        recorder,
    ):
        yield recorder


def check_recording(recording: Recording, layers: Collection[int] | None, model: nn.Module) -> None:
    """Make sure that what was asked for is there.

    Raises:
        ModelError: Naming what was seen instead.
    """
    if not recording.shapes:
        raise ModelError(
            f"{getattr(model, 'name', None) or type(model).__name__} made no call of "
            "scaled_dot_product_attention or multi_head_attention_forward: it has no attention, or computes "
            "it in another way.",
            advice(model) or ALTERNATIVES,
        )
    if not recording.layers:
        shapes = ", ".join(sorted({f"{q}×{k}" for q, k in recording.shapes}))
        batch = "" if recording.images is None else f" over the {recording.images} image(s) given"
        raise ModelError(
            f"The grid has {recording.tokens} tokens, but none of the {len(recording.shapes)} attention "
            f"calls seen has that size{batch} (queries × keys: {shapes}).",
            _other_grid(recording),
        )
    missing = sorted(set(layers or ()) - set(recording.calls))
    if missing:
        raise ModelError(
            f"Layers {missing} were asked for (counted from 0), but the model ran {recording.layers}."
        )


def _other_grid(recording: Recording) -> str:
    if any(keys == recording.tokens for _, keys in recording.shapes):
        return (
            "The grid fits, but the model attends over another batch: it gives its tower copies, crops or "
            f"frames of an image at once, or one image after the other. {ALTERNATIVES}"
        )
    return (
        "Where layers attend over windows or stages there is no one set of tokens, so rollout, Chefer's "
        "rules and their kin have no published meaning; gradient_weighted_attention reads each layer by "
        "itself. "
        f"If another grid fits the model and this input size, say it: {GRID_HINT}. {ALTERNATIVES}"
    )


def advice(model: nn.Module) -> str | None:
    """How to have a transformers model call fused attention, where it can and does not."""
    for module in model.modules():
        config = getattr(module, "config", None)
        if getattr(config, "_attn_implementation", None) == "eager" and getattr(
            module, "_supports_sdpa", False
        ):
            return 'It runs eager attention: call model.set_attn_implementation("sdpa") first.'
    return None


def attention_rows(call: AttentionCall, rows: Rows) -> Float[Tensor, "*b h r m"]:
    """Rows of `A = softmax(scale·Q·Kᵀ + mask)`: (B, H, R, M), at least in float32."""
    if call.weights is not None:
        return _accurate(call.weights[..., rows, :])
    return torch.softmax(score_rows(call, rows), dim=-1)


def score_rows(call: AttentionCall, rows: Rows) -> Float[Tensor, "*b h r m"]:
    """Rows of `scale·Q·Kᵀ + mask`, what the softmax gets; −∞ where a query does not see a key."""
    query = _accurate(call.query[..., rows, :]) * call.scale
    scores = query @ _per_head(_accurate(call.key), query).transpose(-2, -1)
    if call.mask is not None:
        mask = call.mask[..., rows, :] if call.mask.shape[-2] > 1 else call.mask
        scores = (
            scores.masked_fill_(~mask, float("-inf"))
            if mask.dtype == torch.bool
            else scores.add_(mask.detach().to(scores.dtype))
        )
    if call.is_causal:
        queries, keys = call.query.shape[-2], call.key.shape[-2]
        allowed = torch.ones(queries, keys, dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~allowed[rows], float("-inf"))
    return scores


def gradient_rows(
    call: AttentionCall, output_gradient: Float[Tensor, "*b h n e"], rows: Rows
) -> Float[Tensor, "*b h r m"]:
    """Rows of `∂y/∂A = (∂y/∂O)·Vᵀ`: (B, H, R, M), from ∂y/∂O of shape (B, H, N, e), targets before it if any.

    As in a call, windows and heads may be folded into the batch.
    """
    gradient = _accurate(output_gradient[..., rows, :])
    return gradient @ _per_head(_accurate(call.value), gradient).transpose(-2, -1)


def _accurate(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _per_head(x: Tensor, like: Tensor) -> Tensor:
    """Repeat grouped keys or values so that every query head has its own."""
    groups = like.shape[-3] // x.shape[-3]
    return x if groups == 1 else x.repeat_interleave(groups, dim=-3)


def row_chunks(call: AttentionCall, rows: Rows, copies: int = 1, entries: int = 2**24) -> list[list[int]]:
    """Split rows so that one chunk of the matrix, times `copies`, has at most `entries` entries."""
    chosen = range(call.query.shape[-2])[rows] if isinstance(rows, slice) else rows
    per_row = call.query[..., 0, 0].numel() * call.key.shape[-2] * copies
    step = max(1, entries // per_row)
    return [list(chosen[i : i + step]) for i in range(0, len(chosen), step)]
