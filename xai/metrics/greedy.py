"""A strong reference order: remove, group by group, whatever hurts the target most right now."""

import torch
from torch import Tensor

from xai.attention import grid_of
from xai.core import UsageError
from xai.metrics.context import check_pixels
from xai.perturb import Operator, Request, States, Stream


def greedy_forwards(groups: int = 7) -> int:
    """Forward passes per image at most: every remaining group in every round but the last."""
    total = groups**2
    return total * (total + 1) // 2 - 1


def greedy_order(
    stream: Stream, pixels: Tensor, targets: Tensor, operator: Operator, groups: int = 7
) -> Tensor:
    """Relevance by greedy occlusion over groups × groups blocks of patches.

    In each round the block goes whose removal, on top of those removed before, lowers the target's log-odds
    most; what goes first is most relevant. It knows the model and the operator it is tested with, so on
    deletion it is a strong reference. It is no bound: greedy is not optimal, blocks are coarser than patches,
    and the least harmful blocks are never searched for, so LeRF and SRG can be beaten.

    Costs n(n+1)/2 − 1 forward passes per image for n blocks: 1224 for 7×7. Each round is one pass of the
    stream over all images and remaining blocks.

    Args:
        stream: Around the classifier.
        pixels: (B, 3, H, W).
        targets: (B,) class indices.
        operator: How evidence is removed.
        groups: Blocks along each side, at most the grid's rows and columns.

    Returns:
        (B, rows, cols) float32 relevance: number of blocks down to 1, the same within a block.
    """
    check_pixels(pixels)
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1:
        raise UsageError(f"groups={groups!r} must be a whole number of at least 1.")
    grid = grid_of(stream.classifier, pixels)
    down, across = min(groups, grid.rows), min(groups, grid.cols)
    row = torch.arange(grid.rows) * down // grid.rows
    col = torch.arange(grid.cols) * across // grid.cols
    block = (row[:, None] * across + col).flatten()  # (patches,)
    images, blocks = len(pixels), down * across
    removed = torch.zeros(images, blocks, dtype=torch.bool)
    relevance = torch.zeros(images, blocks)
    for turn in range(blocks):
        image, candidate = (~removed).nonzero().unbind(1)
        if turn < blocks - 1:
            gone = removed[image]
            gone[torch.arange(len(image)), candidate] = True
            request = Request(operator, _states(gone[:, block], image, (grid.rows, grid.cols)))
            (left,) = stream.evaluate(pixels, targets, [request])
            best = left.reshape(images, -1).argmin(1)
        else:
            best = torch.zeros(images, dtype=torch.long)
        chosen = candidate.reshape(images, -1).gather(1, best[:, None])
        removed.scatter_(1, chosen, True)
        relevance.scatter_(1, chosen, float(blocks - turn))
    return relevance[:, block].reshape(images, grid.rows, grid.cols)


def _states(gone: Tensor, image: Tensor, units: tuple[int, int]) -> States:
    """One state per row of gone (S, patches): a ranking with the removed patches first."""
    order = gone.int().argsort(dim=1, descending=True, stable=True)
    places = torch.arange(gone.shape[1], dtype=torch.int32).expand(gone.shape)
    ranks = torch.empty(gone.shape, dtype=torch.int32).scatter_(1, order, places)
    return States(
        rankings=ranks.reshape(-1, *units),
        image=image,
        row=torch.arange(len(gone)),
        low=torch.zeros(len(gone), dtype=torch.int32),
        high=gone.sum(1).int(),
    )
