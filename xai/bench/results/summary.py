"""What a run says: rankings with their uncertainty, agreement, cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xai.bench.config.method_configurations import GREEDY, RANDOM
from xai.bench.data.files import Folder
from xai.bench.results.precision import precision_samples
from xai.bench.results.score_tables import ScoreTable, score_tables
from xai.bench.run.description import ProtocolDescription
from xai.bench.run.masks import mask_warnings
from xai.bench.run.plan import CHECKS
from xai.bench.run.store import Store, read_records, read_run
from xai.core import DataError
from xai.metrics import METRICS
from xai.stats import (
    Agreement,
    Analysis,
    Band,
    analyse,
    mean_curve,
    metric_agreement,
    rank_stability,
    split_half,
)
from xai.stats.summary import Greedy, MethodConfiguration, MethodCost, MetricResult, ModelOutputs, Summary

CURVE_RESAMPLES = 1000
HEADLINE = "srg"


def summarise(
    run: str | Folder, *, resamples: int | None = None, alpha: float | None = None, seed: int | None = None
) -> Summary:
    """Work out what the records of a run say, finished or not.

    Args:
        run: Its folder.
        resamples: Of the bootstrap; default as configured.
        alpha: Level of the tests; default as configured.
        seed: Of the bootstrap; default as configured.
    """
    description = read_run(run)
    configured = description.config.statistics
    settings: dict[str, Any] = {
        "resamples": resamples or configured.resamples,
        "alpha": alpha or configured.alpha,
        "seed": description.config.seed if seed is None else seed,
    }
    store, records = Store(run), read_records(run)
    found = list(score_tables(records))
    curves = records[records["curve"].map(len) > 0]
    _check_curves(run, curves)
    samples = precision_samples(description, store, found)
    results = tuple(
        _result(table, curves, settings | {"precision": samples.get((table.metric, table.protocol_hash))})
        for table in found
    )
    items, done = store.planned_items(), store.keys()
    return Summary(
        name=description.name,
        images=description.plan.images,
        units=(sum(item.key in done for item in items), len(items)),
        parts=results,
        stability=_stability(results),
        agreement=_agreement(results),
        answers=_model_outputs(records, description.protocols),
        cost=_cost(records),
        protocols=[one.content for one in description.protocols],
        methods=tuple(MethodConfiguration(**one.content) for one in description.methods),
        exclusions=tuple(store.exclusions()),
        provenance=description.sessions[-1].content,
        mask_warnings=tuple(mask_warnings(store.masks(CHECKS))),
    )


def _check_curves(run: str | Folder, curves: Any) -> None:
    """Curves that are averaged have the same number of points."""
    points = curves["curve"].map(len).groupby([curves["metric"], curves["protocol_hash"]]).nunique()
    if (points > 1).any():
        metric, protocol = points.index[points > 1][0]
        raise DataError(
            f"{run}: the curves of {metric} under protocol hash {protocol} differ in their number of points.",
            "A file in its folder parts was changed: delete it and run the same xai benchmark run again.",
        )


def _result(table: ScoreTable, curves: Any, settings: Mapping[str, Any]) -> MetricResult:
    every = np.ones(len(table.images), bool)
    mine = curves[(curves["metric"] == table.metric) & (curves["protocol_hash"] == table.protocol_hash)]
    flat = table.saturated.sum(0)
    methods = [i for i, name in enumerate(table.methods) if name not in {*table.controls, RANDOM}]
    return MetricResult(
        metric=table.metric,
        protocol=table.protocol,
        protocol_hash=table.protocol_hash,
        higher_is_better=table.higher_is_better,
        analysis=_with_saturation(_analyse(table, every, settings), table),
        strata=_split(table, table.labels, settings),
        kinds=_kinds(table, settings),
        split_half=split_half(
            table.values[:, methods],  # controls would make any two halves agree
            groups=table.groups if table.grouped else None,
            alpha=settings["alpha"],
            seed=settings["seed"],
        ),
        saturated={name: int(count) for name, count in zip(table.methods, flat, strict=True)},
        saturated_images=int(table.saturated.all(1).sum()) if len(table.methods) else 0,
        ties={name: float(share) for name, share in zip(table.methods, table.ties, strict=True)},
        greedy=_greedy(table),
        curves=_curves(table, mine, settings),
    )


def _split(
    table: ScoreTable, labels: Sequence[str | None], settings: Mapping[str, Any]
) -> dict[str, Analysis]:
    """Analyses of the images of the same label, by label, if there are several."""
    values = sorted({one for one in labels if one is not None})
    chosen = {value: np.array([one == value for one in labels]) for value in values}
    return {k: _analyse(table, v, settings) for k, v in chosen.items()} if len(values) > 1 else {}


def _kinds(table: ScoreTable, settings: Mapping[str, Any]) -> dict[str, Analysis]:
    if table.metric != HEADLINE and METRICS[table.metric].needs != "mask":
        return {}
    # the pairs of ten kinds would be most of the summary
    return {kind: replace(one, pairs=()) for kind, one in _split(table, table.kinds, settings).items()}


def _analyse(table: ScoreTable, chosen: np.ndarray, settings: Mapping[str, Any]) -> Analysis:
    groups = [group for group, one in zip(table.groups, chosen, strict=True) if one]
    judged = METRICS[table.metric].against_random and RANDOM in table.methods
    reference = RANDOM if judged else None
    return analyse(
        table.values[chosen],
        table.methods,
        groups=groups if table.grouped else None,
        higher_is_better=table.higher_is_better,
        reference=reference,
        reference_draws=table.draws[chosen] if reference and table.draws.shape[1] > 1 else None,
        controls=table.controls,
        **settings,
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
    means = {name: _mean(table.column(name)[here]) for name in table.methods}
    return Greedy(int(here.sum()), _mean(table.greedy[here]), means)


def _curves(table: ScoreTable, records: Any, settings: Mapping[str, Any]) -> dict[str, Band]:
    """Mean curves by method, over the images that all share; random maps are averaged per image first."""
    bands = {}
    shared = {table.images[place] for place in np.flatnonzero(np.isfinite(table.values).all(1))}
    records = records[records["image"].isin(shared)]
    for name in table.methods:
        drawn = records["method"].str.fullmatch(rf"{RANDOM}_\d+")
        mine = records[drawn if name == RANDOM else records["method"] == name]
        if not len(mine):
            continue
        by_image = mine.groupby("image", sort=False)
        bands[name] = mean_curve(
            np.stack([np.mean(np.stack(list(draws)), 0) for _, draws in by_image["curve"]]),
            list(mine["fractions"].iloc[0]),
            groups=list(by_image["group"].first()) if table.grouped else None,
            alpha=settings["alpha"],
            resamples=min(CURVE_RESAMPLES, settings["resamples"]),
            seed=settings["seed"],
        )
    return bands


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
            directions = {name: METRICS[name].higher_is_better for name in scores}
            found[protocol] = metric_agreement(scores, directions)
    return found


def _model_outputs(records: Any, protocols: Sequence[ProtocolDescription]) -> dict[str, ModelOutputs]:
    thresholds = {"margin": 0.0, "probability": 0.5, "accuracy": 0.5}
    found = {}
    for one in protocols:
        mine = records[(records["protocol_hash"] == one.hash) & records["clean"].notna()]
        # insertion may start from another baseline than the protocol's own
        mine = mine[mine["metric"] != "insertion"] if (mine["metric"] != "insertion").any() else mine
        mine = mine.drop_duplicates("image")
        if len(mine):
            limit = thresholds.get(one.value)
            above = None if limit is None else int((mine["baseline"] > limit).sum())
            found[one.name] = ModelOutputs(len(mine), _mean(mine["clean"]), _mean(mine["baseline"]), above)
    return found


def _cost(records: Any) -> dict[str, MethodCost]:
    once = records.drop_duplicates(["image", "method"])
    once = once.assign(method=once["method"].str.replace(rf"^{RANDOM}_\d+$", RANDOM, regex=True))
    return {
        str(name): MethodCost(
            float(mine["seconds"].median()),
            int(mine["forwards"].max()),
            int(mine["backwards"].max()),
            int(mine["peak_bytes"].max()),
        )
        for name, mine in once.groupby("method", sort=False)
        if name != GREEDY
    }


def _mean(values: Any) -> float:
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else math.nan
