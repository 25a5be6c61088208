"""One image of a run as a page holds it: picture, maps, orders, curves, scores, and what to beware of."""

import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from xai.bench.config.method_configurations import GREEDY, RANDOM
from xai.bench.results.images import RunImage
from xai.bench.results.page_metrics import Described, first_constant, key_of, ordered_by
from xai.bench.run.image_snapshots import ImageSnapshot
from xai.bench.run.inputs import Exclusion
from xai.bench.run.plan import MAPS
from xai.core import Geometry, ProblemType, derive_seed, predicted_labels
from xai.metrics import METRICS
from xai.metrics.maps import apply_sign
from xai.perturb import rank_units
from xai.report.caveats import answer, blind, no_better
from xai.report.encode import encode_grid, encode_order
from xai.report.payload import Image, MapAgreement, Removal
from xai.report.text import percent, printable
from xai.report.words import squashed
from xai.stats import disagreement, map_agreement

LISTED = 5  # classes with their probabilities
SHARE = 0.2  # of the patches removed, for the sheet
TIED = 0.5  # share of tied patches from which on luck decides
CURVES = ("deletion", "morf")  # the same under two names
SURE = {"margin": 0.0, "probability": 0.5, "accuracy": 0.5}  # a probability above one half


@dataclass(frozen=True)
class PageRun:
    """What is the same for all images of a run.

    Args:
        about: Content of `run.json`.
        exclusions: By image.
    """

    about: Mapping[str, Any]
    exclusions: Mapping[str, Sequence[Exclusion]]

    @property
    def labels(self) -> list[str]:
        """Class names of the model."""
        return self.about["sessions"][-1]["model"]["labels"]

    @property
    def problem_type(self) -> ProblemType:
        """What the model's logits mean; runs that do not say it are of exclusive classes."""
        return ProblemType(self.about["sessions"][-1]["model"].get("problem_type", ProblemType.SINGLE_LABEL))

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.about["config"]["seed"]

    @property
    def protocols(self) -> list[Described]:
        """In order."""
        return self.about["protocols"]

    @property
    def methods(self) -> list[str]:
        """Rows that are no controls."""
        return [row["name"] for row in self.about["methods"] if not row["control"]]

    @property
    def compared(self) -> list[str]:
        """Rows whose agreement is of interest: all but noise."""
        return [row["name"] for row in self.about["methods"] if row["method"] != RANDOM]


def page_image(shown: RunImage, records: Sequence[Mapping[str, Any]], run: PageRun) -> Image:
    """One image.

    Args:
        shown: What the run's folder holds of it.
        records: Its records, greedy ones included.
        run: What it belongs to.
    """
    records = [one for one in records if one["method"] != GREEDY]
    target = run.labels[shown.target] if shown.target is not None else _followed(records, run)
    removals = _removals(records, run)
    agreement = _agreement(shown, run)
    facts = _facts(shown, records, target, run)
    return Image(
        **facts,
        id=printable(shown.id),
        target=target,
        caveats=list(_caveats(shown, records, removals, facts, target, run)),
        maps={row: {target: encode_grid(values)} for row, values in shown.maps.items()},
        orders=_orders(shown, run),
        scores=_scores(records),
        curves=_curves(records),
        removals=removals,
        **agreement,
    )


def _facts(
    shown: RunImage, records: Sequence[Mapping[str, Any]], target: str, run: PageRun
) -> dict[str, Any]:
    if shown.view is None:
        return _without_view(shown, records, target, run)
    view = shown.view
    logits = np.array(view.logits)
    shares = np.array(list(_probabilities(view, run).values()))
    chosen = [int(i) for i in np.argsort(-shares, kind="stable")[:LISTED]]
    chosen += [i for i in [shown.target] if i is not None and i not in chosen]
    return {
        "name": printable(view.name),
        "group": None if view.group == view.id else printable(view.group),
        "label": view.label,
        "predicted": run.labels[int(logits.argmax())],
        "predicted_labels": list(predicted_labels(_probabilities(view, run), run.problem_type)),
        "probabilities": {run.labels[i]: float(shares[i]) for i in chosen},
        "width": view.width,
        "height": view.height,
        "sha256": view.sha256,
        "input_hash": view.input_hash,
        "view": view.view,
        "seen": view.seen,
        "box": view.box,
        "picture": _uri("webp", view.picture),
        "mask": view.mask and _uri("png", view.mask),
        "fills": _fills(view, run.protocols),
    }


def _probabilities(view: ImageSnapshot, run: PageRun) -> dict[str, float]:
    """Of all classes, in the order of the logits."""
    return dict(zip(run.labels, run.problem_type.probabilities(np.array(view.logits)).tolist(), strict=True))


def _without_view(
    shown: RunImage, records: Sequence[Mapping[str, Any]], target: str, run: PageRun
) -> dict[str, Any]:
    """What the records alone say; the ground has the size of the model's input."""
    height, width = run.about["sessions"][-1]["model"].get("input_size") or (224, 224)
    protocol = run.protocols[0]
    first = next((one for one in records if one["protocol"] == protocol["name"]), records[0])
    share, value = first["clean"], protocol["value"]
    if value == "margin":
        share = (1 + math.tanh(share / 2)) / 2  # the logistic function, which overflows for no margin
    known = value in ("margin", "probability") and math.isfinite(share)
    # of one independent label's probability nothing follows for the others
    others = [] if run.problem_type.independent else [label for label in run.labels if label != target]
    sure = not known or share > 0.5 or len(others) != 1
    return {
        "name": printable(shown.id),
        "group": None if first["group"] == shown.id else printable(first["group"]),
        "label": first["label"] if isinstance(first["label"], str) else None,
        "predicted": target if sure else others[0],
        "probabilities": _shares(target, share, others) if known else {},
        "width": width,
        "height": height,
        "input_hash": first["image_hash"] or None,
        "view": (0, 0, width, height),
        "seen": (0, 0, width, height),
    }


def _shares(target: str, share: float, others: Sequence[str]) -> dict[str, float]:
    return {target: share} | ({others[0]: 1 - share} if len(others) == 1 else {})


def _followed(records: Sequence[Mapping[str, Any]], run: PageRun) -> str:
    """The class that the first protocol followed on this image."""
    name = run.protocols[0]["name"]
    return next((one["target"] for one in records if one["protocol"] == name), records[0]["target"])


def _fills(view: ImageSnapshot, protocols: Sequence[Described]) -> dict[str, str]:
    """A page knows one constant; of others it says that they are not drawn exactly."""
    constant = first_constant(protocols)
    fills = {name: colour for name, colour in view.fills.items() if not name.startswith("constant")}
    if constant is not None and constant in view.fills:
        fills["constant"] = view.fills[constant]
    return fills


def _orders(shown: RunImage, run: PageRun) -> dict[str, str]:
    """The order in which the run removed the patches, ties as they were broken there."""
    protocol = ordered_by(run.protocols)
    if protocol is None or shown.view is None:
        return {}
    seed = derive_seed(derive_seed(run.seed, shown.view.input_hash), "ties", 0)
    seeds = [seed] if protocol["ties"] == "random" else None
    orders = {}
    for row, values in shown.maps.items():
        units = apply_sign(torch.from_numpy(values), protocol["sign"]).reshape(1, -1)
        orders[row] = encode_order(rank_units(units, seeds)[0].argsort().numpy())
    return orders


def _scores(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    scores: dict[str, dict[str, float | None]] = {}
    for one in records:
        value = one["value"] if math.isfinite(one["value"]) else None
        scores.setdefault(key_of(one["metric"], one["protocol"]), {})[one["method"]] = value
    return scores


def _curves(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    curves: dict[str, dict[str, list[float]]] = {}
    for one in records:
        if METRICS[one["metric"]].needs == "perturbation" and _answered(one):
            by_row = curves.setdefault(key_of(one["metric"], one["protocol"]), {})
            by_row[one["method"]] = [float(value) for value in one["curve"]]
    return curves


def _answered(record: Mapping[str, Any]) -> bool:
    """Whether there is a curve, and the model gave a number at every step of it."""
    return len(record["curve"]) > 0 and bool(np.isfinite([record["clean"], *record["curve"]]).all())


def _removals(records: Sequence[Mapping[str, Any]], run: PageRun) -> list[Removal]:
    """What a fifth of the patches is worth, under the first protocol that removes patches."""
    protocol = ordered_by(run.protocols)
    if protocol is None:
        return []
    mine = [one for one in records if one["protocol"] == protocol["name"] and one["metric"] in CURVES]
    mine = [one for one in mine if one["metric"] == mine[0]["metric"] and _answered(one)]
    if not mine:
        return []
    shares = np.array(mine[0]["fractions"])
    grid = run.about["sessions"][-1]["model"]["grid"]
    patches = grid["rows"] * grid["cols"]
    step = int(np.argmin(np.where(shares > 0, np.abs(shares - SHARE), np.inf)))
    random = [float(one["curve"][step]) for one in mine if one["method"].startswith(f"{RANDOM}_")]
    return [
        Removal(
            row=one["method"],
            target=one["target"],
            value=protocol["value"],
            operator=protocol["operator"]["name"],
            removed=round(float(shares[step]) * patches),
            patches=patches,
            clean=one["clean"],
            top=float(one["curve"][step]),
            random=random,
        )
        for one in mine
        if one["method"] in run.methods
    ]


def _agreement(shown: RunImage, run: PageRun) -> dict[str, Any]:
    """Rank correlations of the maps; methods alone count for the disagreement."""
    rows = [row for row in run.compared if row in shown.maps]
    if len(rows) < 2:
        return {}
    found = map_agreement(np.stack([shown.maps[row].ravel() for row in rows]))
    apart = disagreement(found, np.array([row in run.methods for row in rows]))
    spearman = [[round(float(x), 6) if math.isfinite(x) else None for x in line] for line in found]
    return {
        "agreement": MapAgreement(rows=rows, spearman=spearman),
        "disagreement": apart if math.isfinite(apart) else None,
    }


def _caveats(
    shown: RunImage,
    records: Sequence[Mapping[str, Any]],
    removals: Sequence[Removal],
    facts: Mapping[str, Any],
    target: str,
    run: PageRun,
) -> Iterator[str]:
    """Sentences, those on the answer first."""
    if shown.view is not None:
        every = _probabilities(shown.view, run)
        yield from answer(every, facts["predicted"], facts["label"], run.problem_type)
    elif not run.problem_type.independent:  # of whose other labels nothing was kept
        yield from answer(facts["probabilities"], facts["predicted"], facts["label"])
    yield from _kept(records, run)
    yield from _flat(records, run)
    yield from _blank(shown, target, run)
    yield from _tied(records, run)
    for one in removals:
        if one.random and one.top >= float(np.mean(one.random)):
            yield no_better(one)
    if shown.view is not None:
        yield from blind((facts["width"], facts["height"]), facts["seen"], facts["box"] is not None)
        yield from squashed(Geometry((facts["width"], facts["height"]), facts["seen"]), shown.view.input_size)
    failures = {one.method: one.reason for one in run.exclusions.get(shown.id, ()) if one.method != "*"}
    for row, reason in failures.items():
        yield f"{row} failed on this image: {reason}."
    if shown.view is None:
        yield "The run kept no picture of this image: the maps lie on plain ground. Running it again adds it."
    if not shown.maps:
        yield "The run kept no maps of this image."


def _kept(records: Sequence[Mapping[str, Any]], run: PageRun) -> Iterator[str]:
    """Whether the answer stays when nothing is left."""
    for protocol in run.protocols:
        mine = [one for one in records if one["protocol"] == protocol["name"]]
        mine = [one for one in mine if one["metric"] != "insertion"] or mine
        limit = SURE.get(protocol["value"])
        if mine and limit is not None and mine[0]["baseline"] > limit:
            yield (
                f"Under {protocol['name']} the model still says {mine[0]['target']} with every patch removed "
                f"({protocol['value']} {mine[0]['baseline']:.3g}): deletion cannot take that answer away."
            )


def _flat(records: Sequence[Mapping[str, Any]], run: PageRun) -> Iterator[str]:
    for protocol in run.protocols:
        mine = [one for one in records if one["protocol"] == protocol["name"]]
        rows = {one["method"] for one in mine if one["saturated"] and one["metric"] == mine[0]["metric"]}
        if said := _named([row for row in run.methods if row in rows], run):
            yield f"Under {protocol['name']} the curve of {said} hardly moves: it ranks nothing."


def _blank(shown: RunImage, target: str, run: PageRun) -> Iterator[str]:
    rows = [row for row in run.methods if row in shown.maps and not shown.maps[row].any()]
    if said := _named(rows, run):
        yield (
            f"No evidence for {printable(target)} by {said}: the map is zero everywhere. "
            "That does not say that nothing is there."
        )


def _tied(records: Sequence[Mapping[str, Any]], run: PageRun) -> Iterator[str]:
    """Of patches: pixels drawn from a patch map tie by nature."""
    protocol = ordered_by(run.protocols) or {"name": MAPS}
    ties = {one["method"]: one["tie_fraction"] for one in records if one["protocol"] == protocol["name"]}
    found = [f"{row} ({percent(ties[row])})" for row in run.methods if ties.get(row, 0.0) > TIED]
    if found:
        yield f"Most patches are tied, and chance orders them, in the map of {', '.join(found)}."


def _named(rows: Sequence[str], run: PageRun) -> str:
    if len(rows) == len(run.methods) > 1:
        return "every method"
    return ", ".join(rows)


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
