"""Saliency cards of a run's methods, with what the run measured about them."""

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Any

from xai.attr import METHODS
from xai.bench.config.method_configurations import RANDOM
from xai.bench.results.model import Summary
from xai.metrics import METRICS
from xai.report.cards import card_of
from xai.report.payload import Card, Measured
from xai.stats import MethodSummary

ON_CARDS = ("class_sensitivity", "randomization", "sensitivity_max", "infidelity")
READINGS = {  # up to which value a number says what
    "class_sensitivity": (
        (0.05, "the map hardly changes with the class"),
        (0.4, "the map changes with the class"),
        (0.6, "the maps of two classes have little in common"),
        (inf, "where the map of one class is high, that of another is low"),
    ),
    "randomization": (
        (0.2, "the map is lost with what the model has learned"),
        (
            0.6,
            "some of the map survives in a destroyed model: that part shows nothing the model has learned",
        ),
        (inf, "the map survives in a destroyed model: it shows little of what the model has learned"),
    ),
}


def cards(summary: Summary, rows: Sequence[Mapping[str, Any]]) -> list[Card]:
    """A card per method, in the order of the rows."""
    methods = list(dict.fromkeys(str(row["method"]) for row in rows if row["method"] in METHODS))
    return [_card(name, summary, rows) for name in methods]


def _card(method: str, summary: Summary, rows: Sequence[Mapping[str, Any]]) -> Card:
    names = [RANDOM] if method == RANDOM else [str(row["name"]) for row in rows if row["method"] == method]
    measured = []
    for part in summary.parts:
        if part.metric not in ON_CARDS:
            continue
        found = {one.name: one for one in part.analysis.methods}
        reference = found.get(RANDOM)
        for name in names:
            if name in found and isfinite(found[name].mean):
                one = found[name]
                meaning = _meaning(part.metric, one, reference)
                measured.append(
                    Measured(
                        metric=part.metric,
                        value=one.mean,
                        low=one.low if isfinite(one.low) else None,
                        high=one.high if isfinite(one.high) else None,
                        images=part.analysis.images,
                        meaning=f"{name}: {meaning}" if len(names) > 1 else meaning,
                    )
                )
    return card_of(METHODS[method].info, measured)


def _meaning(metric: str, one: MethodSummary, reference: MethodSummary | None) -> str:
    """What the number says, then what the metric is: the end of a sentence, without its full stop."""
    return f"{_said(metric, one, reference)}. {METRICS[metric].summary.removesuffix('.')}"


def _said(metric: str, one: MethodSummary, reference: MethodSummary | None) -> str:
    if metric in READINGS:
        return next(words for limit, words in READINGS[metric] if one.mean <= limit)
    if metric == "sensitivity_max":
        return f"noise too small to see changes the map by up to {100 * one.mean:.3g} % of its size"
    if reference is None or reference.name == one.name or not isfinite(reference.mean):
        return "lower is better"
    return f"lower is better; random maps have {reference.mean:.3g}"
