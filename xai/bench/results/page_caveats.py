"""What to beware of in an image of a run: of its prediction, its curves and its maps."""

from collections.abc import Iterator, Sequence

import numpy as np

from xai.bench.results.images import RunImage
from xai.bench.results.page_metrics import ordered_by
from xai.bench.run.description import ProtocolDescription, RunDescription
from xai.bench.run.items import MAPS
from xai.core import Geometry, Record
from xai.core.errors import printable
from xai.core.language import gettext
from xai.core.names import removal_in_words, row_in_words
from xai.report.about import prose_without_folders
from xai.report.caveats import blind, caveat, nearly_constant, no_better, on_prediction, squashed, zero_map
from xai.report.image_payload import Caveat, Image, Removal
from xai.report.text import percent
from xai.report.words import squashed as squashed_words
from xai.stats import Exclusion

TIED = 0.5  # share of tied patches from which on luck decides
SURE = {"margin": 0.0, "probability": 0.5, "accuracy": 0.5}  # a probability above one half


def caveats(
    run_image: RunImage,
    records: Sequence[Record],
    removals: Sequence[Removal],
    image: Image,
    probabilities: dict[str, float] | None,
    run: RunDescription,
    excluded: Sequence[Exclusion],
) -> Iterator[Caveat]:
    """What to beware of in an image; on the prediction first.

    Args:
        run_image: What the run's folder holds of it.
        records: Its records, without those of the greedy order.
        removals: What is removed on the page.
        image: As the page holds it so far.
        probabilities: Of all labels; None: the run kept none.
        run: What it belongs to.
        excluded: What of it is missing, and why.
    """
    snapshot, target = run_image.snapshot, str(image.target)
    if probabilities is not None:
        yield from on_prediction(probabilities, image.predicted, image.label, run.problem_type)
    elif not run.problem_type.independent:  # of whose other labels nothing was kept
        yield from on_prediction(image.probabilities, image.predicted, image.label)
    yield from (caveat("unshaken", text, gettext("prediction stays")) for text in _unshaken(records, run))
    yield from (caveat("flat curve", text, gettext("flat curve")) for text in _flat(records, run))
    yield from _blank(run_image, target, run)
    for name in method_names(run):
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
    failures = {one.method: prose_without_folders(one.reason) for one in excluded if one.method != "*"}
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
        if names := _named([name for name in method_names(run) if name in flat], run):
            yield gettext(
                "Under {protocol} the curve of {methods} hardly moves: it ranks nothing.",
                protocol=_removal(protocol),
                methods=names,
            )


def _blank(run_image: RunImage, target: str, run: RunDescription) -> Iterator[Caveat]:
    blank = [name for name in method_names(run) if name in run_image.maps and not run_image.maps[name].any()]
    if names := _named(blank, run):
        yield zero_map(printable(target), names)


def _tied(records: Sequence[Record], run: RunDescription) -> Iterator[str]:
    """Of patches: pixels drawn from a patch map tie by nature."""
    protocol = ordered_by(run.protocols)
    name = MAPS if protocol is None else protocol.name
    ties = {one.method: one.tie_fraction for one in records if one.protocol == name}
    found = [
        f"{_in_words(method, run)} ({percent(ties[method])})"
        for method in method_names(run)
        if ties.get(method, 0.0) > TIED
    ]
    if found:
        yield gettext(
            "Most patches are tied, and chance orders them, in the map of {methods}.",
            methods=gettext(", ").join(found),
        )


def method_names(run: RunDescription) -> list[str]:
    """Names of the method configurations that are no controls."""
    return [one.name for one in run.methods if not one.control]


def _named(methods: Sequence[str], run: RunDescription) -> str:
    if len(methods) == len(method_names(run)) > 1:
        return gettext("every method")
    return gettext(", ").join(_in_words(name, run) for name in methods)


def _in_words(name: str, run: RunDescription) -> str:
    method = next((one.method for one in run.methods if one.name == name), name)
    return row_in_words(name, method)


def _removal(protocol: ProtocolDescription) -> str:
    """A protocol in words, and the name by which those with the same words are told apart."""
    words = removal_in_words(protocol.unit, protocol.operator.name)
    return gettext("{method} ({name})", method=words, name=protocol.name)
