"""Two runs, image by image."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xai.bench.config.lookup import metric_facts
from xai.bench.data.files import Folder, folder_of
from xai.bench.results.score_tables import dtype_of, precision_samples, score_tables
from xai.bench.run.items import MEASURED_DTYPE
from xai.bench.run.store import read_records, read_run
from xai.core import UsageError
from xai.core.language import gettext
from xai.stats import Comparison, adjust, compare_paired

_KEY = ["image_hash", "target", "method", "metric", "protocol_hash"]


@dataclass(frozen=True)
class RunPair:
    """One row of both runs, under one metric and protocol.

    Args:
        method: Row name.
        metric: Registry name.
        protocol: Name in the first run.
        protocol_hash: Digest, the same in both.
        same_method: Whether its options are the same in both runs.
        precisions: Type that perturbed images were computed in, of each run; says so if the error of a lower
            one is not measured.
        comparison: First run against the second.
    """

    method: str
    metric: str
    protocol: str
    protocol_hash: str
    same_method: bool
    comparison: Comparison
    precisions: tuple[str, str] = ("", "")

    @property
    def warning(self) -> str:
        """That the precisions differ; empty where they do not."""
        one, other = self.precisions
        if one == other:
            return ""
        return gettext(
            "perturbed images were computed in {one} in the first run, in {other} in the second. A measured "
            "error of lower precision is allowed for in the verdicts, one not measured is not.",
            one=one,
            other=other,
        )


def compare_runs(
    run_a: str | Folder,
    run_b: str | Folder,
    *,
    resamples: int = 9999,
    alpha: float = 0.05,
    seed: int = 0,
) -> list[RunPair]:
    """Compare what two runs have in common: same pixels, followed class, row name, metric and protocol hash.

    p is Holm's over the methods of one metric and protocol. Where a run has a lower precision, what its
    measured error could explain is no difference; `precisions` says which.

    Raises:
        UsageError: They share no such record; says whether images, methods, metrics or protocols differ.
    """
    columns = [*_KEY, "method_hash", "protocol", "group", "image", "value"]
    first, second = read_records(run_a, columns), read_records(run_b, columns)
    both = first.drop_duplicates(_KEY).merge(
        second.drop_duplicates(_KEY), on=_KEY, suffixes=("_a", "_b"), sort=False
    )
    both = both[both["value_a"].notna() & both["value_b"].notna()]
    if not len(both):
        raise UsageError(f"{run_a} and {run_b} share no score.", _why(first, second))
    names = (_name(run_a), _name(run_b)) if _name(run_a) != _name(run_b) else (str(run_a), str(run_b))
    runs = [_Precision(run) for run in (run_a, run_b)]
    precisions = runs[0].dtype, runs[1].dtype
    methods = both["method"].nunique()
    pairs = []
    for (method, metric, protocol_hash), part in both.groupby(
        ["method", "metric", "protocol_hash"], sort=False
    ):
        grouped = part["group_a"].nunique() < len(part)
        comparison = compare_paired(
            part["value_a"].to_numpy(),
            part["value_b"].to_numpy(),
            list(part["group_a"]) if grouped else None,
            names=names,
            higher_is_better=metric_facts(str(metric)).higher_is_better,
            alpha=alpha,
            resamples=resamples,
            seed=seed,
            tolerance=sum(
                run.tolerance(str(method), str(metric), str(protocol_hash), methods, alpha) for run in runs
            ),
        )
        same = bool((part["method_hash_a"] == part["method_hash_b"]).all())
        protocol = str(part["protocol_a"].iloc[0])
        pairs.append(
            RunPair(str(method), str(metric), protocol, str(protocol_hash), same, comparison, precisions)
        )
    return _adjusted(pairs, alpha)


class _Precision:
    """Of one run."""

    def __init__(self, run: str | Folder):
        description, self._samples = read_run(run).scored(run), {}
        self.dtype = dtype_of(description)
        if description.identity.get("autocast") == MEASURED_DTYPE:
            self._samples = precision_samples(description, run, score_tables(run))

    def tolerance(self, method: str, metric: str, protocol_hash: str, methods: int, alpha: float) -> float:
        """How far the mean of a method may be shifted."""
        sample = self._samples.get((metric, protocol_hash))
        return 0.0 if sample is None else sample.bound(method, None, 2 * methods, alpha)


def _adjusted(pairs: list[RunPair], alpha: float) -> list[RunPair]:
    adjusted = []
    for metric, protocol in dict.fromkeys((pair.metric, pair.protocol_hash) for pair in pairs):
        family = [pair for pair in pairs if (pair.metric, pair.protocol_hash) == (metric, protocol)]
        corrected = adjust([pair.comparison for pair in family], alpha=alpha)
        adjusted += [replace(pair, comparison=one) for pair, one in zip(family, corrected, strict=True)]
    return adjusted


def _name(run: str | Folder) -> str:
    folder = folder_of(run)
    return folder.resolve().name if isinstance(folder, Path) else folder.name


def _why(first: Any, second: Any) -> str:
    for column, what in (
        ("image_hash", "Their images (as the models take them) differ"),
        ("protocol_hash", "Their protocols differ, and numbers of different protocols are not comparable"),
        ("metric", "Their metrics differ"),
        ("method", "Their methods have different names"),
        ("target", "They follow different classes"),
    ):
        if not set(first[column]) & set(second[column]):
            return f"{what}."
    return "No image, row, metric and protocol is the same in both."
