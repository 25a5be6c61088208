"""What a page says of metrics: how their curves may be redrawn, and what they say of a method on its card."""

from collections.abc import Sequence
from math import inf, isfinite

from xai.bench.config.lookup import method_info, metric_facts
from xai.bench.config.method_configurations import RANDOM
from xai.bench.run.description import MethodDescription, OperatorDescription, ProtocolDescription
from xai.bench.run.image_snapshots import ONE_COLOUR
from xai.core.catalogue import MethodInfo
from xai.core.language import gettext, gettext_noop
from xai.report.about import card_of
from xai.report.payload import Card, Measurement, PageMetric
from xai.stats import MethodSummary, MetricResult, Summary

PAINTED = {
    "token": gettext_noop(
        "removed patches are masked in the model's attention, and nothing is put in their place"
    ),
    "mean": gettext_noop("removed patches have the mean colour of the model's input"),
    "minimum": gettext_noop(
        "removed patches have the smallest value of the model's input, as nearly as screens show it"
    ),
    "constant": gettext_noop("removed patches have one colour, the same in all images"),
}
NOT_REDRAWN = {
    "blur": gettext_noop("for the model, removed patches were blurred"),
    "rise_blur": gettext_noop("for the model, removed patches were blurred"),
    "region_mean": gettext_noop("for the model, removed patches had their own mean colour"),
    "noise": gettext_noop("for the model, removed patches were other noise"),
    "attack": gettext_noop("for the model, what was removed was changed slightly by a search against it"),
    "adversarial": gettext_noop(
        "for the model, what was removed was changed slightly by a search against it, once for the image"
    ),
    "road": gettext_noop("for the model, removed patches were filled in from their neighbours"),
}
ON_CARDS = ("class_sensitivity", "randomization", "sensitivity_max", "infidelity")
READINGS = {  # up to which value a number says what
    "class_sensitivity": (
        (0.05, gettext_noop("the map hardly changes with the class")),
        (0.4, gettext_noop("the map changes with the class")),
        (0.6, gettext_noop("the maps of two classes have little in common")),
        (inf, gettext_noop("where the map of one class is high, that of another is low")),
    ),
    "randomization": (
        (0.2, gettext_noop("the map is lost with what the model has learned")),
        (
            0.6,
            gettext_noop(
                "some of the map survives in a destroyed model: that part shows nothing the model has learned"
            ),
        ),
        (
            inf,
            gettext_noop(
                "the map survives in a destroyed model: it shows little of what the model has learned"
            ),
        ),
    ),
}


def key_of(metric: str, protocol: str) -> str:
    """The name of a metric result in a page."""
    return f"{metric}|{protocol}"


def page_metric(
    result: MetricResult, fractions: Sequence[float], protocols: Sequence[ProtocolDescription], painted: bool
) -> PageMetric:
    """A metric result of the summary as a page holds it.

    Args:
        result: Of the summary.
        fractions: Of its curves; empty where it has none.
        protocols: Of the run.
        painted: Whether the run kept the colours of removed patches.
    """
    protocol = next((one for one in protocols if one.hash == result.protocol_hash), None)
    found = PageMetric.model_validate(
        {
            "key": key_of(result.metric, result.protocol),
            "metric": result.metric,
            "protocol": result.protocol,
            "meaning": gettext(metric_facts(result.metric).summary),
            "needs": metric_facts(result.metric).needs,
        }
    )
    if protocol is None or metric_facts(result.metric).needs != "perturbation":
        return found
    inserts = result.metric == "insertion"
    operator = (inserts and protocol.insertion_operator) or protocol.operator
    reasons = _reasons(protocol, operator, protocols, painted)
    phrase = PAINTED.get(operator.name) or NOT_REDRAWN.get(operator.name)
    painted_words = [] if phrase is None else [gettext(phrase)]
    return found.model_copy(
        update={
            "fractions": list(fractions),
            "inserts": inserts,
            "operator": operator.name,
            "exact": bool(fractions) and not reasons,
            "redrawn": gettext("; ").join(dict.fromkeys([*painted_words, *reasons])),
        }
    )


def cards(summary: Summary, methods: Sequence[MethodDescription]) -> list[Card]:
    """A card per method, in the order of the run."""
    used = dict.fromkeys(one.method for one in methods)
    infos = {name: info for name in used if (info := method_info(name)) is not None}
    return [_card(name, info, summary, methods) for name, info in infos.items()]


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
        other = gettext("the operator {name} cannot be redrawn", name=name)
        reasons.append(gettext(NOT_REDRAWN[name]) if name in NOT_REDRAWN else other)
    if name in ONE_COLOUR and not painted:
        reasons.append(gettext("the run kept no colours of removed patches"))
    if name == "constant" and operator.title != first_constant(protocols):
        reasons.append(gettext("the colour drawn is that of {name}", name=first_constant(protocols)))
    if protocol.unit != "patch":
        removed = (
            gettext("the protocol changes segments, the page removes whole patches")
            if protocol.unit == "segment"
            else gettext("the protocol removes single pixels, the page whole patches")
        )
        reasons.append(removed)
    elif order is not None and (protocol.sign, protocol.ties) != (order.sign, order.ties):
        reasons.append(
            gettext(
                "the order drawn is that of {name}, whose rule for signs or ties differs", name=order.name
            )
        )
    if protocol.tie_draws > 1:
        reasons.append(
            gettext(
                "the curve is the mean over {n} orders of tied patches; one is drawn", n=protocol.tie_draws
            )
        )
    if protocol.target != first.target:
        reasons.append(
            gettext(
                "the curve may follow another class than the maps shown, those of {name}", name=first.name
            )
        )
    return reasons


def _card(method: str, info: MethodInfo, summary: Summary, methods: Sequence[MethodDescription]) -> Card:
    names = [RANDOM] if method == RANDOM else [one.name for one in methods if one.method == method]
    measured = []
    for result in summary.parts:
        if result.metric not in ON_CARDS:
            continue
        found = {one.name: one for one in result.analysis.methods}
        reference = found.get(RANDOM)
        for name in names:
            if name in found and isfinite(found[name].mean):
                one = found[name]
                meaning = _meaning(result.metric, one, reference)
                measured.append(
                    Measurement(
                        metric=result.metric,
                        value=one.mean,
                        low=one.low if isfinite(one.low) else None,
                        high=one.high if isfinite(one.high) else None,
                        images=result.analysis.images,
                        meaning=f"{name}: {meaning}" if len(names) > 1 else meaning,
                    )
                )
    return card_of(info, measured)


def _meaning(metric: str, one: MethodSummary, reference: MethodSummary | None) -> str:
    """What the number says, then what the metric is: the end of a sentence, without its full stop."""
    return f"{_reading(metric, one, reference)}. {metric_facts(metric).summary.removesuffix('.')}"


def _reading(metric: str, one: MethodSummary, reference: MethodSummary | None) -> str:
    if metric in READINGS:
        return next(words for limit, words in READINGS[metric] if one.mean <= limit)
    if metric == "sensitivity_max":
        return f"noise too small to see changes the map by up to {100 * one.mean:.3g} % of its size"
    if reference is None or reference.name == one.name or not isfinite(reference.mean):
        return "lower is better"
    return f"lower is better; random maps have {reference.mean:.3g}"
