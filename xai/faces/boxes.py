"""Rectangles in batches: means of image areas, and the best of those that overlap."""

import torch
from torch import Tensor

BLOCK = 1024  # rectangles compared with all those before them at once
WINDOWS = 512  # resampled at once


def summed(images: Tensor) -> Tensor:
    """Sums of all pixels above and left of each corner (Crow 1984, "Summed-area tables").

    Args:
        images: (B, C, H, W) uint8.

    Returns:
        (B, C, H + 1, W + 1) int32, modulo 2³²: the difference is exact of any area below 8 megapixels.
    """
    sums = torch.zeros(*images.shape[:2], images.shape[2] + 1, images.shape[3] + 1, dtype=torch.int32)
    sums = sums.to(images.device)
    torch.cumsum(images, 3, dtype=torch.int32, out=sums[:, :, 1:, 1:])
    torch.cumsum(sums, 2, dtype=torch.int32, out=sums)
    return sums


def resample(sums: Tensor, index: Tensor, windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut windows out of images and average each to one size, as `interpolate(mode="area")` does.

    Args:
        sums: Of the images; see `summed`.
        index: (n,) which image.
        windows: (n, 4) left, top, right, bottom in whole pixels, within the image and not empty.
        size: (height, width) of each result.

    Returns:
        (n, C, height, width) float32, in the unit of the pixels.
    """
    parts = [
        _resample(sums, some, of, size)
        for some, of in zip(index.split(WINDOWS), windows.split(WINDOWS), strict=True)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, sums.shape[1], *size, device=sums.device)


def _resample(sums: Tensor, index: Tensor, windows: Tensor, size: tuple[int, int]) -> Tensor:
    left, right = _bins(windows[:, 0], windows[:, 2], size[1])
    top, bottom = _bins(windows[:, 1], windows[:, 3], size[0])
    images = index[:, None, None]

    def at(rows: Tensor, cols: Tensor) -> Tensor:
        return sums.permute(0, 2, 3, 1)[images, rows[:, :, None], cols[:, None]]

    totals = at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left)
    # one division after the other, as torch does it: the results are the same bit for bit
    means = totals.float() / (bottom - top)[:, :, None, None] / (right - left)[:, None, :, None]
    return means.permute(0, 3, 1, 2)


def _bins(start: Tensor, stop: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """(n, parts) first pixel, and the one after the last, of each of the areas that cover [start, stop)."""
    place, length = torch.arange(parts, device=start.device), (stop - start)[:, None]
    first = start[:, None] + place * length // parts
    return first, start[:, None] - (-(place + 1) * length // parts)


def suppress(
    boxes: Tensor, scores: Tensor, index: Tensor, overlap: float, *, smaller: bool = False
) -> Tensor:
    """Non-maximum suppression: of rectangles that overlap the one with the best score.

    Greedy, as it is usual, in blocks: whether a rectangle stays depends on those before it that stay, and
    is decided for all of a block at once until nothing changes any more.

    Args:
        boxes: (n, 4) left, top, right, bottom.
        scores: (n,).
        index: (n,) only rectangles of one index suppress each other.
        overlap: Share of the union from which on one of two goes.
        smaller: Share of the smaller of the two instead, with sides one pixel longer.

    Returns:
        Indices of those that stay, best first.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, index = boxes[order], index[order]
    kept = torch.empty(0, dtype=torch.long, device=boxes.device)
    for start in range(0, len(boxes), BLOCK):
        block = torch.arange(start, min(start + BLOCK, len(boxes)), device=boxes.device)
        before = _overlapping(boxes[block], boxes[kept], index[block], index[kept], overlap, smaller)
        block = block[~before.any(1)]
        within = _overlapping(boxes[block], boxes[block], index[block], index[block], overlap, smaller).tril(
            -1
        )
        stays = torch.ones(len(block), dtype=torch.bool, device=boxes.device)
        while not torch.equal(stays, updated := ~(within & stays).any(1)):
            stays = updated
        kept = torch.cat([kept, block[stays]])
    return order[kept]


def _overlapping(
    some: Tensor, others: Tensor, of_some: Tensor, of_others: Tensor, overlap: float, smaller: bool
) -> Tensor:
    """(n, m) bool: whether rectangles of one image overlap by more than that."""
    more = float(smaller)
    corner = torch.maximum(some[:, None, :2], others[None, :, :2])
    opposite = torch.minimum(some[:, None, 2:4], others[None, :, 2:4])
    shared = (opposite - corner + more).clamp(min=0).prod(2)
    areas = [(these[:, 2:4] - these[:, :2] + more).prod(1) for these in (some, others)]
    first, second = areas[0][:, None], areas[1][None]
    whole = torch.minimum(first, second) if smaller else first + second - shared
    return (shared / whole > overlap) & (of_some[:, None] == of_others[None])
