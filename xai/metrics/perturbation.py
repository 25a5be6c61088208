"""The contract of perturbation metrics: what to ask of the stream, and what the answers mean."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from xai.core import Registry, UsageError
from xai.metrics.base import METRICS, MetricInfo
from xai.metrics.context import Context
from xai.perturb import Operator, Request


@dataclass(frozen=True, eq=False)
class Scores:
    """A metric's numbers for M methods on B images; float64 (flags: bool) on the CPU.

    Args:
        value: (M, B).
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
class Outcome:
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
        """Scores from the stream's answers (S,) to the requests."""
        clean, baseline = context.values(values[0]).reshape(-1, 2).unbind(1)
        rest = [context.values(value) for value in values[1:]]
        outcome = self._score(rest, clean, relevance, context)
        return Scores(
            value=outcome.value,
            saturated=outcome.span < (context.protocol.floor or 0.0),
            tie_fraction=context.rank(relevance).ties,
            clean=clean,
            baseline=baseline,
            curve=outcome.curve,
            fractions=None if outcome.curve is None else context.fractions,
        )

    def operator(self, context: Context) -> Operator:
        """What removing means here."""
        return context.protocol.operator

    @abstractmethod
    def _requests(self, relevance: Tensor, context: Context) -> list[Request]:
        """The metric's own requests."""

    @abstractmethod
    def _score(self, values: list[Tensor], clean: Tensor, relevance: Tensor, context: Context) -> Outcome:
        """From float64 answers to the metric's own requests, and the values (B,) of the clean images."""


PERTURBATION_METRICS: Registry[PerturbationMetric] = Registry("perturbation metric")
Kind = TypeVar("Kind", bound=PerturbationMetric)


def register_perturbation(metric: type[Kind]) -> type[Kind]:
    """Class decorator: the runner finds the metric by the name in its `info`."""
    PERTURBATION_METRICS.add(metric.info.name)(metric())
    return metric


def perturbation_metric(name: str) -> PerturbationMetric:
    """The metric of this name.

    Raises:
        UsageError: For unknown names, and for metrics that are not computed from perturbed states.
    """
    if name not in PERTURBATION_METRICS and name in METRICS:
        raise UsageError(
            f"Metric {name!r} is computed from {METRICS[name].needs}, not from perturbed images.",
            f"Perturbation metrics: {', '.join(sorted(PERTURBATION_METRICS))}.",
        )
    return PERTURBATION_METRICS[name]


def per_map(values: Tensor, context: Context, points: int) -> Tensor:
    """(S,) → (M, B, D, points), in the order of `Context.request`."""
    return values.reshape(-1, context.images, context.protocol.tie_draws, points)


def span(values: Tensor) -> Tensor:
    """Largest − smallest over the last axis."""
    return values.amax(-1) - values.amin(-1)
