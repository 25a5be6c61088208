"""How a page may redraw what the model saw along a run's curves, and what it must say about it."""

from collections.abc import Mapping, Sequence
from typing import Any

from xai.bench.results.model import Part as Measured
from xai.bench.run.image_snapshots import ONE_COLOUR, operator_name
from xai.metrics import METRICS
from xai.report.payload import Part

Described = Mapping[str, Any]  # a protocol, as `Protocol.describe` gives it

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


def key_of(metric: str, protocol: str) -> str:
    """The name of a part in a page."""
    return f"{metric}|{protocol}"


def page_part(
    part: Measured, fractions: Sequence[float], protocols: Sequence[Described], painted: bool
) -> Part:
    """A part of the summary as a page holds it.

    Args:
        part: Of the summary.
        fractions: Of its curves; empty where it has none.
        protocols: Of the run.
        painted: Whether the run kept the colours of removed patches.
    """
    protocol = next((one for one in protocols if one["hash"] == part.protocol_hash), None)
    about: dict[str, Any] = {
        "key": key_of(part.metric, part.protocol),
        "metric": part.metric,
        "protocol": part.protocol,
    }
    about["meaning"] = METRICS[part.metric].summary
    if protocol is None or METRICS[part.metric].needs != "perturbation":
        return Part(**about)
    inserts = part.metric == "insertion"
    operator = (inserts and protocol["insertion_operator"]) or protocol["operator"]
    reasons = _reasons(protocol, operator, protocols, painted)
    phrase = PAINTED.get(operator["name"]) or NOT_REDRAWN.get(operator["name"], "")
    return Part(
        **about,
        fractions=list(fractions),
        inserts=inserts,
        operator=operator["name"],
        exact=bool(fractions) and not reasons,
        redrawn="; ".join([phrase, *reasons] if phrase not in reasons else reasons),
    )


def ordered_by(protocols: Sequence[Described]) -> Described | None:
    """The protocol whose order of patches the page holds: the first that removes patches."""
    return next((one for one in protocols if one["unit"] == "patch"), None)


def first_constant(protocols: Sequence[Described]) -> str | None:
    """The constant whose colour the page calls `constant`."""
    names = [operator_name(one) for one in _operators(protocols) if one["name"] == "constant"]
    return names[0] if names else None


def _operators(protocols: Sequence[Described]) -> list[Described]:
    pairs = [(one["operator"], one["insertion_operator"]) for one in protocols]
    return [operator for pair in pairs for operator in pair if operator is not None]


def _reasons(
    protocol: Described, operator: Described, protocols: Sequence[Described], painted: bool
) -> list[str]:
    """Why a redrawn image is not what the model saw; none if it is."""
    name, order, first = operator["name"], ordered_by(protocols), protocols[0]
    said = []
    if name not in PAINTED:
        said.append(NOT_REDRAWN.get(name, f"the operator {name} cannot be redrawn"))
    if name in ONE_COLOUR and not painted:
        said.append("the run kept no colours of removed patches")
    if name == "constant" and operator_name(operator) != first_constant(protocols):
        said.append(f"the colour drawn is that of {first_constant(protocols)}")
    if protocol["unit"] != "patch":
        said.append("the protocol removes single pixels, the page whole patches")
    elif order is not None and any(protocol[key] != order[key] for key in ("sign", "ties")):
        said.append(f"the order drawn is that of {order['name']}, whose rule for signs or ties differs")
    if protocol["tie_draws"] > 1:
        said.append(
            f"the curve is the mean over {protocol['tie_draws']} orders of tied patches; one is drawn"
        )
    if protocol["target"] != first["target"]:
        said.append(f"the curve may follow another class than the maps shown, those of {first['name']}")
    return said
