"""Curve metrics: remove the most or the least relevant units step by step and follow the model's value.

All of them name intervals of one ranking, so the stream computes what they share once: with one operator
the insertion curve is the LeRF curve read backwards, and SRG, comprehensiveness and sufficiency cost nothing
beside MoRF and LeRF. The order of LeRF is the exact reverse of that of MoRF, ties included.
"""

from abc import abstractmethod
from dataclasses import replace

from torch import Tensor

from xai.core import UsageError
from xai.metrics.base import MetricInfo, PerturbationMetric, RawScores, per_map, span
from xai.metrics.context import Context
from xai.metrics.protocol import Protocol
from xai.metrics.registry import curve_function, value_function
from xai.perturb import Operator, Request

Intervals = list[tuple[int, int]]
_SAMEK = "Samek et al. 2017 (arXiv 1509.06321)"
_RISE = "Petsiuk et al. 2018 (arXiv 1806.07421)"
_ERASER = "DeYoung et al. 2020 (arXiv 1911.03429)"
_SRG = "Bluecher et al. 2024 (arXiv 2401.06654)"


def curve_forwards(n_patches: int, protocol: Protocol | None = None) -> int:
    """States of one curve, the clean image and the fully removed one included."""
    protocol = _given(protocol)
    return protocol.points(n_patches) + _missing_ends(protocol)


def pair_forwards(n_patches: int, protocol: Protocol | None = None) -> int:
    """States of MoRF and LeRF together, their ends counted once."""
    protocol = _given(protocol)
    ends = 2 - _missing_ends(protocol)
    return 2 * (protocol.points(n_patches) - ends) + 2


def _given(protocol: Protocol | None) -> Protocol:
    if protocol is None:
        raise UsageError("The cost of a curve depends on its protocol.", "Pass one.")
    return protocol


def _missing_ends(protocol: Protocol) -> int:
    """How many of the two ends are no points of the curve; they are computed all the same, and reported."""
    if protocol.fractions is not None:
        return (0.0 not in protocol.fractions) + (1.0 not in protocol.fractions)
    return 0 if protocol.ends else 1


def most_first(context: Context) -> Intervals:
    """Ranks removed at each point when the most relevant units go first."""
    return [(0, count) for count in context.counts]


def least_first(context: Context) -> Intervals:
    """Ranks removed at each point when the least relevant units go first."""
    return [(context.total - count, context.total) for count in context.counts]


def inserted_first(context: Context) -> Intervals:
    """Ranks removed at each point when the most relevant units are put back first."""
    return [(count, context.total) for count in context.counts]


class CurveMetric(PerturbationMetric):
    """Area under one curve."""

    def intervals(self, context: Context) -> Intervals:
        """Ranks removed at each point."""
        return most_first(context)

    def _requests(self, relevance: Tensor, context: Context) -> list[Request]:
        ranking = context.rank(relevance)
        return [context.request(ranking, self.intervals(context), self.operator(context))]

    def _score(self, values: list[Tensor], clean: Tensor, relevance: Tensor, context: Context) -> RawScores:
        curves = per_map(values[0], context, len(context.counts))
        areas = area(curves, context.fractions, context.protocol.auc)
        return RawScores(areas.mean(-1), span(curves).mean(-1), curves.mean(-2))


class Deletion(CurveMetric):
    """Most relevant first."""

    info = MetricInfo(
        name="deletion",
        higher_is_better=False,
        range=(None, None),
        reference=_RISE,
        summary="Area under the model's value while the most relevant units are removed.",
        needs="perturbation",
        forwards=curve_forwards,
    )


deletion = curve_function(Deletion)


class MoRF(CurveMetric):
    """Most relevant first: deletion under the name of the MoRF/LeRF pair."""

    info = MetricInfo(
        name="morf",
        higher_is_better=False,
        range=(None, None),
        reference=_SAMEK,
        summary="Area under the model's value, most relevant first (the same curve as deletion).",
        needs="perturbation",
        forwards=curve_forwards,
    )


morf = curve_function(MoRF)


class LeRF(CurveMetric):
    """Least relevant first, in the exact reverse of MoRF's order."""

    info = MetricInfo(
        name="lerf",
        higher_is_better=True,
        range=(None, None),
        reference=_SAMEK,
        summary="Area under the model's value, least relevant first.",
        needs="perturbation",
        forwards=curve_forwards,
    )

    def intervals(self, context: Context) -> Intervals:
        return least_first(context)


lerf = curve_function(LeRF)


class Insertion(CurveMetric):
    """All is removed, by the protocol's insertion operator; then the most relevant comes back first."""

    info = MetricInfo(
        name="insertion",
        higher_is_better=True,
        range=(None, None),
        reference=_RISE,
        summary="Area under the model's value while the most relevant units are put back.",
        needs="perturbation",
        forwards=curve_forwards,
    )

    def operator(self, context: Context) -> Operator:
        return context.protocol.insertion_operator or context.protocol.operator

    def intervals(self, context: Context) -> Intervals:
        return inserted_first(context)


insertion = curve_function(Insertion)


class SRG(PerturbationMetric):
    """Symmetric relevance gain: what the order is worth, freed of most of the operator's own effect."""

    info = MetricInfo(
        name="srg",
        higher_is_better=True,
        range=(None, None),
        reference=_SRG,
        summary="Symmetric relevance gain: how much faster the answer falls with the most relevant removed "
        "first than last (LeRF area − MoRF area); 0 is what a random order earns.",
        needs="perturbation",
        forwards=pair_forwards,
    )

    def _requests(self, relevance: Tensor, context: Context) -> list[Request]:
        ranking, operator = context.rank(relevance), self.operator(context)
        return [
            context.request(ranking, intervals, operator)
            for intervals in (most_first(context), least_first(context))
        ]

    def _score(self, values: list[Tensor], clean: Tensor, relevance: Tensor, context: Context) -> RawScores:
        morf, lerf = (per_map(value, context, len(context.counts)) for value in values)
        gains = area(lerf - morf, context.fractions, context.protocol.auc)
        spans = span(morf).maximum(span(lerf))
        return RawScores(gains.mean(-1), spans.mean(-1), (lerf - morf).mean(-2))


srg = value_function(SRG)


class _Rationale(PerturbationMetric):
    """Mean change of the value over shares up to one half: ERASER's area over the perturbation curve.

    ERASER takes shares .01, .05, .1, .2 and .5 of the tokens; here they are the protocol's own points in
    (0, 0.5], so that the states are those of the curves.
    """

    @abstractmethod
    def intervals(self, context: Context) -> Intervals:
        """Ranks to remove, one interval per point."""

    def _counts(self, context: Context) -> list[int]:
        counts = [count for count in context.counts if 0 < 2 * count <= context.total]
        if not counts:
            raise UsageError(
                f"Metric {self.info.name!r} needs a point of the curve with at most half of the units; "
                f"protocol {context.protocol.name!r} has none.",
                "Use more steps.",
            )
        return counts

    def _requests(self, relevance: Tensor, context: Context) -> list[Request]:
        ranking = context.rank(relevance)
        return [context.request(ranking, self.intervals(context), self.operator(context))]

    def _score(self, values: list[Tensor], clean: Tensor, relevance: Tensor, context: Context) -> RawScores:
        left = per_map(values[0], context, len(self._counts(context)))
        drops = clean[:, None, None] - left
        spans = drops.amax(-1).clamp_min(0) - drops.amin(-1).clamp_max(0)  # the clean image drops by 0
        return RawScores(drops.mean((-1, -2)), spans.mean(-1))


def _half_forwards(n_patches: int, protocol: Protocol | None = None) -> int:
    protocol = _given(protocol)
    if protocol.fractions is not None:
        return sum(0 < share <= 0.5 for share in protocol.fractions) + 2
    steps = protocol.points(n_patches) - (1 if protocol.ends else 0)
    return steps // 2 + 2


class Comprehensiveness(_Rationale):
    """How much is lost without the most relevant units."""

    info = MetricInfo(
        name="comprehensiveness",
        higher_is_better=True,
        range=(None, None),
        reference=_ERASER,
        summary="Mean drop of the value when up to half of the units, the most relevant, are removed.",
        needs="perturbation",
        forwards=_half_forwards,
    )

    def intervals(self, context: Context) -> Intervals:
        return [(0, count) for count in self._counts(context)]


comprehensiveness = value_function(Comprehensiveness)


class AccuracyDrop(Comprehensiveness):
    """How often the answer is lost without the most relevant units, from the states of comprehensiveness."""

    info = MetricInfo(
        name="accuracy_drop",
        higher_is_better=True,
        range=(-1.0, 1.0),
        reference="Tsigos et al. 2024 (arXiv 2404.18649)",
        summary="Share of the removals of up to half of the units, the most relevant, that lose the answer.",
        needs="perturbation",
        forwards=_half_forwards,
    )

    def requests(self, relevance: Tensor, context: Context) -> list[Request]:
        return [replace(one, score="correct") for one in super().requests(relevance, context)]

    def _read(self, scores: Tensor, context: Context) -> Tensor:
        return scores.double()


accuracy_drop = value_function(AccuracyDrop)


class Sufficiency(_Rationale):
    """How much is lost with nothing but the most relevant units."""

    info = MetricInfo(
        name="sufficiency",
        higher_is_better=False,
        range=(None, None),
        reference=_ERASER,
        summary="Mean drop of the value when only the most relevant units, up to half, are kept.",
        needs="perturbation",
        forwards=_half_forwards,
    )

    def intervals(self, context: Context) -> Intervals:
        return [(count, context.total) for count in self._counts(context)]


sufficiency = value_function(Sufficiency)


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
