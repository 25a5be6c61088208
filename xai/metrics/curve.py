"""A curve of model values over the share of removed units, and the area under it."""

from dataclasses import dataclass

from torch import Tensor

from xai.metrics.perturbation import Scores
from xai.metrics.protocol import Protocol


@dataclass(frozen=True, eq=False)
class Curve:
    """One map's curve on each of B images; float64 (flags: bool, classes: long) on the CPU.

    Args:
        values: (B, K) model values; K = steps + 1 where the protocol has both ends.
        fractions: (K,) true share of units removed, for insertion: inserted.
        auc: (B,) area by the protocol's rule.
        saturated: (B,) the curve moves less than the protocol's floor: it ranks nothing.
        tie_fraction: (B,) share of units whose relevance is not unique in the map.
        clean: (B,) value of the image as it is.
        baseline: (B,) value with everything removed.
        target: (B,) the class that was followed.
        protocol: How it was computed.
    """

    values: Tensor
    fractions: Tensor
    auc: Tensor
    saturated: Tensor
    tie_fraction: Tensor
    clean: Tensor
    baseline: Tensor
    target: Tensor
    protocol: Protocol


def curve_of(scores: Scores, target: Tensor, protocol: Protocol) -> Curve:
    """The curve of the only method in scores that have curves."""
    if scores.curve is None or scores.fractions is None:
        raise ValueError("These scores have no curve.")
    return Curve(
        values=scores.curve[0],
        fractions=scores.fractions,
        auc=scores.value[0],
        saturated=scores.saturated[0],
        tie_fraction=scores.tie_fraction[0],
        clean=scores.clean,
        baseline=scores.baseline,
        target=target,
        protocol=protocol,
    )


def area(values: Tensor, fractions: Tensor, rule: str) -> Tensor:
    """Area under curves (..., K) over shares (K,).

    "trapezoid": over the shares as they are, so a curve that stops at 0.9 has at most 0.9 of the area.
    "uniform": as if all steps were equal, from 0 to 1. "unnormalised": each step counts 1. "mean": of points.
    """
    if rule == "mean":
        return values.mean(-1)
    middles = (values[..., 1:] + values[..., :-1]) / 2
    if rule == "uniform":
        return middles.mean(-1)
    if rule == "unnormalised":
        return middles.sum(-1)
    return (middles * fractions.diff()).sum(-1)
