"""Sink tokens: patches whose tokens are outliers by length, and how much of a map lies on them."""

import numpy as np

from xai.core.explanation import Explanation

SINK_RATIO = 3.0
"""Length of a token, over the median of its image's patches, above which it is an outlier.

Darcet et al. 2024, arXiv 2309.16588, section 2.1, and Jiang et al. 2025, arXiv 2506.08010, find them in large
models, about ten times as long as others, and choose for each model by hand where they begin; a ratio is
ours, so that one number serves models of unlike scale.
"""


def sinks_of(explanation: Explanation) -> np.ndarray | None:
    """(rows, cols) which patches' tokens are longer than `SINK_RATIO`; None if not known."""
    return None if explanation.token_norms is None else explanation.token_norms > SINK_RATIO


def sink_share(explanation: Explanation, name: str) -> float | None:
    """Share of a map's relevance, regardless of sign, that lies on sink tokens; None if not known."""
    sinks, relevance = sinks_of(explanation), np.abs(explanation.maps[name])
    if sinks is None or sinks.shape != relevance.shape:
        return None
    return float(relevance[sinks].sum() / (relevance.sum() or 1.0))
