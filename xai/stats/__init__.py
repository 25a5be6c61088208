"""What the scores of a benchmark allow one to say, and what they do not. Arrays in, dataclasses out.

Needs SciPy (`pip install 'vit-xai[bench]'`), imported where it is used; never torch.
"""

from xai.stats.agreement import metric_agreement, rank_stability, split_half
from xai.stats.analysis import analyse
from xai.stats.curves import Band, mean_curve
from xai.stats.maps import disagreement, map_agreement
from xai.stats.paired import adjust, compare_paired
from xai.stats.results import (
    Agreement,
    Analysis,
    Comparison,
    Friedman,
    MethodSummary,
    Pair,
    SplitHalf,
)

__all__ = [
    "Agreement",
    "Analysis",
    "Band",
    "Comparison",
    "Friedman",
    "MethodSummary",
    "Pair",
    "SplitHalf",
    "adjust",
    "analyse",
    "compare_paired",
    "disagreement",
    "map_agreement",
    "mean_curve",
    "metric_agreement",
    "rank_stability",
    "split_half",
]
