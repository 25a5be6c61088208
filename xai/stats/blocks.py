"""From scores of images to scores of blocks, which are independent of each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xai.core import UsageError
from xai.stats.verdict import Unit

Weights = Literal["groups", "images"]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Scores of independent blocks: images, or groups of images such as the frames of one video.

    Args:
        values: (blocks, methods) mean score within each block.
        weights: (blocks,) how often a block counts in a mean: 1, or its number of images.
        images: That were kept.
        excluded: Images that lack the score of some method.
        scored: (methods,) bool of the methods given: whether there is any score; `values` holds these only.
        unit: "image" or "group".
    """

    values: np.ndarray
    weights: np.ndarray
    images: int
    excluded: int
    scored: np.ndarray
    unit: Unit

    @classmethod
    def of(
        cls, values: np.ndarray, groups: Sequence[str] | np.ndarray | None, weights: Weights = "groups"
    ) -> "Blocks":
        """Keep the images that every method has a score of, and average within groups.

        Args:
            values: (images, methods); NaN or infinity where there is no score.
            groups: (images,) what each image is a frame or crop of; None: images are independent.
            weights: Whether every group or every image counts once in a mean.
        """
        values = np.asarray(values, np.float64)
        if values.ndim != 2:
            raise UsageError(f"Scores must be (images, methods), not of shape {values.shape}.")
        if weights not in ("groups", "images"):
            raise UsageError(f"Weights must be 'groups' or 'images', not {weights!r}.")
        if groups is not None and len(groups) != len(values):
            raise UsageError(f"{len(groups)} groups were given for {len(values)} images.")
        finite = np.isfinite(values)
        scored = np.any(finite, axis=0)
        complete = finite[:, scored].all(1) & scored.any()
        values, excluded = values[complete][:, scored], int((~complete).sum())
        if groups is None:
            return cls(values, np.ones(len(values)), len(values), excluded, scored, "image")
        _, index, sizes = np.unique(np.asarray(groups)[complete], return_inverse=True, return_counts=True)
        sums = np.zeros((len(sizes), values.shape[1]))
        np.add.at(sums, index, values)
        ones = np.ones(len(sizes))
        return cls(
            sums / sizes[:, None],
            sizes.astype(float) if weights == "images" else ones,
            len(values),
            excluded,
            scored,
            "group",
        )

    def mean(self) -> np.ndarray:
        """(methods,) weighted mean over blocks."""
        return self.weights @ self.values / self.weights.sum()
