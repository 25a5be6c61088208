"""Check the recorder on a given model: recorded attention against attention computed in the open."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xai.attention.intercept import ImageInterceptor, attention_weights
from xai.attention.probe import Probe, check_repeatable, probe
from xai.attention.record import attention_rows, gradient_rows, record_attention
from xai.attention.regions import grid_of
from xai.attention.running import as_written
from xai.core import PatchGrid


@dataclass(frozen=True)
class Diagnosis:
    """What was seen of a model's attention.

    Args:
        probe: Grid, layers and read-out.
        heads: Heads per layer.
        attention_error: Largest difference of recorded and explicit A, relative to the largest entry.
        gradient_error: The same for ∂y/∂A.
        gradient_norms: Norm of ∂y/∂O per layer: where gradient flows.
        logit_error: Largest difference of the logits with and without recording.
    """

    probe: Probe
    heads: tuple[int, ...]
    attention_error: float
    gradient_error: float
    gradient_norms: tuple[float, ...]
    logit_error: float


class ExplicitAttention(ImageInterceptor):
    """Computes attention by softmax and matrix products, keeping A in the graph: slow, and plain to read."""

    def __init__(self, tokens: int, images: int | None = None):
        super().__init__(tokens, images)
        self.maps: list[Tensor] = []

    def attend_image(self, layer: int, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
        attention = attention_weights(query, key, **options)
        torch.set_grad_enabled(True)  # also inside a model that runs its backbone under no_grad
        attention = attention if attention.requires_grad else attention.detach().requires_grad_()
        self.maps.append(attention)
        return attention @ value


def explicit_attention(
    model: nn.Module, pixels: Tensor, args: tuple[Any, ...], tokens: int, score: Any
) -> tuple[list[Tensor], list[Tensor]]:
    """A and ∂y/∂A of every layer, (B, H, N, M) each, by autograd through attention in the open.

    `score` maps the logits to one number, y. Memory grows with layers × tokens²: for checks only.
    """
    explicit = ExplicitAttention(tokens, len(pixels))
    with torch.inference_mode(False), torch.enable_grad(), as_written(model), explicit:
        y = score(model(pixels, *args))
    return [a.detach() for a in explicit.maps], list(
        torch.autograd.grad(y, explicit.maps, materialize_grads=True)
    )


def diagnose(
    model: nn.Module, pixels: Tensor, grid: PatchGrid | None = None, args: tuple[Any, ...] = ()
) -> Diagnosis:
    """Compare what the recorder rebuilds with explicit attention, on every layer of one input.

    Args:
        model: A classifier, pixels in and logits out.
        pixels: (B, 3, H, W).
        grid: The patch grid of this input; default as the model says.
        args: Further arguments of the model.

    Raises:
        ModelError: When the model's attention cannot be recorded; the message says what was seen.
    """

    def score(logits: Tensor) -> Tensor:
        return (logits * torch.arange(1, logits.shape[-1] + 1, device=logits.device)).sum()

    grid = grid or grid_of(model, pixels)
    plain = check_repeatable(model, pixels, args)
    probed = probe(model, pixels, args, grid)
    with record_attention(model, tokens=grid.tokens, images=len(pixels), calls=probed.calls) as recording:
        logits = model(pixels, *args)
        y = score(logits)
    calls = [recording.calls[i] for i in range(probed.layers)]
    gradients = torch.autograd.grad(y, [c.output for c in calls])
    maps, map_gradients = explicit_attention(model, pixels, args, grid.tokens, score)
    every = slice(None)
    return Diagnosis(
        probe=probed,
        heads=tuple(c.query.shape[1] for c in calls),
        attention_error=max(_error(attention_rows(c, every), a) for c, a in zip(calls, maps, strict=False)),
        gradient_error=max(
            map(
                _error,
                (gradient_rows(c, g, every) for c, g in zip(calls, gradients, strict=True)),
                map_gradients,
            )
        ),
        gradient_norms=tuple(float(g.float().norm()) for g in gradients),
        logit_error=_error(logits.detach(), plain),
    )


def _error(got: Tensor, expected: Tensor) -> float:
    scale = expected.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return float((got - expected).abs().max() / scale)
