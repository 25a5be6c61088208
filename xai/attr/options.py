"""The checks that several methods share."""

import torch
from torch import Tensor, nn

from xai.core import UsageError
from xai.core.options import check_option
from xai.perturb import Operator, image_seeds, operator_of

__all__ = ["check_counts", "check_option", "operator_of", "painted"]

MOST = 1_000_000  # of anything that is counted: steps, samples, images at once


def check_counts(**counts: int) -> None:
    """Raise a UsageError unless every count is at least 1, and no more than could ever be done."""
    said = ", ".join(f"{name}={count}" for name, count in counts.items())
    if min(counts.values()) < 1:
        raise UsageError(f"{said}: 1 or more is needed.")
    if max(counts.values()) > MOST:
        raise UsageError(f"{said}: {MOST} is the most.")


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
