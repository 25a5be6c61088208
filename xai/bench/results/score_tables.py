"""From records to what statistics take: images × methods, metric by metric and protocol by protocol."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xai.bench.config.method_configurations import GREEDY, RANDOM
from xai.metrics import METRICS

_DRAW = re.compile(rf"{RANDOM}_\d+")
COLUMNS = (
    "image",
    "group",
    "label",
    "kind",
    "method",
    "control",
    "metric",
    "protocol",
    "protocol_hash",
    "value",
    "saturated",
    "tie_fraction",
    "image_hash",
)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The scores of one metric under one protocol.

    Args:
        metric: Registry name.
        protocol: Name.
        protocol_hash: Digest.
        images: (N,) ids.
        groups: (N,) what each image is a frame or crop of.
        labels: (N,) true class names, None where not known.
        kinds: (N,) how each was manipulated, None where not known.
        methods: (M,) names of method configurations; random seeds are the one method `random`.
        controls: Those of them that are controls.
        values: (N, M) scores, NaN where there is none.
        draws: (N, seeds) scores of the single random maps.
        greedy: (N,) scores of the greedy order, NaN beyond its images; None if there are none.
        saturated: (N, M) curves that rank nothing.
        ties: (M,) mean share of units whose relevance is not unique.
    """

    metric: str
    protocol: str
    protocol_hash: str
    images: tuple[str, ...]
    groups: tuple[str, ...]
    labels: tuple[str | None, ...]
    kinds: tuple[str | None, ...]
    methods: tuple[str, ...]
    controls: tuple[str, ...]
    values: np.ndarray
    draws: np.ndarray
    greedy: np.ndarray | None
    saturated: np.ndarray
    ties: np.ndarray

    @property
    def higher_is_better(self) -> bool:
        """Direction of the metric."""
        return METRICS[self.metric].higher_is_better

    @property
    def grouped(self) -> bool:
        """Whether some images belong together."""
        return len(set(self.groups)) < len(self.groups)

    def column(self, method: str) -> np.ndarray:
        """(N,) scores of one method."""
        return self.values[:, self.methods.index(method)]


def score_tables(records: Any) -> Iterator[ScoreTable]:
    """One table per metric and protocol, in the order of the records.

    Args:
        records: DataFrame with at least `COLUMNS`.
    """
    for (metric, protocol, protocol_hash), group in records.groupby(
        ["metric", "protocol", "protocol_hash"], sort=False
    ):
        yield _table(metric, protocol, protocol_hash, group)


def _table(metric: str, protocol: str, protocol_hash: str, records: Any) -> ScoreTable:
    about = records.drop_duplicates("image").set_index("image")
    images, names = list(about.index), list(dict.fromkeys(records["method"]))
    drawn = [name for name in names if _DRAW.fullmatch(name)]
    plain = [name for name in names if name not in drawn and name != GREEDY]
    methods = [*plain, RANDOM] if drawn else plain

    def wide(column: str) -> Any:
        return records.pivot(index="image", columns="method", values=column).reindex(index=images)

    values, saturated, ties = (wide(name).astype(float) for name in ("value", "saturated", "tie_fraction"))
    draws = values[drawn].to_numpy()
    columns = [draws.mean(1) if name == RANDOM and drawn else values[name].to_numpy() for name in methods]
    flat = [
        (saturated[drawn].max(axis=1) if name == RANDOM and drawn else saturated[name]).to_numpy() > 0
        for name in methods
    ]
    tied = [ties[drawn if name == RANDOM and drawn else [name]].to_numpy() for name in methods]
    controls = set(records.loc[records["control"], "method"])
    return ScoreTable(
        metric=metric,
        protocol=protocol,
        protocol_hash=protocol_hash,
        images=tuple(images),
        groups=tuple(about["group"]),
        labels=_known(about["label"]),
        kinds=_known(about["kind"]),
        methods=tuple(methods),
        controls=tuple(name for name in methods if name in controls or (name == RANDOM and drawn)),
        values=np.stack(columns, 1) if columns else np.empty((len(images), 0)),
        draws=draws,
        greedy=values[GREEDY].to_numpy() if GREEDY in names else None,
        saturated=np.stack(flat, 1) if flat else np.empty((len(images), 0), bool),
        ties=np.array([np.nan if np.isnan(one).all() else np.nanmean(one) for one in tied]),
    )


def _known(column: Any) -> tuple[str | None, ...]:
    """A column of text; what pandas calls not a number is None."""
    return tuple(one if isinstance(one, str) else None for one in column)
