"""What a run says: rankings with their uncertainty, agreement, cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xai.bench.config.lookup import metric_facts
from xai.bench.config.method_configurations import GREEDY, RANDOM
from xai.bench.data.files import Folder
from xai.bench.results.mean_curves import mean_curves
from xai.bench.results.record_parts import Names, Places, RecordPart, first_records, record_parts
from xai.bench.results.score_tables import (
    COLUMNS,
    DRAW,
    LOCATED,
    Samples,
    ScoreTable,
    ScoreTables,
    precision_samples,
)
from xai.bench.run.description import ProtocolDescription
from xai.bench.run.items import CHECKS
from xai.bench.run.masks import mask_warnings
from xai.bench.run.store import Store, read_run
from xai.stats import Agreement, Analysis, MethodCost, ModelOutputs, metric_agreement, rank_stability
from xai.stats.agreement import split_halves
from xai.stats.analysis import ScoredImages, analyse_together
from xai.stats.summary import Greedy, MethodConfiguration, MetricResult, Summary

HEADLINE = "srg"
TRUTH = ("mask", "clicks")  # what a metric needs that says where the relevance should lie

COSTS = ("image", "method", "seconds", "forwards", "backwards", "peak_bytes")
ANSWERS = ("image", "metric", "protocol_hash", "clean", "baseline")
_THRESHOLDS = {"margin": 0.0, "probability": 0.5, "accuracy": 0.5}


def summarise(
    run: str | Folder, *, resamples: int | None = None, alpha: float | None = None, seed: int | None = None
) -> Summary:
    """Work out what the records of a run say, finished or not.

    Records are read part by part, and curves once more at the end: the scores alone are held.

    Args:
        run: Its folder.
        resamples: Of the bootstrap; default as configured.
        alpha: Level of the tests; default as configured.
        seed: Of the bootstrap; default as configured.
    """
    description = read_run(run).scored(run)
    configured = description.config.statistics
    settings: dict[str, Any] = {
        "resamples": resamples or configured.resamples,
        "alpha": alpha or configured.alpha,
        "seed": description.config.seed if seed is None else seed,
    }
    store, names = Store(run), dict[str, Names]()
    growing = ScoreTables(run, description.plan.images)
    costs, answers = Costs(), Answers(description.protocols)
    for part in record_parts(store, sorted({*COLUMNS, *COSTS, *ANSWERS}), names):
        for one in (growing, costs, answers):
            one.add(part)
    tables = growing.finished()
    samples = precision_samples(description, run, tables)
    results = _results(tables, samples, settings)

    def again() -> Iterator[RecordPart]:
        return record_parts(store, [*LOCATED, "curve"], names)

    curves = mean_curves(growing, tables, again, **settings)
    results = [replace(one, curves=mine) for one, mine in zip(results, curves, strict=True)]
    items, done = store.planned_items(), store.keys()
    return Summary(
        name=description.name,
        images=description.plan.images,
        units=(sum(item.key in done for item in items), len(items)),
        parts=tuple(results),
        stability=_stability(results),
        agreement=_agreement(results),
        answers=answers.finished(),
        cost=costs.finished(),
        protocols=[one.content for one in description.protocols],
        methods=tuple(MethodConfiguration(**one.content) for one in description.methods),
        exclusions=tuple(store.exclusions()),
        provenance=description.sessions[-1].content,
        mask_warnings=tuple(mask_warnings(store.masks(CHECKS))),
    )


def _results(
    tables: Sequence[ScoreTable], samples: Samples, settings: Mapping[str, Any]
) -> list[MetricResult]:
    """All but the curves. Tables of the same images are analysed together: their resamples are the same."""
    everything = [np.ones(len(table.images), bool) for table in tables]
    analyses = _analyses(tables, everything, samples, settings)
    halves = split_halves(
        [_without_controls(table) for table in tables], alpha=settings["alpha"], seed=settings["seed"]
    )
    strata = _split(tables, [table.labels for table in tables], samples, settings)
    by_kind = [
        table.kinds if table.metric == HEADLINE or metric_facts(table.metric).needs in TRUTH else ()
        for table in tables
    ]
    by_kinds = _split(tables, by_kind, samples, settings)
    return [
        MetricResult(
            metric=table.metric,
            protocol=table.protocol,
            protocol_hash=table.protocol_hash,
            higher_is_better=table.higher_is_better,
            analysis=_with_saturation(analysis, table),
            strata=by_label,
            # the pairs of ten kinds would be most of the summary
            kinds={kind: replace(one, pairs=()) for kind, one in kinds.items()},
            split_half=split_half,
            saturated=dict(zip(table.methods, table.saturated.sum(0).tolist(), strict=True)),
            saturated_images=int(table.saturated.all(1).sum()) if len(table.methods) else 0,
            ties=dict(zip(table.methods, table.ties.tolist(), strict=True)),
            greedy=_greedy(table),
            curves={},
        )
        for table, analysis, by_label, kinds, split_half in zip(
            tables, analyses, strata, by_kinds, halves, strict=True
        )
    ]


def _without_controls(table: ScoreTable) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores of the methods, and groups: controls would make any two halves agree."""
    methods = [i for i, name in enumerate(table.methods) if name not in {*table.controls, RANDOM}]
    return table.values[:, methods], table.groups if table.grouped else None


def _split(
    tables: Sequence[ScoreTable],
    labels: Sequence[Sequence[str | None]],
    samples: Samples,
    settings: Mapping[str, Any],
) -> list[dict[str, Analysis]]:
    """By table: analyses of the images of the same label, by label, if there are several."""
    found: list[dict[str, Analysis]] = [{} for _ in tables]
    values = [sorted({one for one in mine if one is not None}) for mine in labels]
    for value in sorted({value for mine in values if len(mine) > 1 for value in mine}):
        places = [place for place, mine in enumerate(values) if len(mine) > 1 and value in mine]
        chosen = [np.array([one == value for one in labels[place]]) for place in places]
        analyses = _analyses([tables[place] for place in places], chosen, samples, settings)
        for place, analysis in zip(places, analyses, strict=True):
            found[place][value] = analysis
    return found


def _analyses(
    tables: Sequence[ScoreTable],
    chosen: Sequence[np.ndarray],
    samples: Samples,
    settings: Mapping[str, Any],
) -> list[Analysis]:
    """Of some images of each table."""
    return analyse_together(
        (_scores(table, mine, samples) for table, mine in zip(tables, chosen, strict=True)), **settings
    )


def _scores(table: ScoreTable, chosen: np.ndarray, samples: Samples) -> ScoredImages:
    judged = metric_facts(table.metric).against_random and RANDOM in table.methods
    mine = slice(None) if chosen.all() else chosen  # without a copy
    return ScoredImages(
        table.values[mine],
        table.methods,
        groups=table.groups[mine] if table.grouped else None,
        higher_is_better=table.higher_is_better,
        reference=RANDOM if judged else None,
        reference_draws=table.draws[mine] if judged and table.draws.shape[1] > 1 else None,
        controls=table.controls,
        precision=samples.get((table.metric, table.protocol_hash)),
    )


def _with_saturation(analysis: Analysis, table: ScoreTable) -> Analysis:
    """Verdicts that know on how many images the curve of a method ranks nothing."""
    images, methods = len(table.images), []
    for one in analysis.methods:
        flat = int(table.saturated[:, table.methods.index(one.name)].sum())
        if flat and one.name != analysis.reference:
            one = replace(one, verdict=replace(one.verdict, saturated=flat, images=images))
        methods.append(one)
    return replace(analysis, methods=tuple(methods))


def _greedy(table: ScoreTable) -> Greedy | None:
    if table.greedy is None:
        return None
    here = np.isfinite(table.greedy)
    means = {name: finite_mean(table.column(name)[here]) for name in table.methods}
    return Greedy(int(here.sum()), finite_mean(table.greedy[here]), means)


def _means(result: MetricResult) -> dict[str, float]:
    """Mean scores of the methods; controls would make any two rankings agree."""
    return {one.name: one.mean for one in result.analysis.methods if not one.control}


def _stability(results: Sequence[MetricResult]) -> dict[str, Agreement]:
    metrics = {
        result.metric: {p.protocol: _means(p) for p in results if p.metric == result.metric}
        for result in results
    }
    return {name: rank_stability(scores) for name, scores in metrics.items() if len(scores) > 1}


def _agreement(results: Sequence[MetricResult]) -> dict[str, Agreement]:
    found = {}
    for protocol in dict.fromkeys(result.protocol for result in results):
        scores = {result.metric: _means(result) for result in results if result.protocol == protocol}
        if len(scores) > 1:
            directions = {name: metric_facts(name).higher_is_better for name in scores}
            found[protocol] = metric_agreement(scores, directions)
    return found


class Costs:
    """Cost by method; a map counts once, however many metrics looked at it."""

    def __init__(self) -> None:
        self._maps: dict[int, Places] = {}
        self._names = Names()
        self._seconds: dict[int, list[np.ndarray]] = {}
        self._most: dict[int, np.ndarray] = {}

    def add(self, part: RecordPart) -> None:
        """Take records with at least `COSTS`."""
        images, methods = part.codes("image"), part.codes("method")
        self._names = part.names["method"]
        maps = first_records(images.astype(np.int64) * len(self._names) + methods)
        images, methods = images[maps], methods[maps]
        cost = np.stack([part.cells(name)[maps] for name in ("forwards", "backwards", "peak_bytes")])
        seconds = part.cells("seconds")[maps]
        for method in methods[first_records(methods)]:
            mine = np.flatnonzero(methods == method)
            new = mine[self._maps.setdefault(method, Places()).add(images[mine])]
            self._seconds.setdefault(method, []).append(seconds[new])
            if len(new):
                most = cost[:, new].max(1)
                before = self._most.get(method)
                self._most[method] = most if before is None else np.maximum(before, most)

    def finished(self) -> dict[str, MethodCost]:
        """By method; random seeds are one."""
        names, found = list(self._names), {}
        for method in self._most:
            name = names[method]
            found.setdefault(RANDOM if DRAW.fullmatch(name) else name, []).append(method)
        costs = {}
        for name, methods in found.items():
            seconds = np.concatenate([one for method in methods for one in self._seconds[method]])
            seconds = seconds[~np.isnan(seconds)]
            most = np.max([self._most[method] for method in methods], axis=0)
            costs[name] = MethodCost(
                float(np.median(seconds)) if len(seconds) else float("nan"), *map(int, most)
            )
        return {name: cost for name, cost in costs.items() if name != GREEDY}


class Answers:
    """How the model answers by protocol, image by image.

    Args:
        protocols: Of the run.
    """

    def __init__(self, protocols: Sequence[ProtocolDescription]):
        self._protocols = protocols
        # protocol hash, whether by insertion → images, and their answers
        self._found: dict[tuple[str, bool], tuple[Places, list[np.ndarray]]] = {}

    def add(self, part: RecordPart) -> None:
        """Take records with at least `ANSWERS`."""
        values = np.stack([part.cells("clean"), part.cells("baseline")])
        inserted = _is(part, "metric", "insertion")
        for one in self._protocols:
            mine = _is(part, "protocol_hash", one.hash) & ~np.isnan(values[0])
            for insertion in (False, True):
                chosen = np.flatnonzero(mine & (inserted == insertion))
                images, answers = self._found.setdefault((one.hash, insertion), (Places(), []))
                answers.append(values[:, chosen[images.add(part.codes("image")[chosen])]])

    def finished(self) -> dict[str, ModelOutputs]:
        """By protocol; insertion may start from another baseline than the protocol's own."""
        found = {}
        for one in self._protocols:
            limit = _THRESHOLDS.get(one.value)
            for insertion in (False, True):
                _, answers = self._found.get((one.hash, insertion), (None, []))
                clean, baseline = np.concatenate([np.empty((2, 0)), *answers], axis=1)
                if len(clean):
                    above = None if limit is None else int((baseline > limit).sum())
                    found[one.name] = ModelOutputs(
                        len(clean), finite_mean(clean), finite_mean(baseline), above
                    )
                    break
        return found


def finite_mean(values: np.ndarray) -> float:
    """Of the finite ones; NaN without any."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def _is(part: RecordPart, column: str, text: str) -> np.ndarray:
    codes = part.codes(column)
    return codes == {name: number for number, name in enumerate(part.names[column])}.get(text, -2)
