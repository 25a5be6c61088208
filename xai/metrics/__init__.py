"""How faithful a map is: perturbation curves and stricter tests, each under a named, hashed protocol."""

from xai.metrics.base import METRICS, MetricInfo, list_metrics, register
from xai.metrics.captum_metrics import infidelity, sensitivity_max
from xai.metrics.class_sensitivity import class_sensitivity
from xai.metrics.context import Context
from xai.metrics.curve import Curve, area
from xai.metrics.evaluate import evaluate, predict
from xai.metrics.functions import (
    comprehensiveness,
    deletion,
    faithfulness_correlation,
    insertion,
    lerf,
    morf,
    saco,
    srg,
    sufficiency,
)
from xai.metrics.greedy import greedy_forwards, greedy_order
from xai.metrics.localisation import average_precision, iou, mass_accuracy, pointing_game, rank_accuracy
from xai.metrics.perturbation import PERTURBATION_METRICS, PerturbationMetric, Scores, perturbation_metric
from xai.metrics.presets import PROTOCOLS, protocol
from xai.metrics.protocol import Protocol
from xai.metrics.randomization import Randomization, randomization
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
