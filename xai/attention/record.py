"""Record attention while the model runs as it is.

With `O = A·V` and `A = softmax(scale·Q·Kᵀ + mask)` per head, `∂y/∂A = (∂y/∂O)·Vᵀ`: the recorded Q, K,
V, mask and O are enough to rebuild any row of A and of its gradient afterwards (`rows.py`).
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xai.attention.intercept import AttentionInterceptor
from xai.core import ModelError


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One recorded attention call.

    Args:
        query: (B, H, N, d), detached.
        key: (B, H, M, d), detached; fewer heads under grouped-query attention.
        value: (B, H, M, e), detached; like `key`.
        output: (B, H, N, e), part of the graph when gradients are recorded.
        mask: Additive float or bool (True = attends), broadcastable to (B, H, N, M), or None.
        scale: Factor of Q·Kᵀ.
        is_causal: Whether query i sees keys up to i only.
    """

    query: Float[Tensor, "b h n d"]
    key: Float[Tensor, "b h_kv m d"]
    value: Float[Tensor, "b h_kv m e"]
    output: Float[Tensor, "b h n e"]
    mask: Tensor | None
    scale: float
    is_causal: bool


@dataclass(eq=False)
class Recording:
    """What one forward pass showed.

    Args:
        tokens: Number of keys by which image attention is told from other attention (a text tower's).
        calls: Recorded calls by layer index, in the order of execution.
        seen: (queries, keys) of every attention call, image or not.
        layers: Number of image attention calls.
    """

    tokens: int
    calls: dict[int, AttentionCall] = field(default_factory=dict)
    seen: list[tuple[int, int]] = field(default_factory=list)
    layers: int = 0


class _Recorder(AttentionInterceptor):
    def __init__(self, recording: Recording, chosen: Collection[int] | None, gradients: bool):
        super().__init__()
        self.recording = recording
        self.chosen = chosen
        self.gradients = gradients

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        recording = self.recording
        recording.seen.append((query.shape[-2], key.shape[-2]))
        output = F.scaled_dot_product_attention(query, key, value, **options)
        if key.shape[-2] != recording.tokens:
            return output
        index = recording.layers
        recording.layers += 1
        if self.chosen is not None and index not in self.chosen:
            return output
        if self.gradients:
            # the model may run its backbone under no_grad: what follows must be in the graph all the same
            torch.set_grad_enabled(True)
            if not output.requires_grad:
                output = output.detach().requires_grad_()
        scale = options.get("scale")
        recording.calls[index] = AttentionCall(
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
) -> Iterator[Recording]:
    """Record the attention calls of one forward pass run inside the block.

    The parameters are frozen meanwhile and the output of the lowest chosen layer becomes a leaf, so the
    layers below run as plain inference and a backward pass ends there. Flags, modes and the model are as
    before afterwards, also after an exception.

    Args:
        model: The module that will be called.
        tokens: Number of image tokens; attention over another number of keys is passed through.
        layers: Layer indices ≥ 0 to record; None records all.
        gradients: Whether the outputs must be part of a graph.

    Raises:
        ModelError: After the block, when a chosen layer did not run or no image attention was seen.
    """
    if any(p.is_inference() for p in model.parameters()):
        raise ModelError(
            "The model was built under torch.inference_mode(), so no gradient can pass through it.",
            "Build or load it outside of inference_mode.",
        )
    recording = Recording(tokens)
    trainable = [p for p in model.parameters() if p.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        with (
            torch.inference_mode(False),
            torch.set_grad_enabled(gradients),
            _Recorder(recording, layers, gradients),
        ):
            yield recording
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
    _check(recording, layers, model)


def _check(recording: Recording, layers: Collection[int] | None, model: nn.Module) -> None:
    if not recording.seen:
        eager = [
            m
            for m in model.modules()
            if getattr(getattr(m, "config", None), "_attn_implementation", None) == "eager"
        ]
        hint = (
            'It runs eager attention: call model.set_attn_implementation("sdpa") first.'
            if eager
            else "It has no attention, or an attention of its own (such as Swin's windows); use a method "
            "without attention, e.g. integrated_gradients."
        )
        raise ModelError(
            f"{type(model).__name__} made no call of scaled_dot_product_attention or "
            "multi_head_attention_forward.",
            hint,
        )
    if not recording.layers:
        shapes = ", ".join(sorted({f"{q}×{k}" for q, k in recording.seen}))
        raise ModelError(
            f"The grid has {recording.tokens} tokens, but the {len(recording.seen)} attention calls seen "
            f"have other sizes (queries × keys: {shapes}).",
            "Pass grid=PatchGrid(rows, cols, prefix) that fits the model and this input size.",
        )
    missing = sorted(set(layers or ()) - set(recording.calls))
    if missing:
        raise ModelError(
            f"Layers {missing} were asked for (counted from 0), but the model ran {recording.layers}."
        )
