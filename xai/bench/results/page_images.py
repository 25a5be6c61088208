"""One image of a run as a page holds it: picture, maps, orders, curves, scores."""

import math
from base64 import b64encode
from collections.abc import Sequence

import numpy as np

from xai.bench.config.lookup import metric_facts
from xai.bench.config.method_configurations import RANDOM
from xai.bench.results.images import RunImage
from xai.bench.results.page_caveats import caveats, method_names
from xai.bench.results.page_metrics import first_constant, key_of, ordered_by
from xai.bench.run.description import ProtocolDescription, RunDescription
from xai.bench.run.image_snapshots import ImageSnapshot
from xai.core import Record, derive_seed, predicted_labels
from xai.core.errors import printable
from xai.core.order import order_of_units
from xai.report.encode import encode_grid, encode_order
from xai.report.image_payload import Image, MapAgreement, Removal
from xai.stats import Exclusion, disagreement, map_agreement

LISTED = 5  # classes with their probabilities
SHARE = 0.2  # of the patches removed, for the figure
CURVES = ("deletion", "morf")  # the same under two names


def page_image(
    run_image: RunImage, records: Sequence[Record], run: RunDescription, excluded: Sequence[Exclusion]
) -> Image:
    """One image.

    Args:
        run_image: What the run's folder holds of it.
        records: Its records, without those of the greedy order.
        run: What it belongs to.
        excluded: What of it is missing, and why.
    """
    labels = run.model.labels
    target = labels[run_image.target] if run_image.target is not None else _followed(records, run)
    if run_image.snapshot is None:
        image = _without_snapshot(run_image, records, target, run)
    else:
        image = _with_snapshot(run_image, run_image.snapshot, target, run)
    removals = _removals(records, run)
    agreement, apart = _agreement(run_image, run)
    shares = None if run_image.snapshot is None else _probabilities(run_image.snapshot, run)
    notes = list(caveats(run_image, records, removals, image, shares, run, excluded))
    return image.model_copy(
        update={
            "caveats": [one.text for one in notes],
            "notes": notes,
            "maps": {name: {target: encode_grid(values)} for name, values in run_image.maps.items()},
            "orders": _orders(run_image, run),
            "scores": _scores(records),
            "curves": _curves(records),
            "removals": removals,
            "agreement": agreement,
            "disagreement": apart,
        }
    )


def _with_snapshot(run_image: RunImage, snapshot: ImageSnapshot, target: str, run: RunDescription) -> Image:
    labels, logits = run.model.labels, np.array(snapshot.logits)
    probabilities = _probabilities(snapshot, run)
    shares = np.array(list(probabilities.values()))
    chosen = [int(i) for i in np.argsort(-shares, kind="stable")[:LISTED]]
    chosen += [i for i in [run_image.target] if i is not None and i not in chosen]
    return Image.model_validate(
        {
            "id": printable(run_image.id),
            "target": target,
            "maps": {},
            "name": printable(snapshot.name),
            "group": None if snapshot.group == snapshot.id else printable(snapshot.group),
            "label": snapshot.label,
            "predicted": labels[int(logits.argmax())],
            "predicted_labels": list(predicted_labels(probabilities, run.problem_type)),
            "probabilities": {labels[i]: float(shares[i]) for i in chosen},
            "width": snapshot.width,
            "height": snapshot.height,
            "sha256": snapshot.sha256,
            "input_hash": snapshot.input_hash,
            "view": snapshot.view,
            "seen": snapshot.seen,
            "box": snapshot.box,
            "picture": _uri("webp", snapshot.picture),
            "mask": snapshot.mask and _uri("png", snapshot.mask),
            "fills": _fills(snapshot, run.protocols),
        }
    )


def _probabilities(snapshot: ImageSnapshot, run: RunDescription) -> dict[str, float]:
    """Of all classes, in the order of the logits."""
    return dict(
        zip(run.model.labels, run.problem_type.probabilities(np.array(snapshot.logits)).tolist(), strict=True)
    )


def _without_snapshot(
    run_image: RunImage, records: Sequence[Record], target: str, run: RunDescription
) -> Image:
    """What the records alone say; the ground has the size of the model's input."""
    height, width = run.model.input_size or (224, 224)
    protocol = run.protocols[0]
    first = next((one for one in records if one.protocol == protocol.name), records[0])
    share = first.clean
    if protocol.value == "margin":
        share = (1 + math.tanh(share / 2)) / 2  # the logistic function, which overflows for no margin
    known = protocol.value in ("margin", "probability") and math.isfinite(share)
    # of one independent label's probability nothing follows for the others
    others = [] if run.problem_type.independent else [one for one in run.model.labels if one != target]
    sure = not known or share > 0.5 or len(others) != 1
    return Image.model_validate(
        {
            "id": printable(run_image.id),
            "target": target,
            "maps": {},
            "name": printable(run_image.id),
            "group": None if first.group == run_image.id else printable(first.group),
            "label": first.label,
            "predicted": target if sure else others[0],
            "probabilities": _shares(target, share, others) if known else {},
            "width": width,
            "height": height,
            "input_hash": first.image_hash or None,
            "view": (0, 0, width, height),
            "seen": (0, 0, width, height),
        }
    )


def _shares(target: str, share: float, others: Sequence[str]) -> dict[str, float]:
    return {target: share} | ({others[0]: 1 - share} if len(others) == 1 else {})


def _followed(records: Sequence[Record], run: RunDescription) -> str:
    """The class that the first protocol followed on this image."""
    name = run.protocols[0].name
    return next((one.target for one in records if one.protocol == name), records[0].target)


def _fills(snapshot: ImageSnapshot, protocols: Sequence[ProtocolDescription]) -> dict[str, str]:
    """A page knows one constant; of others it says that they are not drawn exactly."""
    constant = first_constant(protocols)
    fills = {name: colour for name, colour in snapshot.fills.items() if not name.startswith("constant")}
    if constant is not None and constant in snapshot.fills:
        fills["constant"] = snapshot.fills[constant]
    return fills


def _orders(run_image: RunImage, run: RunDescription) -> dict[str, str]:
    """The order in which the run removed the patches, ties as they were broken there."""
    protocol = ordered_by(run.protocols)
    if protocol is None or run_image.snapshot is None:
        return {}
    seed = derive_seed(derive_seed(run.config.seed, run_image.snapshot.input_hash), "ties", 0)
    tied = seed if protocol.ties == "random" else None
    return {
        name: encode_order(order_of_units(_signed(values, protocol.sign).ravel(), tied))
        for name, values in run_image.maps.items()
    }


def _signed(relevance: np.ndarray, sign: str) -> np.ndarray:
    """As `xai.metrics.maps.apply_sign`."""
    if sign == "absolute":
        return np.abs(relevance)
    return np.maximum(relevance, 0) if sign == "positive" else relevance


def _scores(records: Sequence[Record]) -> dict[str, dict[str, float | None]]:
    scores: dict[str, dict[str, float | None]] = {}
    for one in records:
        value = one.value if math.isfinite(one.value) else None
        scores.setdefault(key_of(one.metric, one.protocol), {})[one.method] = value
    return scores


def _curves(records: Sequence[Record]) -> dict[str, dict[str, list[float]]]:
    curves: dict[str, dict[str, list[float]]] = {}
    for one in records:
        if metric_facts(one.metric).needs == "perturbation" and _is_finite(one):
            by_method = curves.setdefault(key_of(one.metric, one.protocol), {})
            by_method[one.method] = [float(value) for value in one.curve]
    return curves


def _is_finite(record: Record) -> bool:
    """Whether there is a curve, and the model gave a number at every step of it."""
    return len(record.curve) > 0 and bool(np.isfinite([record.clean, *record.curve]).all())


def _removals(records: Sequence[Record], run: RunDescription) -> list[Removal]:
    """What a fifth of the patches is worth, under the first protocol that removes patches."""
    protocol = ordered_by(run.protocols)
    if protocol is None:
        return []
    mine = [one for one in records if one.protocol == protocol.name and one.metric in CURVES]
    mine = [one for one in mine if one.metric == mine[0].metric and _is_finite(one)]
    if not mine:
        return []
    shares = np.array(mine[0].fractions)
    patches = run.model.grid.rows * run.model.grid.cols
    step = int(np.argmin(np.where(shares > 0, np.abs(shares - SHARE), np.inf)))
    random = [float(one.curve[step]) for one in mine if one.method.startswith(f"{RANDOM}_")]
    return [
        Removal(
            row=one.method,
            target=one.target,
            value=protocol.value,
            operator=protocol.operator.name,
            removed=round(float(shares[step]) * patches),
            patches=patches,
            clean=one.clean,
            top=float(one.curve[step]),
            random=random,
        )
        for one in mine
        if one.method in method_names(run)
    ]


def _agreement(run_image: RunImage, run: RunDescription) -> tuple[MapAgreement | None, float | None]:
    """Rank correlations of the maps but noise, and how far those of the methods are apart."""
    compared = [one for one in run.methods if one.method != RANDOM and one.name in run_image.maps]
    if len(compared) < 2:
        return None, None
    found = map_agreement(np.stack([run_image.maps[one.name].ravel() for one in compared]))
    apart = disagreement(found, np.array([not one.control for one in compared]))
    spearman = [[round(float(x), 6) if math.isfinite(x) else None for x in line] for line in found]
    agreement = MapAgreement(rows=[one.name for one in compared], spearman=spearman)
    return agreement, apart if math.isfinite(apart) else None


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
