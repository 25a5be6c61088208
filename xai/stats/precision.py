"""What scores of lower precision may have shifted: measured on some images, bounded, allowed for in tests.

Let d be a method's score minus that of full precision on the same image. What of d differs from image to
image scatters the scores as any noise does, and averages out; intervals and tests have it in them, since they
look at scores that have it. What is common to all images is a bias, which no number of images takes away. Of
two methods compared on the same images only the difference of their d counts, paired: its mean is, at the
level of the tests and over all comparisons at once (Bonferroni), no larger than |mean| + t · spread / √n of
the n measured images or groups (Student's t). A test then allows for that much: the differences are moved by
it towards none, and methods count as told apart if they still are. That is the interval of the effect,
widened by the bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from xai.stats.blocks import Blocks
from xai.stats.bootstrap import scipy_special


@dataclass(frozen=True)
class PrecisionError:
    """One method's scores minus those of full precision on the same images, in the metric's units.

    Args:
        images: Measured.
        bias: Mean.
        spread: Standard deviation; None of one image.
        low: Smallest.
        high: Largest.
    """

    images: int
    bias: float
    spread: float | None
    low: float
    high: float


@dataclass(frozen=True)
class PrecisionReport:
    """What lower precision did to one metric under one protocol.

    Args:
        dtype: That perturbed images were computed in.
        images: On which full precision was computed too.
        blocks: Independent images or groups of them among these.
        errors: By method.
        tolerance: Largest shift of a mean difference between two methods that this does not exclude; None
            where fewer than two independent images are measured: any.
        held_back: Pairs that the tests tell apart and such a shift could explain.
    """

    dtype: str
    images: int
    blocks: int
    errors: Mapping[str, PrecisionError] = field(default_factory=dict)
    tolerance: float | None = None
    held_back: int = 0


@dataclass(frozen=True, eq=False)
class PrecisionSample:
    """Scores of lower precision minus those of full precision.

    Args:
        dtype: The lower one.
        methods: Names.
        differences: (images, methods) of one metric; NaN where a score is missing.
        groups: (images,) what each image is a frame or crop of; None: images are independent.
    """

    dtype: str
    methods: Sequence[str]
    differences: np.ndarray
    groups: Sequence[str] | None = None

    def bound(self, first: str, second: str | None, comparisons: int, alpha: float) -> float:
        """How far two methods' mean difference may be shifted; infinite where that is not known.

        Args:
            first: Method.
            second: The other; None: full precision of the same.
            comparisons: That are made at once.
            alpha: Level at which all bounds hold together.
        """
        if not {first, *([] if second is None else [second])} <= {*self.methods}:
            return np.inf
        column = self._column(first) - (0 if second is None else self._column(second))
        blocks = Blocks.of(column[:, None], self.groups).values
        if len(blocks) < 2 or not blocks.shape[1]:
            return np.inf
        quantile = scipy_special().stdtrit(len(blocks) - 1, 1 - alpha / (2 * max(1, comparisons)))
        return float(abs(blocks.mean()) + quantile * blocks.std(ddof=1) / np.sqrt(len(blocks)))

    def report(self, tolerance: float, held_back: int) -> PrecisionReport:
        """In numbers; see `PrecisionReport`."""
        measured = [bool(one.any()) for one in np.isfinite(self.differences)]
        groups = range(len(measured)) if self.groups is None else self.groups
        return PrecisionReport(
            dtype=self.dtype,
            images=sum(measured),
            blocks=len({group for group, one in zip(groups, measured, strict=True) if one}),
            errors={name: error for name in self.methods if (error := self._error(name)) is not None},
            tolerance=tolerance if np.isfinite(tolerance) else None,
            held_back=held_back,
        )

    def _column(self, name: str) -> np.ndarray:
        return self.differences[:, list(self.methods).index(name)]

    def _error(self, name: str) -> PrecisionError | None:
        found = self._column(name)
        found = found[np.isfinite(found)]
        if not len(found):
            return None
        spread = float(found.std(ddof=1)) if len(found) > 1 else None
        return PrecisionError(len(found), float(found.mean()), spread, float(found.min()), float(found.max()))
