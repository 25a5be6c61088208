"""How faithful a map is: perturbation curves and stricter tests, each under a named, hashed protocol."""

from xai.metrics.base import Curve, MetricInfo, PerturbationMetric, Scores
from xai.metrics.captum_metrics import infidelity, sensitivity_max
from xai.metrics.context import Context, predict
from xai.metrics.correlation import faithfulness_correlation
from xai.metrics.curves import area, comprehensiveness, deletion, insertion, lerf, morf, srg, sufficiency
from xai.metrics.greedy import greedy_forwards, greedy_order
from xai.metrics.localisation import average_precision, iou, mass_accuracy, pointing_game, rank_accuracy
from xai.metrics.presets import PROTOCOLS
from xai.metrics.protocol import Protocol, protocol
from xai.metrics.randomization import Randomization, randomization
from xai.metrics.registry import (
    METRICS,
    PERTURBATION_METRICS,
    evaluate,
    list_metrics,
    perturbation_metric,
    register,
)
from xai.metrics.saco import saco
from xai.metrics.similarity import class_sensitivity
from xai.metrics.sparsity import entropy, gini

__all__ = [
    "METRICS",
    "PERTURBATION_METRICS",
    "PROTOCOLS",
    "Context",
    "Curve",
    "MetricInfo",
    "PerturbationMetric",
    "Protocol",
    "Randomization",
    "Scores",
    "area",
    "average_precision",
    "class_sensitivity",
    "comprehensiveness",
    "deletion",
    "entropy",
    "evaluate",
    "faithfulness_correlation",
    "gini",
    "greedy_forwards",
    "greedy_order",
    "infidelity",
    "insertion",
    "iou",
    "lerf",
    "list_metrics",
    "mass_accuracy",
    "morf",
    "perturbation_metric",
    "pointing_game",
    "predict",
    "protocol",
    "randomization",
    "rank_accuracy",
    "register",
    "saco",
    "sensitivity_max",
    "srg",
    "sufficiency",
]
