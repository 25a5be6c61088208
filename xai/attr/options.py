"""Fusions over heads and layers, and the check of every named option."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from xai.core import UsageError, nearest
from xai.perturb import Operator, make_operator

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


def operator_of(said: str | Mapping[str, Any] | Operator) -> Operator:
    """An operator from its name, a mapping with name and parameters, or itself."""
    if isinstance(said, Operator):
        return said
    return make_operator(said) if isinstance(said, str) else make_operator(**said)
