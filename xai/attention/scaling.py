"""Scale a layer's attention: how a model runs when it attends less than it does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.intercept import ImageInterceptor
from xai.attention.running import as_written
from xai.core import ModelError


class _Scaler(ImageInterceptor):
    def __init__(self, factors: Mapping[int, Tensor], tokens: int, images: int | None):
        super().__init__(tokens, images)
        self.factors = factors

    def attend_image(self, layer: int, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        output = F.scaled_dot_product_attention(query, key, value, **options)
        factor = self.factors.get(layer)
        if factor is None:
            return output
        if len(factor) not in (1, len(output)):
            raise ModelError(f"Factors are given for {len(factor)} images; attention runs on {len(output)}.")
        return output * factor.to(output.dtype)[:, None, None, None]


@contextmanager
def scale_attention(
    model: nn.Module,
    factors: Mapping[int, Tensor],
    tokens: int,
    *,
    images: int | None = None,
    calls: int | None = None,
) -> Iterator[None]:
    """Multiply the attention matrices of some layers, after their softmax, by one factor per image.

    As `α A · V = α · (A · V)`, it is the output that is multiplied. Opened around `record_attention`, the
    recorded outputs are the scaled ones; query, key and value of the lowest scaled layer are as ever.

    Args:
        model: The module that will be called.
        factors: Layer index, counted from 0 → (B,), or (1,) for all images.
        tokens: Number of image tokens; attention over another number of keys is no layer.
        images: Images that will be given; attention over another batch is no layer. None: any.
        calls: Image attention calls that a pass makes, `Probe.calls`; None takes any number.

    Raises:
        ModelError: When the number of images does not fit, or after the block when a layer did not run, or
            another number of calls than `calls` was made.
    """
    scaler = _Scaler(factors, tokens, images)
    with as_written(model), scaler:
        yield
    missing = sorted(set(factors) - set(range(scaler.layers)))
    if missing:
        raise ModelError(
            f"Attention of the layers {missing} (counted from 0) was to be scaled, but "
            f"{type(model).__name__} ran {scaler.layers} over {tokens} tokens."
        )
    scaler.check_layers(model, calls)
