"""States to perturb, the stream's answer worked out one state at a time, and a model that counts."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from vit_zoo import CLASSES

from xai.perturb import (
    Operator,
    Request,
    States,
    image_seeds,
    make_operator,
    rank_units,
)

_SEARCH = {"samples": 2, "iterations": 2, "sigma": 0.1}  # steps so large that rounding turns no sign
SMALL = {"blur": {"kernel": 5, "sigma": 2.0}, "attack": _SEARCH, "adversarial": _SEARCH}
METHODS = 2


def operator(name: str) -> Operator:
    return make_operator(name, **SMALL.get(name, {}))


def states(
    x: Tensor, units: tuple[int, int], steps: int = 4, methods: int = METHODS, seed: int = 0
) -> States:
    """Deletion, insertion and groups of random maps; images in no special order."""
    images, count = len(x), units[0] * units[1]
    relevance = torch.randn(methods * images, count, generator=torch.Generator().manual_seed(seed))
    image = torch.arange(images).repeat(methods)
    seeds = image_seeds(x, 0)
    ranks = rank_units(relevance, [seeds[i] for i in image]).view(-1, *units)
    cuts = [count * k // steps for k in range(steps + 1)]
    bounds = [(0, k) for k in cuts] + [(k, count) for k in cuts] + list(pairwise(cuts))
    low, high = torch.tensor(bounds * len(ranks), dtype=torch.int32).T
    return States(ranks, image, torch.arange(len(ranks)).repeat_interleave(len(bounds)), low, high)


def by_hand(model: nn.Module, x: Tensor, targets: Tensor, request: Request, seed: int = 0) -> Tensor:
    """State by state, without the stream: one forward pass each."""
    table, values = request.states, []
    seeds = image_seeds(x, seed)
    with torch.no_grad():
        baseline = request.operator.prepare(model, x, seeds)
        for row, low, high in zip(table.row.tolist(), table.low.tolist(), table.high.tolist(), strict=True):
            image = int(table.image[row])
            removed = (table.rankings[row] >= low) & (table.rankings[row] < high)
            one = slice(image, image + 1)
            logits = request.operator.logits(
                model,
                x[one],
                None if baseline is None else baseline[one],
                removed[None],
                torch.tensor(seeds[one]),
            )[0]
            target, others = targets[image], torch.arange(len(logits)) != targets[image]
            value = {
                "logit": logits[target],
                "log_odds": logits[target] - logits[others].exp().sum().log(),
                "correct": (logits.argmax() == target).float(),
            }[request.score]
            values.append(value)
    return torch.stack(values)


class Counting(nn.Module):
    """A linear classifier on patch means that knows how many images it saw, and in which batches."""

    patch_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(48, CLASSES)
        nn.init.normal_(self.linear.weight, generator=torch.Generator().manual_seed(0))
        self.norm = nn.BatchNorm1d(48)
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        return self.linear(self.norm(nn.functional.avg_pool2d(x, 8).flatten(1)))
