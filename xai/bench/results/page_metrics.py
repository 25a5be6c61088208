"""What a page says of metrics: how their curves may be redrawn, and what they say of a method on its card."""

from collections.abc import Sequence
from math import inf, isfinite

from xai.attr import METHODS
from xai.bench.config.method_configurations import RANDOM
from xai.bench.run.description import MethodDescription, OperatorDescription, ProtocolDescription
from xai.bench.run.image_snapshots import ONE_COLOUR
from xai.metrics import METRICS
from xai.report.cards import card_of
from xai.report.payload import Card, Measurement, PageMetric
from xai.stats import MethodSummary, MetricResult, Summary

PAINTED = {
    "token": "removed patches are masked in the model's attention, and nothing is put in their place",
    "mean": "removed patches have the mean colour of the model's input",
    "minimum": "removed patches have the smallest value of the model's input, as nearly as screens show it",
    "constant": "removed patches have one colour, the same in all images",
}
NOT_REDRAWN = {
    "blur": "for the model, removed patches were blurred",
    "rise_blur": "for the model, removed patches were blurred",
    "noise": "for the model, removed patches were other noise",
    "road": "for the model, removed patches were filled in from their neighbours",
}
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


def key_of(metric: str, protocol: str) -> str:
    """The name of a part in a page."""
    return f"{metric}|{protocol}"


def page_metric(
    part: MetricResult, fractions: Sequence[float], protocols: Sequence[ProtocolDescription], painted: bool
) -> PageMetric:
    """A part of the summary as a page holds it.

    Args:
        part: Of the summary.
        fractions: Of its curves; empty where it has none.
        protocols: Of the run.
        painted: Whether the run kept the colours of removed patches.
    """
    protocol = next((one for one in protocols if one.hash == part.protocol_hash), None)
    found = PageMetric.model_validate(
        {
            "key": key_of(part.metric, part.protocol),
            "metric": part.metric,
            "protocol": part.protocol,
            "meaning": METRICS[part.metric].summary,
        }
    )
    if protocol is None or METRICS[part.metric].needs != "perturbation":
        return found
    inserts = part.metric == "insertion"
    operator = (inserts and protocol.insertion_operator) or protocol.operator
    reasons = _reasons(protocol, operator, protocols, painted)
    phrase = PAINTED.get(operator.name) or NOT_REDRAWN.get(operator.name, "")
    return found.model_copy(
        update={
            "fractions": list(fractions),
            "inserts": inserts,
            "operator": operator.name,
            "exact": bool(fractions) and not reasons,
            "redrawn": "; ".join([phrase, *reasons] if phrase not in reasons else reasons),
        }
    )


def cards(summary: Summary, methods: Sequence[MethodDescription]) -> list[Card]:
    """A card per method, in the order of the run."""
    used = dict.fromkeys(one.method for one in methods if one.method in METHODS)
    return [_card(name, summary, methods) for name in used]


def ordered_by(protocols: Sequence[ProtocolDescription]) -> ProtocolDescription | None:
    """The protocol whose order of patches the page holds: the first that removes patches."""
    return next((one for one in protocols if one.unit == "patch"), None)


def first_constant(protocols: Sequence[ProtocolDescription]) -> str | None:
    """The constant whose colour the page calls `constant`."""
    names = [one.title for one in _operators(protocols) if one.name == "constant"]
    return names[0] if names else None


def _operators(protocols: Sequence[ProtocolDescription]) -> list[OperatorDescription]:
    pairs = [(one.operator, one.insertion_operator) for one in protocols]
    return [operator for pair in pairs for operator in pair if operator is not None]


def _reasons(
    protocol: ProtocolDescription,
    operator: OperatorDescription,
    protocols: Sequence[ProtocolDescription],
    painted: bool,
) -> list[str]:
    """Why a redrawn image is not what the model saw; none if it is."""
    name, order, first = operator.name, ordered_by(protocols), protocols[0]
    reasons = []
    if name not in PAINTED:
        reasons.append(NOT_REDRAWN.get(name, f"the operator {name} cannot be redrawn"))
    if name in ONE_COLOUR and not painted:
        reasons.append("the run kept no colours of removed patches")
    if name == "constant" and operator.title != first_constant(protocols):
        reasons.append(f"the colour drawn is that of {first_constant(protocols)}")
    if protocol.unit != "patch":
        reasons.append("the protocol removes single pixels, the page whole patches")
    elif order is not None and (protocol.sign, protocol.ties) != (order.sign, order.ties):
        reasons.append(f"the order drawn is that of {order.name}, whose rule for signs or ties differs")
    if protocol.tie_draws > 1:
        reasons.append(
            f"the curve is the mean over {protocol.tie_draws} orders of tied patches; one is drawn"
        )
    if protocol.target != first.target:
        reasons.append(f"the curve may follow another class than the maps shown, those of {first.name}")
    return reasons


def _card(method: str, summary: Summary, methods: Sequence[MethodDescription]) -> Card:
    names = [RANDOM] if method == RANDOM else [one.name for one in methods if one.method == method]
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
                    Measurement(
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
    return f"{_reading(metric, one, reference)}. {METRICS[metric].summary.removesuffix('.')}"


def _reading(metric: str, one: MethodSummary, reference: MethodSummary | None) -> str:
    if metric in READINGS:
        return next(words for limit, words in READINGS[metric] if one.mean <= limit)
    if metric == "sensitivity_max":
        return f"noise too small to see changes the map by up to {100 * one.mean:.3g} % of its size"
    if reference is None or reference.name == one.name or not isfinite(reference.mean):
        return "lower is better"
    return f"lower is better; random maps have {reference.mean:.3g}"
