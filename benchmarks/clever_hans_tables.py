"""What the two runs of clever_hans.py say of each method: figures, tests, a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from xai.bench import Summary, summarise
from xai.bench.results.score_tables import ScoreTable, score_tables
from xai.core import DataError
from xai.metrics import METRICS, average_precision, pointing_game
from xai.stats import Comparison, adjust, analyse, compare_paired, phrase

DETECTORS = "shortcut", "honest"
DECISIVE = "average_precision"
SOBEL = "sobel"
ALPHA = 0.05
LOOKED_FOR = {"pointing_game": pointing_game, "average_precision": average_precision}
"""Metrics that are taken at the forgery, too."""


@dataclass(frozen=True)
class Findings:
    """What both runs say.

    Args:
        summaries: Detector → summary of its run, with the watermark as the mask.
        tables: (detector, metric) → scores of the single images, for metrics that read the mask.
        forgery: Detector → row → metric → mean and interval, with the forgery as the mask.
    """

    summaries: Mapping[str, Summary]
    tables: Mapping[tuple[str, str], ScoreTable]
    forgery: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, runs: Path, forged: NDArray[np.bool_]) -> Findings:
        """Read the runs `shortcut` and `honest`.

        Args:
            runs: Their folder.
            forged: (images, H, W) where each image was forged.

        Raises:
            DataError: An image or a map is missing.
        """
        found = {
            (name, one.metric): one
            for name in DETECTORS
            for one in score_tables(runs / name)
            if METRICS[one.metric].needs == "mask"
        }
        for (name, metric), one in found.items():
            if len(one.images) != len(forged) or not np.isfinite(one.values).all():
                raise DataError(
                    f"{runs / name} lacks scores of {metric}.", "Delete it and run the same command again."
                )
        groups = found[DETECTORS[0], DECISIVE].groups
        return cls(
            {name: summarise(runs / name) for name in DETECTORS},
            found,
            {name: at_forgery(read_maps(runs / name), forged, groups) for name in DETECTORS},
        )

    def rows(self) -> dict[str, dict[str, Any]]:
        """Row of the benchmark → its figures, ready for JSON."""
        differences, over_sobel = self.between_detectors(), self.beyond_sobel()
        found: dict[str, dict[str, Any]] = {}
        for one in self.tables[DETECTORS[0], DECISIVE].methods:
            row = found[one] = {
                "control": one in self.tables[DETECTORS[0], DECISIVE].controls,
                "watermark": {name: at_watermark(self.summaries[name], one) for name in DETECTORS},
                "forgery": {name: self.forgery[name][one] for name in DETECTORS},
                "difference": {metric: said(each[one]) for metric, each in differences.items()},
                "over_sobel": said(over_sobel[one]) if one in over_sobel else None,
            }
            row["verdict"] = verdict(row)
        return found

    def between_detectors(self) -> dict[str, dict[str, Comparison]]:
        """Metric → row → shortcut minus honest, image by image."""
        metrics = dict.fromkeys(metric for _, metric in self.tables)
        return {
            metric: compare_columns(
                *(self.tables[name, metric] for name in DETECTORS),
                names=("shortcut", "honest"),
            )
            for metric in metrics
        }

    def beyond_sobel(self) -> dict[str, Comparison]:
        """Row → average precision above that of the edge detector, for the shortcut detector."""
        table = self.tables[DETECTORS[0], DECISIVE]
        rows = [name for name in table.methods if name not in table.controls]
        found = [
            compare_paired(table.column(row), table.column(SOBEL), table.groups, names=(row, SOBEL))
            for row in rows
        ]
        return dict(zip(rows, adjust(found, alpha=ALPHA), strict=True))


def compare_columns(first: ScoreTable, second: ScoreTable, names: tuple[str, str]) -> dict[str, Comparison]:
    """Row → its scores in two tables of the same images; p by Holm over the rows that know the model."""
    found = {
        row: compare_paired(first.column(row), second.column(row), first.groups, names=names)
        for row in first.methods
    }
    tested = [row for row in found if row not in first.controls]
    return found | dict(zip(tested, adjust([found[row] for row in tested], alpha=ALPHA), strict=True))


def read_maps(run: Path) -> dict[str, Tensor]:
    """Row → (images, rows, cols) relevance, as the run kept it."""
    parts = [load_file(path) for path in sorted((run / "maps").glob("*.safetensors"))]
    if not parts:
        raise DataError(f"{run} holds no maps.", "Delete the folder and run the same command again.")
    # images of one shape are one group, number 0
    return {key.removesuffix("/0"): torch.cat([part[key] for part in parts]) for key in parts[0]}


def at_forgery(
    maps: Mapping[str, Tensor], forged: NDArray[np.bool_], groups: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Row → metric → mean and interval over groups; the random maps are averaged image by image."""
    masks, found = torch.from_numpy(forged), {}
    for metric, function in LOOKED_FOR.items():
        scores = {row: function(relevance, masks).numpy() for row, relevance in maps.items()}
        drawn = [row for row in scores if row.startswith("random_")]
        if drawn:
            scores["random"] = np.mean([scores.pop(row) for row in drawn], axis=0)
        values = np.stack(list(scores.values()), axis=1)
        for one in analyse(values, list(scores), groups=groups, reference=None).methods:
            found.setdefault(one.name, {})[metric] = {"mean": one.mean, "low": one.low, "high": one.high}
    return found


def at_watermark(summary: Summary, row: str) -> dict[str, dict[str, Any]]:
    """Metric → mean, interval and the verdict against random maps."""
    found = {}
    for part in summary.parts:
        one = part.analysis.method(row)
        # a reference has neither p nor superiority
        ahead = one.p_reference is not None and (one.superiority or 0.0) > 0.5
        found[part.metric] = {
            "mean": one.mean,
            "low": one.low,
            "high": one.high,
            "above_random": bool(ahead and one.p_reference < ALPHA),  # type: ignore[operator]
            "verdict": phrase(one.verdict),
        }
    return found


def said(one: Comparison) -> dict[str, Any]:
    """A comparison, for JSON."""
    return {
        "mean": one.difference,
        "low": one.low,
        "high": one.high,
        "p": one.p,
        "above": bool(one.p < ALPHA and one.verdict.side > 0),
    }


def verdict(row: Mapping[str, Any]) -> str:
    """Whether a method shows the watermark because the detector uses it, or what speaks against that."""
    if row["control"]:
        return "control"
    against = [
        reason
        for shown, reason in (
            (row["watermark"][DETECTORS[0]][DECISIVE]["above_random"], "not above random"),
            (row["over_sobel"]["above"], "not above edges"),
            (row["difference"][DECISIVE]["above"], "not above the honest detector's"),
        )
        if not shown
    ]
    return "; ".join(against) or "shows the watermark"
