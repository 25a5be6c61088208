"""How far scores of lower precision lie from those of full precision, where a run has both."""

from collections.abc import Iterable

import numpy as np

from xai.bench.config.lookup import metric_facts
from xai.bench.data.files import Folder
from xai.bench.results.score_tables import ScoreTable, score_tables
from xai.bench.run.description import RunDescription
from xai.bench.run.items import MEASURED_DTYPE
from xai.stats.precision import PrecisionSample

Samples = dict[tuple[str, str], PrecisionSample]  # by metric and protocol hash


def dtype_of(description: RunDescription) -> str:
    """Type that a run's perturbed images were computed in; says so if its error is not measured."""
    autocast = description.identity.get("autocast")
    if autocast == MEASURED_DTYPE:
        return "bfloat16"
    return (
        f"{autocast}, error not measured" if autocast else str(description.sessions[-1].content.get("dtype"))
    )


def precision_samples(
    description: RunDescription, run: str | Folder, tables: Iterable[ScoreTable]
) -> Samples:
    """Differences by metric and protocol; none of a run of full precision, empty ones before any is measured.

    Args:
        description: Of the run.
        run: Its folder.
        tables: Of the run.
    """
    if description.identity.get("autocast") != MEASURED_DTYPE:
        return {}
    exact = {(one.metric, one.protocol_hash): one for one in score_tables(run, exact=True)}
    return {
        (table.metric, table.protocol_hash): _sample(table, exact.get((table.metric, table.protocol_hash)))
        for table in tables
        if metric_facts(table.metric).needs == "perturbation"
    }


def _sample(table: ScoreTable, exact: ScoreTable | None) -> PrecisionSample:
    if exact is None:
        return PrecisionSample("bfloat16", (), np.empty((0, 0)))
    row_of = {name: row for row, name in enumerate(exact.images)}
    places = [i for i, name in enumerate(table.images) if name in row_of]
    rows = [row_of[table.images[i]] for i in places]
    methods = [name for name in table.methods if name in exact.methods]
    columns = [table.column(name)[places] - exact.column(name)[rows] for name in methods]
    groups = [table.groups[i] for i in places] if table.grouped else None
    return PrecisionSample("bfloat16", methods, np.stack(columns, 1), groups)
