"""The runs of `clip_forgery.py` as tables: who leads, who can be told from whom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from xai.stats import Comparison, compare_paired

Columns = Sequence[tuple[str, str]]
"""Metric and protocol; metrics that read the map alone have no protocol of their own: ""."""

HEADLINE = (
    ("srg", "token-4"),
    ("srg", "mean-3"),
    ("deletion", "token-4"),
    ("insertion", "token-4"),
    ("pointing_game", ""),
    ("average_precision", ""),
)
"""Columns of the ranking: metric and protocol."""


@dataclass(frozen=True)
class Table:
    """One metric under one protocol, of one run."""

    part: dict[str, Any]
    rows: dict[str, dict[str, Any]] = field(init=False)
    differ: set[frozenset[str]] = field(init=False)

    def __post_init__(self) -> None:
        analysis = self.part["analysis"]
        object.__setattr__(self, "rows", {row["name"]: row for row in analysis["methods"]})
        pairs = (pair for pair in analysis["pairs"] if pair["distinguishable"])
        object.__setattr__(self, "differ", {frozenset((pair["first"], pair["second"])) for pair in pairs})

    def order(self) -> list[str]:
        """Rows, the best mean first."""
        sign = -1 if self.part["higher_is_better"] else 1
        known = [name for name, row in self.rows.items() if row["mean"] is not None]
        return sorted(known, key=lambda name: sign * self.rows[name]["mean"])

    def better(self, name: str) -> list[str]:
        """Rows of attributions that are significantly better than this one."""
        order = self.order()
        ahead = order[: order.index(name)] if name in order else []
        return [one for one in ahead if not self.rows[one]["control"] and self.differs(one, name)]

    def leads(self, name: str) -> bool:
        """Whether no attribution is significantly better."""
        return name in self.rows and not self.better(name)

    def differs(self, first: str, second: str) -> bool:
        """Whether two rows can be told apart."""
        return frozenset((first, second)) in self.differ

    def cell(self, name: str) -> str:
        """Mean and interval."""
        row = self.rows.get(name)
        if not row or row["mean"] is None:
            return ""
        # where no rows can be told apart, for want of images, to lead means nothing
        mark = "**" if self.differ and self.leads(name) and not row["control"] else ""
        return f"{mark}{row['mean']:.2f}{mark} [{row['low']:.2f}, {row['high']:.2f}]"


class Run:
    """A run's tables by metric and protocol."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.summary = json.loads((folder / "summary.json").read_text("utf-8"))
        self.tables = {
            (part["metric"], part["protocol"] or ""): Table(part) for part in self.summary["parts"]
        }

    @cached_property
    def records(self) -> pd.DataFrame:
        """Every score: `xai benchmark export`."""
        return pd.read_parquet(
            self.folder / "records.parquet",
            columns=["image", "group", "method", "control", "seed", "metric", "protocol", "value"],
        )

    def table(self, metric: str, protocol: str = "") -> Table:
        """Of a metric; those that read the map alone have no protocol of their own."""
        found = self.tables.get((metric, protocol))
        return found or next(table for (name, _), table in self.tables.items() if name == metric)


def ranking(run: Run, columns: Columns = HEADLINE) -> list[str]:
    """All rows, in the order of the first column."""
    tables = [run.table(*column) for column in columns]
    heads = [
        f"{metric.replace('_', ' ')}{f', {protocol}' if protocol else ''}" for metric, protocol in columns
    ]
    lines = [f"| row | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for name in tables[0].order():
        shown = f"*{name}*" if tables[0].rows[name]["control"] else name
        lines.append(f"| {shown} | {' | '.join(table.cell(name) for table in tables)} |")
    return lines


def compare(run: Run, metric: str, protocol: str, first: str, second: str) -> Comparison:
    """Two rows image by image; the tests of the summary are over all pairs of rows, which costs power."""
    records = run.records
    mine = records[(records["metric"] == metric) & ((records["protocol"] == protocol) | (protocol == ""))]
    both = [mine[mine["method"] == name].set_index("image") for name in (first, second)]
    groups = both[0]["group"]
    scores = [one["value"].reindex(groups.index).to_numpy() for one in both]
    better = run.table(metric, protocol).part["higher_is_better"]
    return compare_paired(*scores, groups.tolist(), names=(first, second), higher_is_better=better)


def line(label: str, found: Comparison) -> str:
    """A comparison as a row of a table."""
    cells = [f"{name} {mean:.2f}" for name, mean in zip(found.names, found.means, strict=True)]
    interval = f"{found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
    p = "<0.001" if found.p < 0.001 else f"{found.p:.3f}"
    return f"| {label} | {cells[0]} | {cells[1]} | {interval} | {p} |"


def by_kind(run: Run, metric: str, rows: Sequence[str]) -> list[str]:
    """Means of some rows for each kind of manipulation."""
    kinds = run.table(metric).part["kinds"]
    known = [name for name in rows if name in run.table(metric).rows]
    lines = [f"| kind | images | {' | '.join(known)} |", f"|---|---:|{'---:|' * len(known)}"]
    for kind, analysis in kinds.items():
        means = {row["name"]: row["mean"] for row in analysis["methods"]}
        cells = [f"{means[name]:.2f}" for name in known]
        lines.append(f"| {kind} | {analysis['images']} | {' | '.join(cells)} |")
    return lines
