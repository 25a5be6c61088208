"""Whether a map or a region is about the model: take patches away, and as many random ones instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai.core import Margin, ModelError, derive_seed
from xai.core.language import gettext
from xai.models import Classifier
from xai.perturb import Operator, Request, States, Stream, image_seeds, make_operator, rank_units
from xai.perturb.regions import count_pieces, grown_order
from xai.report.image_payload import Removal

SHARE = 0.2  # of the patches is removed
DRAWS = 10  # random choices of as many patches
VALUE = "margin"
LARGEST = 1 / 3  # of the cells; a region of more leaves no room for random ones of its size elsewhere


class RemovalCheck:
    """The removal check of one image after the other, with one operator."""

    def __init__(self, classifier: Classifier, seed: int):
        self.classifier = classifier
        self.stream = Stream(classifier, seed=seed)
        self.operator: Operator | None = None

    def __call__(
        self, pixels: Tensor, target: int, maps: Mapping[str, np.ndarray]
    ) -> tuple[Sequence[Removal], list[str]]:
        """Removals of one image (3, H, W), and a caveat where it could not be checked."""
        batch = pixels[None]
        if self.operator is None:
            self.operator = removal_operator(self.classifier, batch)
        try:
            stacked = {name: values[None] for name, values in maps.items()}
            (found,) = check_removal(
                self.stream, self.operator, batch, [target], stacked, self.classifier.labels
            )
        except ModelError as error:
            return [], [gettext("Removing patches could not be tried: {reason}", reason=error.message)]
        return found, [] if found else [gettext("Removing patches gave outputs that are not finite.")]

    def describe(self) -> dict[str, Any]:
        """What was done, JSON-ready."""
        if self.operator is None:
            return {}
        return {
            "removal_check": {
                "operator": self.operator.describe(),
                "value": VALUE,
                "share_of_patches": SHARE,
                "random_draws": DRAWS,
            }
        }


def check_removal(
    stream: Stream,
    operator: Operator,
    pixels: Tensor,
    targets: Sequence[int],
    maps: Mapping[str, np.ndarray],
    labels: Sequence[str],
) -> list[list[Removal]]:
    """The margin of a class with the most relevant patches removed, and with random ones removed.

    The margin is the logit of the class minus the log-sum-exp of all others. All methods of an image share
    its random draws, which depend on the image's content and the stream's seed alone; equal relevance is
    ordered at random, by the same seed. A method costs one state more per image than the 11 shared ones.

    Args:
        stream: Over the classifier.
        operator: What removing means, see `removal_operator`.
        pixels: (B, 3, H, W).
        targets: Class index per image.
        maps: Method → (B, rows, cols) relevance.
        labels: Class names.

    Returns:
        Per image the removals, in the order of `maps`; none for an image with an answer that is not finite.

    Raises:
        ModelError: One state does not fit into memory.
    """
    stacked = np.stack(list(maps.values()), axis=1)  # (B, methods, rows, cols)
    count, methods, rows, cols = stacked.shape
    patches = rows * cols
    removed = max(1, round(SHARE * patches))
    seeds = image_seeds(pixels, stream.seed)
    rankings = [
        _rankings(torch.from_numpy(np.ascontiguousarray(of_image)).flatten(1).double(), seed)
        for of_image, seed in zip(stacked, seeds, strict=True)
    ]
    per_image = methods + DRAWS
    states = States(
        rankings=torch.cat(rankings).reshape(-1, rows, cols),
        image=torch.arange(count).repeat_interleave(per_image),
        # the first state of an image removes nothing
        row=torch.cat([i * per_image + torch.tensor([0, *range(per_image)]) for i in range(count)]),
        low=torch.zeros(count * (per_image + 1), dtype=torch.int32),
        high=torch.tensor([0, *[removed] * per_image], dtype=torch.int32).repeat(count),
    )
    (values,) = stream.evaluate(pixels, torch.tensor(targets), [Request(operator, states)])
    return [
        [
            Removal(
                row=name,
                target=labels[target],
                value=VALUE,
                operator=operator.name,
                removed=removed,
                patches=patches,
                clean=margins[0],
                top=margins[1 + place],
                random=margins[1 + methods :],
            )
            for place, name in enumerate(maps)
            if np.isfinite(margins).all()
        ]
        for target, margins in zip(targets, values.reshape(count, -1).tolist(), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class RemovedRegions:
    """Values of an image as it is, without each region, and without random regions instead.

    Args:
        clean: Of the image as it is.
        without: (regions,) NaN of a region without cells.
        random: (regions, draws), NaN of regions that have no random ones beside them.
        states: Images that went through the model.
    """

    clean: float
    without: np.ndarray
    random: np.ndarray
    states: int


def remove_regions(
    stream: Stream,
    operator: Operator,
    pixels: Tensor,
    target: int,
    regions: np.ndarray,
    purpose: str,
    draws: int,
) -> RemovedRegions:
    """The margin of a class without each region, and without random regions elsewhere.

    The margin is the logit of the class minus the log-sum-exp of all others. Beside a region stand `draws`
    random ones of as many cells, none of them the region's, grown from as many cells as the region has
    pieces; regions of more than a third of all cells have none.

    Args:
        stream: Over the classifier; its seed, with the image's content and the purpose, gives the regions.
        operator: What removing means, see `removal_operator`.
        pixels: (1, 3, H, W).
        target: Class index.
        regions: (regions, rows, cols) bool.
        purpose: What the regions are; other purposes draw other ones.
        draws: Random regions beside each.

    Raises:
        ModelError: One state does not fit into memory, or an output is not finite.
    """
    count, rows, cols = regions.shape
    sizes = regions.sum((1, 2))
    with_control = np.flatnonzero((sizes > 0) & (sizes <= LARGEST * rows * cols))
    rng = np.random.default_rng(derive_seed(image_seeds(pixels, stream.seed)[0], purpose))
    repeated = with_control.repeat(draws)
    own_first = (~regions).reshape(count, -1).argsort(1, kind="stable").argsort(1).astype(np.int32)
    rankings = own_first.reshape(regions.shape)
    if len(repeated):
        grown = grown_order(~regions[repeated], count_pieces(regions)[repeated], rng)
        rankings = np.concatenate([rankings, grown])
    table = States(
        rankings=torch.from_numpy(rankings),
        image=torch.zeros(len(rankings), dtype=torch.long),
        row=torch.tensor([0, *range(len(rankings))]),
        low=torch.zeros(len(rankings) + 1, dtype=torch.int32),
        # the first state removes nothing
        high=torch.tensor([0, *sizes, *sizes[repeated]], dtype=torch.int32),
    )
    before = stream.forwards
    (values,) = stream.evaluate(pixels, torch.tensor([target]), [Request(operator, table)])
    margins = values.double().numpy()
    if not np.isfinite(margins).all():
        raise ModelError("the model gave outputs that are not finite.")
    random = np.full((count, draws), np.nan)
    random[with_control] = margins[1 + count :].reshape(len(with_control), draws)
    without = np.where(sizes > 0, margins[1 : 1 + count], np.nan)
    return RemovedRegions(float(margins[0]), without, random, stream.forwards - before)


def rank_p(without: np.ndarray, random: np.ndarray) -> np.ndarray:
    """One-sided rank p of each region: how rare so low a value is among random regions and itself.

    Args:
        without: (regions,).
        random: (regions, draws); regions with NaN get NaN.
    """
    lower = (random <= without[:, None]).sum(1)
    known = np.isfinite(random).all(1) & np.isfinite(without)
    return np.where(known, (1 + lower) / (1 + random.shape[1]), np.nan)


def removal_operator(classifier: Classifier, pixels: Tensor) -> Operator:
    """Hiding patches from attention where the model can do without them, else their mean colour.

    Args:
        classifier: The model.
        pixels: (B, 3, H, W), of which one image is tried.
    """
    token = make_operator("token")
    try:
        token.prepare(classifier, pixels[:1].to(classifier.device), [0])
    except ModelError:
        return make_operator("mean")
    return token


def class_of(target: int | Margin) -> int:
    """The class whose margin tells whether a map is about it; of a contrast the one that it speaks for."""
    return target.positive if isinstance(target, Margin) else target


def _rankings(maps: Tensor, seed: int) -> Tensor:
    """(methods + draws, patches) ranks: by relevance, then at random."""
    draws = [derive_seed(seed, "removal", draw) for draw in range(DRAWS)]
    nothing = torch.zeros(DRAWS, maps.shape[1], dtype=maps.dtype)
    return torch.cat([rank_units(maps, [seed] * len(maps)), rank_units(nothing, draws)])
