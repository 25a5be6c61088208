"""MTCNN (Zhang, Zhang, Li, Qiao 2016, arXiv 1604.02878): three small networks, each checking the one before.

The P-net looks at every place and size, the R-net and the O-net at what is left, the O-net also for five
points. Numbers that the paper leaves open are those with which the weights were published.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xai.faces.boxes import resample, summed, suppress

CELL, STRIDE = 12, 2  # pixels that the P-net sees, and from one place to the next
FACTOR = 0.709  # from one size of the pyramid to the next: about half the area
THRESHOLDS = (0.6, 0.7, 0.7)  # of the face's probability, after each network
AT_ONCE = 512  # candidates in one pass


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
