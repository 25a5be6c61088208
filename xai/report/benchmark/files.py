"""All pictures of a benchmark, in one folder."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.figure import Figure

from xai.report.benchmark.agreement import draw_agreement
from xai.report.benchmark.critical_difference import draw_critical_difference
from xai.report.benchmark.curves import draw_curves
from xai.report.benchmark.forest import draw_forest
from xai.report.benchmark.rank_table import draw_rank_table
from xai.report.layout import save
from xai.report.text import file_slug
from xai.stats import Agreement, Analysis, Band

FORMATS = ("png", "svg")
ALONG = {"insertion": "share put back", "randomization": "share of stages randomised"}


class Measured(Protocol):
    """One metric under one protocol, with its statistics."""

    @property
    def metric(self) -> str:
        """Registry name."""
        ...

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        ...

    @property
    def analysis(self) -> Analysis:
        """What the scores allow one to say."""
        ...

    @property
    def curves(self) -> Mapping[str, Band]:
        """Mean curve by method, empty for metrics without curves."""
        ...


def write_pictures(
    parts: Sequence[Measured],
    out: Path,
    *,
    agreement: Mapping[str, Agreement] | None = None,
    stability: Mapping[str, Agreement] | None = None,
) -> list[Path]:
    """Draw every part: ranks, intervals and curves, each as PNG and SVG.

    Args:
        parts: In the order in which they are to be read.
        out: Folder, made if need be.
        agreement: By protocol: whether its metrics rank alike.
        stability: By metric: whether the protocols rank alike.

    Returns:
        The PNG files, in that order.
    """
    written = []
    for name, figure in _figures(parts, agreement or {}, stability or {}):
        # saving empties a figure, so it is drawn once for each format
        for ending in FORMATS:
            save(figure(), out / f"{name}.{ending}")
        written.append(out / f"{name}.png")
    return written


def _figures(
    parts: Sequence[Measured], agreement: Mapping[str, Agreement], stability: Mapping[str, Agreement]
) -> "Iterator[tuple[str, _Draw]]":
    drawn = [part for part in parts if part.analysis.methods]
    for protocol in dict.fromkeys(part.protocol for part in drawn):
        analyses = {part.metric: part.analysis for part in drawn if part.protocol == protocol}
        yield _name("ranks", protocol), lambda a=analyses, p=protocol: draw_rank_table(a, f"Protocol {p}")
    for part in drawn:
        title = f"{part.metric} under {part.protocol}"
        yield (
            _name("critical_difference", part.metric, part.protocol),
            lambda p=part, t=title: draw_critical_difference(p.analysis, t),
        )
        yield (
            _name("intervals", part.metric, part.protocol),
            lambda p=part, t=title: draw_forest(p.analysis, t, metric=p.metric),
        )
        if part.curves:
            controls = [method.name for method in part.analysis.methods if method.control]
            yield (
                _name("curves", part.metric, part.protocol),
                lambda p=part, t=title, c=controls: draw_curves(
                    p.curves, t, controls=c, x_label=ALONG.get(p.metric, "share removed")
                ),
            )
    for protocol, matrix in agreement.items():
        yield (
            _name("agreement", protocol),
            lambda m=matrix, p=protocol: draw_agreement(m, f"Do the metrics agree? {p}"),
        )
    for metric, matrix in stability.items():
        yield (
            _name("stability", metric),
            lambda m=matrix, n=metric: draw_agreement(m, f"Do the protocols agree? {n}"),
        )


class _Draw(Protocol):
    def __call__(self) -> Figure: ...


def _name(*words: str) -> str:
    return "_".join(map(file_slug, words))
