"""Fusions over heads and layers, and the check of every named option."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from xai.core import UsageError, nearest
from xai.perturb import Operator, image_seeds, make_operator

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


def check_counts(**counts: int) -> None:
    """Raise a UsageError unless every count is at least 1."""
    if min(counts.values()) < 1:
        said = ", ".join(f"{name}={count}" for name, count in counts.items())
        raise UsageError(f"{said}: 1 or more is needed.")


def operator_of(said: str | Mapping[str, Any] | Operator) -> Operator:
    """An operator from its name, a mapping with name and parameters, or itself."""
    if isinstance(said, Operator):
        return said
    return make_operator(said) if isinstance(said, str) else make_operator(**said)


@torch.no_grad()
def painted(operator: Operator, model: nn.Module, pixels: Tensor, seed: int) -> Tensor:
    """The images with all of their pixels removed by an operator, (B, 3, H, W).

    Raises:
        UsageError: The operator paints nothing.
    """
    found = operator.prepare(model, pixels, image_seeds(pixels, seed))
    if found is None:
        raise UsageError(
            f"The operator {operator.name!r} paints nothing that an image could fade into.",
            "Use a colour, blur or noise; integrated_mask_gradient starts where patches are masked.",
        )
    return found
