"""From relevance to an order of units: seeded where values tie, the same alone as in a batch."""

from collections.abc import Sequence
from hashlib import sha256

import torch
from torch import Tensor

from xai.core import UsageError, derive_seed


def image_seeds(pixels: Tensor, seed: int) -> list[int]:
    """A seed per image that depends on its content alone, so an image has the same one in any batch.

    Args:
        pixels: (B, 3, H, W).
        seed: Of the run.
    """
    images = pixels.detach().to("cpu", torch.float32).contiguous()
    return [derive_seed(seed, sha256(image.numpy().tobytes()).hexdigest()) for image in images]


def rank_units(relevance: Tensor, seeds: Sequence[int] | None) -> Tensor:
    """Rank of every unit, 0 for the most relevant.

    Args:
        relevance: (R, units), a row per map.
        seeds: A seed per row: units of equal relevance are put in a random order, which is the same for
            equal seeds (all maps of one image). None keeps tied units in the order of their positions.

    Returns:
        (R, units) int32 on the relevance's device; every row is a permutation.

    Raises:
        UsageError: For NaN, another shape, or another number of seeds.
    """
    _check_relevance(relevance)
    values = relevance.detach() + 0.0  # −0 becomes 0, so that both tie on every device
    rows, units = values.shape
    if seeds is None:
        order = values.argsort(dim=1, descending=True, stable=True)
    else:
        if len(seeds) != rows:
            raise UsageError(f"{rows} maps need {rows} seeds; got {len(seeds)}.")
        shuffles = {seed: _shuffle(units, seed) for seed in set(seeds)}
        shuffle = torch.stack([shuffles[seed] for seed in seeds]).to(values.device)
        shuffled = values.gather(1, shuffle)
        order = shuffle.gather(1, shuffled.argsort(dim=1, descending=True, stable=True))
    places = torch.arange(units, dtype=torch.int32, device=values.device).expand(rows, units)
    return torch.empty_like(places, memory_format=torch.contiguous_format).scatter_(1, order, places)


def tie_fraction(relevance: Tensor) -> Tensor:
    """Share of units whose value occurs more than once in their row: (R, units) → (R,)."""
    _check_relevance(relevance)
    values = (relevance.detach() + 0.0).sort(dim=1).values
    same = values[:, 1:] == values[:, :-1]
    tied = torch.zeros_like(values, dtype=torch.bool)
    tied[:, 1:] |= same
    tied[:, :-1] |= same
    return tied.float().mean(dim=1)


def _shuffle(units: int, seed: int) -> Tensor:
    return torch.randperm(units, generator=torch.Generator().manual_seed(seed))


def _check_relevance(relevance: Tensor) -> None:
    if relevance.dim() != 2 or not relevance.shape[1]:
        raise UsageError(f"Relevance must be (maps, units); got {tuple(relevance.shape)}.")
    if relevance.isnan().any():
        raise UsageError("The relevance holds NaN, which has no rank.", "Look at the method that made it.")
