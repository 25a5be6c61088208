"""What the scores of a benchmark allow one to say, and what they do not. Arrays in, dataclasses out.

Needs SciPy (`pip install 'vit-xai[bench]'`), imported where it is used; never torch.
"""

from xai.stats.agreement import disagreement, map_agreement, metric_agreement, rank_stability, split_half
from xai.stats.analysis import analyse
from xai.stats.curves import Band, mean_curve
from xai.stats.hierarchical import HierarchicalMeans, hierarchical_means
from xai.stats.maps import Flicker, map_flicker
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
from xai.stats.serial import from_json, to_json
from xai.stats.summary import (
    Exclusion,
    MaskWarning,
    MethodConfiguration,
    MethodCost,
    MetricResult,
    ModelOutputs,
    Summary,
    mask_warning,
)
from xai.stats.verdict import Outcome, Verdict
from xai.stats.words import phrase, phrase_comparison, short

__all__ = [
    "Agreement",
    "Analysis",
    "Band",
    "Comparison",
    "Exclusion",
    "Flicker",
    "Friedman",
    "HierarchicalMeans",
    "MaskWarning",
    "MethodConfiguration",
    "MethodCost",
    "MethodSummary",
    "MetricResult",
    "ModelOutputs",
    "Outcome",
    "Pair",
    "SplitHalf",
    "Summary",
    "Verdict",
    "adjust",
    "analyse",
    "compare_paired",
    "disagreement",
    "from_json",
    "hierarchical_means",
    "map_agreement",
    "map_flicker",
    "mask_warning",
    "mean_curve",
    "metric_agreement",
    "phrase",
    "phrase_comparison",
    "rank_stability",
    "short",
    "split_half",
    "to_json",
]
