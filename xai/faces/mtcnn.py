"""MTCNN (Zhang, Zhang, Li, Qiao 2016, arXiv 1604.02878): three small networks, each checking the one before.

The P-net looks at every place and size, the R-net and the O-net at what is left, the O-net also for five
points. Numbers that the paper leaves open are those with which the weights were published.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CELL, STRIDE = 12, 2  # pixels that the P-net sees, and from one place to the next
FACTOR = 0.709  # from one size of the pyramid to the next: about half the area
THRESHOLDS = (0.6, 0.7, 0.7)  # of the face's probability, after each network
AT_ONCE = 512  # candidates in one pass

BLOCK = 1024  # rectangles compared with all those before them at once
WINDOWS = 512  # resampled at once


@dataclass(frozen=True)
class Found:
    """Faces of several images.

    Args:
        image: (n,) which image.
        boxes: (n, 4) left, top, right, bottom in pixels.
        scores: (n,) probability.
        points: (n, 5, 2) x and y: eyes, nose, corners of the mouth, left before right, where the O-net saw
            them; whole numbers are centres of pixels.
        published: (n, 5, 2) the same as the weights' package reckons them: in the box before it is cut to
            whole pixels and to the image, which puts them about a pixel further right and down.
    """

    image: Tensor
    boxes: Tensor
    scores: Tensor
    points: Tensor
    published: Tensor


class CascadeNet(nn.Module):
    """One of the three: convolutions, perhaps a dense layer, and linear heads.

    Args:
        convolutions: (inputs, outputs, kernel, size of the max pooling after it or 0).
        dense: (inputs, outputs) of the dense layer; None for a network that is applied at every place.
        heads: Outputs by name; "face" is the one whose softmax says no or yes.
    """

    def __init__(
        self,
        convolutions: list[tuple[int, int, int, int]],
        dense: tuple[int, int] | None,
        heads: Mapping[str, int],
    ):
        super().__init__()
        trunk: dict[str, nn.Module] = {}
        for number, (inputs, outputs, kernel, pool) in enumerate(convolutions, 1):
            trunk |= {
                f"conv{number}": nn.Conv2d(inputs, outputs, kernel),
                f"prelu{number}": nn.PReLU(outputs),
            }
            if pool:
                trunk[f"pool{number}"] = nn.MaxPool2d(pool, 2, ceil_mode=True)
        last = convolutions[-1][1]
        if dense is not None:
            number, last = len(convolutions) + 1, dense[1]
            trunk |= {
                "columns": _Columns(),
                f"dense{number}": nn.Linear(*dense),
                f"prelu{number}": nn.PReLU(last),
            }
        self.trunk = nn.Sequential(OrderedDict(trunk))
        self.heads = nn.ModuleDict(
            {
                name: nn.Conv2d(last, outputs, 1) if dense is None else nn.Linear(last, outputs)
                for name, outputs in heads.items()
            }
        )

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(n, 3, H, W) in [0, 255] → output by head, `face` as the probability (n, …) of a face."""
        features = self.trunk((pixels - 127.5) / 128)
        found = {name: head(features) for name, head in self.heads.items()}
        return found | {"face": found["face"].softmax(1)[:, 1]}


class _Columns(nn.Module):
    """Features column by column in one row, as the weights were trained (with Matlab's order)."""

    def forward(self, features: Tensor) -> Tensor:
        return features.permute(0, 3, 2, 1).flatten(1)


class MTCNN(nn.Module):
    """The cascade; `xai.models.fetch_faces` names its weights."""

    def __init__(self):
        super().__init__()
        self.pnet = CascadeNet([(3, 10, 3, 2), (10, 16, 3, 0), (16, 32, 3, 0)], None, {"face": 2, "box": 4})
        self.rnet = CascadeNet(
            [(3, 28, 3, 3), (28, 48, 3, 3), (48, 64, 2, 0)], (576, 128), {"face": 2, "box": 4}
        )
        self.onet = CascadeNet(
            [(3, 32, 3, 3), (32, 64, 3, 3), (64, 64, 3, 2), (64, 128, 2, 0)],
            (1152, 256),
            {"face": 2, "box": 4, "points": 10},
        )

    @torch.no_grad()
    def forward(self, images: Tensor, smallest: float) -> Found:
        """Find the faces of images of one size.

        Args:
            images: (B, 3, H, W) uint8, RGB.
            smallest: Side of the smallest face looked for, in pixels.
        """
        sums = summed(images)
        size = images.shape[3], images.shape[2]
        index, boxes = self._propose(sums, size, smallest)

        index, boxes, windows = _visible(index, boxes, size)
        answer = _in_parts(self.rnet, resample(sums, index, windows, (24, 24)))
        passed = answer["face"] > THRESHOLDS[1]
        index, boxes, scores, moved = (
            index[passed],
            boxes[passed],
            answer["face"][passed],
            answer["box"][passed],
        )
        best = suppress(boxes, scores, index, 0.7)
        index, boxes = index[best], _square(_moved(boxes[best], moved[best]))

        index, boxes, windows = _visible(index, boxes, size)
        answer = _in_parts(self.onet, resample(sums, index, windows, (48, 48)))
        passed = answer["face"] > THRESHOLDS[2]
        index, boxes, scores = index[passed], boxes[passed], answer["face"][passed]
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        shares = answer["points"][passed].view(-1, 2, 5).transpose(1, 2)
        published = shares * sides[:, None] + boxes[:, None, :2] - 1
        seen = windows[passed].float()
        points = shares * (seen[:, 2:] - seen[:, :2])[:, None] + seen[:, None, :2] - 0.5
        boxes = _moved(boxes, answer["box"][passed])
        # from the end: of probabilities that are both 1 in float32 the last counts, as in the package
        best = len(index) - 1 - suppress(boxes.flip(0), scores.flip(0), index.flip(0), 0.7, smaller=True)
        return Found(index[best], boxes[best], scores[best], points[best], published[best])

    def _propose(self, sums: Tensor, size: tuple[int, int], smallest: float) -> tuple[Tensor, Tensor]:
        """Squares that may hold a face, and whose image they lie in."""
        whole = torch.tensor([[0, 0, *size]], device=sums.device).expand(len(sums), -1)
        every = torch.arange(len(sums), device=sums.device)
        indices, boxes, scores = [], [], []
        scale = CELL / smallest
        while min(size) * scale >= CELL:
            small = resample(sums, every, whole, (int(size[1] * scale + 1), int(size[0] * scale + 1)))
            answer = self.pnet(small)
            found = (answer["face"] >= THRESHOLDS[0]).nonzero()
            place = found[:, [2, 1]].float() * STRIDE
            box = torch.cat([(place + 1) / scale, (place + CELL) / scale], 1).floor()
            score, of = answer["face"][tuple(found.T)], found[:, 0]
            moved = answer["box"].permute(0, 2, 3, 1)[tuple(found.T)]
            best = suppress(box, score, of, 0.5)
            indices.append(of[best])
            boxes.append(torch.cat([box, moved], 1)[best])
            scores.append(score[best])
            scale *= FACTOR
        if not boxes:
            return every[:0], torch.zeros(0, 4, device=sums.device)
        index, box = torch.cat(indices), torch.cat(boxes)
        best = suppress(box[:, :4], torch.cat(scores), index, 0.7)
        index, box, moved = index[best], box[best, :4], box[best, 4:]
        sides = (box[:, 2:] - box[:, :2]).repeat(1, 2)
        return index, _square(box + moved * sides)


def _in_parts(net: CascadeNet, pixels: Tensor) -> dict[str, Tensor]:
    parts = [net(part) for part in pixels.split(AT_ONCE)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _moved(boxes: Tensor, moved: Tensor) -> Tensor:
    """Rectangles whose sides are moved by shares of their width and height."""
    return boxes + moved * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _square(boxes: Tensor) -> Tensor:
    """The square around each rectangle's centre that is as large as its longer side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.amax(1, keepdim=True)
    corner = boxes[:, :2] + sides / 2 - longest / 2
    return torch.cat([corner, corner + longest], 1)


def _visible(index: Tensor, boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """What lies in the image at all, and as windows of whole pixels; the first pixel of a box is number 1."""
    whole = boxes.long()
    windows = torch.cat(
        [whole[:, :2].clamp(min=1) - 1, whole[:, 2:].minimum(torch.tensor(size, device=boxes.device))], 1
    )
    seen = (windows[:, 2:] > windows[:, :2]).all(1)
    return index[seen], boxes[seen], windows[seen]


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
