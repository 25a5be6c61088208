"""Fusions over heads and layers, and the check of every named option."""

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from xai.core import UsageError, nearest

Fusion = Callable[[Tensor, int], Tensor]


def _product(x: Tensor, dim: int) -> Tensor:
    # relevance is small: a dozen factors underflow in single precision
    return x.double().prod(dim).to(x.dtype)


HEAD_FUSIONS: dict[str, Fusion] = {"mean": torch.mean, "max": torch.amax, "min": torch.amin}
LAYER_FUSIONS: dict[str, Fusion] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
    "product": _product,
}


def check_option(option: str, value: object, valid: Collection[str | None]) -> None:
    """Raise a UsageError that names the nearest valid value."""
    if value not in valid:
        raise UsageError(f"{option}={value!r} is unknown.", nearest(str(value), map(str, valid)))
