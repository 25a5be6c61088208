"""One image of a run as a page holds it: picture, maps, orders, curves, scores, and what to beware of."""

import math
from base64 import b64encode
from collections.abc import Iterator, Sequence

import numpy as np

from xai.bench.config.lookup import metric_facts
from xai.bench.config.method_configurations import RANDOM
from xai.bench.results.images import RunImage
from xai.bench.results.page_metrics import first_constant, key_of, ordered_by
from xai.bench.run.description import ProtocolDescription, RunDescription
from xai.bench.run.image_snapshots import ImageSnapshot
from xai.bench.run.items import MAPS
from xai.core import Geometry, Record, derive_seed, predicted_labels
from xai.core.errors import printable
from xai.core.language import gettext
from xai.core.names import removal_in_words, row_in_words
from xai.core.order import order_of_units
from xai.report.caveats import blind, caveat, nearly_constant, no_better, on_prediction, squashed, zero_map
from xai.report.encode import encode_grid, encode_order
from xai.report.image_payload import Caveat, Image, MapAgreement, Removal
from xai.report.text import percent
from xai.report.words import squashed as squashed_words
from xai.stats import Exclusion, disagreement, map_agreement

LISTED = 5  # classes with their probabilities
SHARE = 0.2  # of the patches removed, for the figure
TIED = 0.5  # share of tied patches from which on luck decides
CURVES = ("deletion", "morf")  # the same under two names
SURE = {"margin": 0.0, "probability": 0.5, "accuracy": 0.5}  # a probability above one half


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
    notes = list(_caveats(run_image, records, removals, image, run, excluded))
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
        if one.method in _methods(run)
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


def _caveats(
    run_image: RunImage,
    records: Sequence[Record],
    removals: Sequence[Removal],
    image: Image,
    run: RunDescription,
    excluded: Sequence[Exclusion],
) -> Iterator[Caveat]:
    """Those on the prediction first."""
    snapshot, target = run_image.snapshot, str(image.target)
    if snapshot is not None:
        probabilities = _probabilities(snapshot, run)
        yield from on_prediction(probabilities, image.predicted, image.label, run.problem_type)
    elif not run.problem_type.independent:  # of whose other labels nothing was kept
        yield from on_prediction(image.probabilities, image.predicted, image.label)
    yield from (caveat("unshaken", text, gettext("prediction stays")) for text in _unshaken(records, run))
    yield from (caveat("flat curve", text, gettext("flat curve")) for text in _flat(records, run))
    yield from _blank(run_image, target, run)
    for name in _methods(run):
        if name in run_image.maps:
            yield from nearly_constant(target, run_image.maps[name], _in_words(name, run))
    yield from (caveat("tied", text, gettext("tied patches")) for text in _tied(records, run))
    for one in removals:
        if one.random and one.top >= float(np.mean(one.random)):
            yield no_better(one, _in_words(one.row, run))
    if snapshot is not None:
        size = (image.width, image.height)
        yield from blind(size, image.seen, image.box is not None)
        yield from squashed(squashed_words(Geometry(size, image.seen), snapshot.input_size))
    failures = {one.method: one.reason for one in excluded if one.method != "*"}
    for name, reason in failures.items():
        text = gettext("{method} failed on this image: {reason}.", method=_in_words(name, run), reason=reason)
        yield caveat("failed", text, gettext("a method failed"))
    if snapshot is None:
        text = gettext(
            "The run kept no picture of this image: the maps lie on plain ground. Running it again adds it."
        )
        yield caveat("no picture", text, gettext("no picture kept"))
    if not run_image.maps:
        yield caveat("no maps", gettext("The run kept no maps of this image."), gettext("no maps kept"))


def _unshaken(records: Sequence[Record], run: RunDescription) -> Iterator[str]:
    """Whether the prediction stays when nothing is left."""
    for protocol in run.protocols:
        mine = [one for one in records if one.protocol == protocol.name]
        mine = [one for one in mine if one.metric != "insertion"] or mine
        limit = SURE.get(protocol.value)
        if mine and limit is not None and mine[0].baseline > limit:
            yield gettext(
                "Under {protocol} the model still predicts {label} with every patch removed ({value} "
                "{number}): deletion cannot take that prediction away.",
                protocol=_removal(protocol),
                label=mine[0].target,
                value=protocol.value,
                number=f"{mine[0].baseline:.3g}",
            )


def _flat(records: Sequence[Record], run: RunDescription) -> Iterator[str]:
    for protocol in run.protocols:
        mine = [one for one in records if one.protocol == protocol.name]
        flat = {one.method for one in mine if one.saturated and one.metric == mine[0].metric}
        if names := _named([name for name in _methods(run) if name in flat], run):
            yield gettext(
                "Under {protocol} the curve of {methods} hardly moves: it ranks nothing.",
                protocol=_removal(protocol),
                methods=names,
            )


def _blank(run_image: RunImage, target: str, run: RunDescription) -> Iterator[Caveat]:
    blank = [name for name in _methods(run) if name in run_image.maps and not run_image.maps[name].any()]
    if names := _named(blank, run):
        yield zero_map(printable(target), names)


def _tied(records: Sequence[Record], run: RunDescription) -> Iterator[str]:
    """Of patches: pixels drawn from a patch map tie by nature."""
    protocol = ordered_by(run.protocols)
    name = MAPS if protocol is None else protocol.name
    ties = {one.method: one.tie_fraction for one in records if one.protocol == name}
    found = [
        f"{_in_words(method, run)} ({percent(ties[method])})"
        for method in _methods(run)
        if ties.get(method, 0.0) > TIED
    ]
    if found:
        yield gettext(
            "Most patches are tied, and chance orders them, in the map of {methods}.",
            methods=gettext(", ").join(found),
        )


def _methods(run: RunDescription) -> list[str]:
    """Names of the method configurations that are no controls."""
    return [one.name for one in run.methods if not one.control]


def _named(methods: Sequence[str], run: RunDescription) -> str:
    if len(methods) == len(_methods(run)) > 1:
        return gettext("every method")
    return gettext(", ").join(_in_words(name, run) for name in methods)


def _in_words(name: str, run: RunDescription) -> str:
    method = next((one.method for one in run.methods if one.name == name), name)
    return row_in_words(name, method)


def _removal(protocol: ProtocolDescription) -> str:
    """A protocol in words, and the name by which those with the same words are told apart."""
    words = removal_in_words(protocol.unit, protocol.operator.name)
    return gettext("{method} ({name})", method=words, name=protocol.name)


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
