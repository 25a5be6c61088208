"""What makes a map doubtful by its numbers: nearly constant, on sink tokens, not the sum it should have.

A sink token is a patch's whose length is an outlier among those of its image.
"""

import numpy as np

from xai.core.explanation import Explanation

NEAR_CONSTANT = 0.1
"""Relative range below which a map is said to be nearly constant.

Colours are given out by value over the largest absolute value. Where all patches lie within a tenth of it,
they have much the same colour: the picture tells no patch from another, and their order rests on little. The
number is ours. Maps that tell patches apart are far from it: of the shipped images under the shipped
detector, maps of attention rollout have a relative range of 0.92 to 0.98, those of other methods a larger
one.
"""

SINK_RATIO = 3.0
"""Length of a token, over the median of its image's patches, above which it is an outlier.

Darcet et al. 2024, arXiv 2309.16588, section 2.1, and Jiang et al. 2025, arXiv 2506.08010, find them in large
models, about ten times as long as others, and choose for each model by hand where they begin; a ratio is
ours, so that one number serves models of unlike scale.
"""


def relative_range(values: np.ndarray) -> float:
    """(largest − smallest) / largest absolute value: from 0, of a constant map or one of zeros, to 2."""
    largest = float(np.abs(values).max())
    return float(values.max() - values.min()) / largest if largest else 0.0


def is_near_constant(values: np.ndarray) -> bool:
    """Whether relevance is much the same everywhere; a map of zeros, which shows none, is another matter."""
    return bool(values.any()) and relative_range(values) < NEAR_CONSTANT


INCOMPLETE = 0.5
"""Share of the score's change that a map's sum may be off by; the number is ours.

Where evidence for and against nearly cancels, a twentieth of all relevance stands for the change.
"""

ROUNDING = {"bfloat16": 0.02}
"""Share of the largest logit that a change of the score may be off by because logits are rounded, by type.

Of two classes at two points four logits are rounded, each by half a unit in the last place: in bfloat16
together by up to 1.6 %. An image that is already the baseline, such as one of a single colour, changes by no
more than that.
"""
OTHERS = 0.002  # float16: 0.2 %; float32: far less, but such a change says nothing either


def is_incomplete(explanation: Explanation, name: str) -> bool:
    """Whether a map is far from the change of the score to which it should sum, where that is known."""
    if (change := explanation.score_changes.get(name)) is None:
        return False
    relevance = explanation.maps[name].astype(float)
    scale = max(abs(change), 0.05 * float(np.abs(relevance).sum()))
    rounded = ROUNDING.get(explanation.model.get("dtype", ""), OTHERS) * float(
        np.abs(explanation.logits).max()
    )
    return abs(float(relevance.sum()) - change) > max(INCOMPLETE * scale, rounded)


def sinks_of(explanation: Explanation) -> np.ndarray | None:
    """(rows, cols) which patches' tokens are longer than `SINK_RATIO`; None if not known."""
    return None if explanation.token_norms is None else explanation.token_norms > SINK_RATIO


def sink_share(explanation: Explanation, name: str) -> float | None:
    """Share of a map's relevance, regardless of sign, that lies on sink tokens; None if not known."""
    sinks, relevance = sinks_of(explanation), np.abs(explanation.maps[name])
    if sinks is None or sinks.shape != relevance.shape:
        return None
    return float(relevance[sinks].sum() / (relevance.sum() or 1.0))
