"""How faithful a map is: perturbation curves and stricter tests, each under a named, hashed protocol."""

from xai.metrics.base import METRICS, MetricInfo, list_metrics, register
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
from xai.metrics.perturbation import PERTURBATION_METRICS, PerturbationMetric, Scores, perturbation_metric
from xai.metrics.presets import PROTOCOLS, protocol
from xai.metrics.protocol import Protocol

__all__ = [
    "METRICS",
    "PERTURBATION_METRICS",
    "PROTOCOLS",
    "Context",
    "Curve",
    "MetricInfo",
    "PerturbationMetric",
    "Protocol",
    "Scores",
    "area",
    "comprehensiveness",
    "deletion",
    "evaluate",
    "faithfulness_correlation",
    "greedy_forwards",
    "greedy_order",
    "insertion",
    "lerf",
    "list_metrics",
    "morf",
    "perturbation_metric",
    "predict",
    "protocol",
    "register",
    "saco",
    "srg",
    "sufficiency",
]
