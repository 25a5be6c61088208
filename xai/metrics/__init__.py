"""How faithful a map is: perturbation curves and stricter tests, each under a named, hashed protocol."""

from xai.metrics.base import METRICS, MetricInfo, list_metrics, register

__all__ = ["METRICS", "MetricInfo", "list_metrics", "register"]
