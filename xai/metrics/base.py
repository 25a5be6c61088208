"""What a metric says of itself, and the contract of those that are computed from perturbed images."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from xai.core.catalogue import MetricFacts
from xai.metrics.context import Context
from xai.metrics.protocol import Protocol
from xai.perturb import Operator, Request, Stream

Forwards = Callable[[int, Protocol | None], int]


def no_forwards(n_patches: int, protocol: Protocol | None = None) -> int:
    """The cost of a metric that only reads the map."""
    return 0


@dataclass(frozen=True)
class MetricInfo(MetricFacts):
    """What a metric measures, which way it points and what it costs.

    Args:
        name: See `xai.core.catalogue.MetricFacts`, also for the others.
        higher_is_better: Direction.
        range: Smallest and largest possible value; None where unbounded.
        reference: Paper, with arXiv id.
        summary: One sentence.
        needs: "perturbation", "map", "mask", "clicks", "class" or "method".
        against_random: Whether a random map's score is what a map must beat.
        forwards: (n_patches, protocol) → forward passes per image and map when it is computed alone.
        function: What computes it; set where it is registered.
        metric: The same as an object, where it is computed from perturbed states.
    """

    forwards: Forwards = no_forwards
    function: Callable[..., Any] | None = None
    metric: "PerturbationMetric | None" = None


@dataclass(frozen=True, eq=False)
class Scores:
    """A metric's numbers for M methods on B images; float64 (flags: bool) on the CPU.

    Args:
        value: (M, B); NaN for images that the protocol leaves out.
        saturated: (M, B) the model moves less than the protocol's floor: the value ranks nothing.
        tie_fraction: (M, B) share of units whose relevance is not unique.
        clean: (B,) value of the images as they are.
        baseline: (B,) value with everything removed.
        curve: (M, B, K) values along the curve, for metrics that have one.
        fractions: (K,) shares of units removed (inserted) along the curve.
    """

    value: Tensor
    saturated: Tensor
    tie_fraction: Tensor
    clean: Tensor
    baseline: Tensor
    curve: Tensor | None = None
    fractions: Tensor | None = None


@dataclass(frozen=True, eq=False)
class RawScores:
    """What a metric makes of its states: value (M, B), span (M, B) of the model's values, curve (M, B, K)."""

    value: Tensor
    span: Tensor
    curve: Tensor | None = None


class PerturbationMetric(ABC):
    """A metric of perturbed states. One object serves any number of batches; it holds no state."""

    info: ClassVar[MetricInfo]

    def requests(self, relevance: Tensor, context: Context) -> list[Request]:
        """What to ask of the stream for maps (M, B, rows, cols) or (M, B, H, W)."""
        ends = context.ends_request(context.rank(relevance), self.operator(context))
        return [ends, *self._requests(relevance, context)]

    def score(self, values: list[Tensor], relevance: Tensor, context: Context) -> Scores:
        """Scores from the stream's values (S,) to the requests."""
        clean, baseline = self._read(values[0], context).reshape(-1, 2).unbind(1)
        rest = [self._read(value, context) for value in values[1:]]
        raw = self._score(rest, clean, relevance, context)
        return Scores(
            value=raw.value
            if context.left_out is None
            else raw.value.masked_fill(context.left_out, torch.nan),
            saturated=raw.span < (context.protocol.floor or 0.0),
            tie_fraction=context.rank(relevance).ties,
            clean=clean,
            baseline=baseline,
            curve=raw.curve,
            fractions=None if raw.curve is None else context.fractions,
        )

    def operator(self, context: Context) -> Operator:
        """What removing means here."""
        return context.protocol.operator

    def _read(self, scores: Tensor, context: Context) -> Tensor:
        """Float64 values from what the stream read."""
        return context.values(scores)

    @abstractmethod
    def _requests(self, relevance: Tensor, context: Context) -> list[Request]:
        """The metric's own requests."""

    @abstractmethod
    def _score(self, values: list[Tensor], clean: Tensor, relevance: Tensor, context: Context) -> RawScores:
        """From float64 values to the metric's own requests, and the values (B,) of the clean images."""


def measure(
    metrics: Mapping[str, PerturbationMetric], stream: Stream, relevance: Tensor, context: Context
) -> dict[str, Scores]:
    """Scores by name, from one pass of the stream that computes every shared state once."""
    requests = {name: metric.requests(relevance, context) for name, metric in metrics.items()}
    joined = [request for asked in requests.values() for request in asked]
    values = iter(stream.evaluate(context.pixels, context.targets, joined))
    return {
        name: metric.score([next(values) for _ in requests[name]], relevance, context)
        for name, metric in metrics.items()
    }


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


def per_map(values: Tensor, context: Context, points: int) -> Tensor:
    """(S,) → (M, B, D, points), in the order of `Context.request`."""
    return values.reshape(-1, context.images, context.protocol.tie_draws, points)


def span(values: Tensor) -> Tensor:
    """Largest − smallest over the last axis."""
    return values.amax(-1) - values.amin(-1)
