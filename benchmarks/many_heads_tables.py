"""Scores of `many_heads.py`: means over heads, paired tests, and presets chosen on other heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from xai.metrics import METRICS
from xai.stats import Comparison, HierarchicalMeans, Outcome, adjust, compare_paired, hierarchical_means

Table = tuple[str, str]
"""Metric and protocol."""
INDEX = ["head", "source", "image"]
RANDOM = "random"
RESAMPLES = 4999
ROUGH = 99


@dataclass(frozen=True)
class Purpose:
    """What a preset is for.

    Args:
        preset: Its name.
        row: What it is now.
        candidates: Rows that it may be.
        tables: In which it is judged; the first is the one that losses are told in.
    """

    preset: str
    row: str
    candidates: tuple[str, ...]
    tables: tuple[Table, ...]


BLOCK = ["tower", "head", "run", "number"]
"""What tells a block of `many_heads.py` from the others."""
RECORDS = "records.parquet"


def read_records(folder: Path | None) -> pd.DataFrame:
    """Records that were published in a folder: those of a block, and whose they are in the columns `BLOCK`.

    Empty where there are none.
    """
    path = None if folder is None else folder / RECORDS
    return pd.read_parquet(path) if path is not None and path.is_file() else pd.DataFrame(columns=BLOCK)


def gather(out: Path, published: pd.DataFrame) -> pd.DataFrame:
    """The records of all finished blocks: the published ones, and those below a folder of runs.

    Args:
        out: Of `many_heads.py`: tower, head, run and number of a block are the names of its folders.
        published: By `read_records`; a block that is in both is taken from here.
    """
    known = blocks_of(published)
    frames = [published] if len(published) else []
    for path in sorted(out.glob(f"*/*/*/*/{RECORDS}")):
        tower, head, run, number = path.parts[-5:-1]
        if (tower, head, run, int(number)) not in known:
            frames.append(pd.read_parquet(path).assign(tower=tower, head=head, run=run, number=int(number)))
    return pd.concat(frames, ignore_index=True) if frames else published


def blocks_of(records: pd.DataFrame) -> set[tuple[str, str, str, int]]:
    """Tower, head, run and number of every block that has records."""
    return set(records[BLOCK].drop_duplicates().itertuples(index=False, name=None))


def write_records(records: pd.DataFrame, folder: Path) -> None:
    """Publish records for `read_records`: scores in float32, whose rounding no table shows.

    Scores are nearly all different: apart, their first, second … bytes are compressed to half of what a
    dictionary of them takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packed = records.sort_values([*BLOCK, "metric", "protocol", "method", "image"]).assign(
        value=records["value"].astype("float32")
    )
    packed.to_parquet(
        folder / f"{RECORDS}.tmp",
        index=False,
        compression="zstd",
        compression_level=19,
        use_dictionary=[name for name in packed.columns if name != "value"],
        use_byte_stream_split=["value"],
    )
    (folder / f"{RECORDS}.tmp").replace(folder / RECORDS)


def scores_of(records: pd.DataFrame, tower: str, runs: Sequence[str]) -> Scores | None:
    """Scores of the finished blocks of a tower's runs; None where no block is finished."""
    frame = records[(records["tower"] == tower) & records["run"].isin(runs)].copy()
    if not len(frame):
        return None
    frame["method"] = frame["method"].str.replace(r"^random_\d+$", RANDOM, regex=True)
    frame["source"] = frame["head"] + "/" + frame["group"]
    return Scores(frame)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one tower: columns head, source, image, method, control, metric, protocol, value."""

    frame: pd.DataFrame

    @cached_property
    def controls(self) -> set[str]:
        """Rows that are no attributions."""
        return set(self.frame.loc[self.frame["control"], "method"])

    @cached_property
    def heads(self) -> list[str]:
        """With any score."""
        return sorted(set(self.frame["head"]))

    @cached_property
    def _tables(self) -> dict[Table, pd.DataFrame]:
        return {
            (metric, protocol): part.pivot_table("value", INDEX, "method")
            for (metric, protocol), part in self.frame.groupby(["metric", "protocol"])
        }

    def table(self, table: Table, head: str | None = None) -> pd.DataFrame:
        """(images, rows) of a metric under a protocol, NaN where a row was not measured."""
        found = self._tables[table]
        return found if head is None else found.loc[[head]]

    @cached_property
    def rows(self) -> list[str]:
        """The rows that are attributions, those measured on most images first."""
        counted = next(iter(self._tables.values())).notna().sum().sort_values(ascending=False, kind="stable")
        return [name for name in counted.index if name not in self.controls]

    def means(self, table: Table, row: str, minus: str | None = None) -> HierarchicalMeans:
        """A row's mean over heads and sources, or that of its difference from another on their images."""
        found = self.table(table)
        values = found[row] if minus is None else found[row] - found[minus]
        values = values.dropna()
        heads, sources = (list(values.index.get_level_values(level)) for level in INDEX[:2])
        return hierarchical_means(values.to_numpy()[:, None], heads, sources, resamples=RESAMPLES)

    def compare(self, table: Table, first: str, second: str, head: str | None = None) -> Comparison:
        """Two rows image by image; sources are the units, whichever head they are shown to.

        The interval is a rough one: what is asked many times is the test. `interval` has an exact one.
        """
        asked = (table, first, second, head)
        if asked not in self._compared:
            self._compared[asked] = self._compare(*asked)
        return self._compared[asked]

    @cached_property
    def _compared(self) -> dict[tuple[Table, str, str, str | None], Comparison]:
        return {}

    def interval(self, table: Table, first: str, second: str, head: str | None = None) -> Comparison:
        """The same with the full number of resamples."""
        return self._compare(table, first, second, head, RESAMPLES)

    def _compare(
        self, table: Table, first: str, second: str, head: str | None, resamples: int = ROUGH
    ) -> Comparison:
        found = self.table(table, head)[[first, second]].dropna()
        return compare_paired(
            found[first].to_numpy(),
            found[second].to_numpy(),
            list(found.index.get_level_values("source")),
            names=(first, second),
            higher_is_better=higher(table[0]),
            resamples=resamples,
        )

    def against(
        self, row: str, others: Sequence[str], tables: Sequence[Table], head: str | None = None
    ) -> dict[tuple[str, Table], Comparison]:
        """Other rows compared with one in some tables; Holm over all of these tests."""
        asked = [
            (other, table)
            for other in others
            if other != row
            for table in tables
            if len(self.table(table, head)[[other, row]].dropna()) > 1
        ]
        tested = adjust([self.compare(table, other, row, head) for other, table in asked]) if asked else []
        return dict(zip(asked, tested, strict=True))


def higher(metric: str) -> bool:
    """Whether more is better."""
    return METRICS[metric].higher_is_better


def decidable(found: dict[tuple[str, Table], Comparison]) -> bool:
    """Whether any of these tests could be significant: after Holm few sources cannot give a small p."""
    return any(one.verdict.smallest_p * len(found) < one.verdict.alpha for one in found.values())


def ahead(
    found: dict[tuple[str, Table], Comparison], outcome: Outcome = Outcome.BETTER
) -> dict[str, list[Table]]:
    """Rows that are significantly better than what they were compared with, and in which tables."""
    rows: dict[str, list[Table]] = {}
    for (row, table), one in found.items():
        if one.verdict.outcome == outcome:
            rows.setdefault(row, []).append(table)
    return rows


# ----------------------------------------------------------------------------------------------------- choice


def shortfall(towers: dict[str, Scores], purpose: Purpose) -> pd.DataFrame:
    """What every candidate misses of the best one's lead over random maps: 0 the best, 1 as good as random.

    The mean over the purpose's tables, of means over sources.

    Returns:
        (tower and head, candidates).
    """
    rows = {}
    for tower, scores in towers.items():
        for head in scores.heads:
            parts = []
            for table in purpose.tables:
                found = scores.table(table, head).groupby(level="source").mean().mean()
                found = found if higher(table[0]) else -found
                candidates = found.reindex(list(purpose.candidates))
                best = candidates.max()
                parts.append((best - candidates) / (best - found[RANDOM]))
            rows[tower, head] = pd.concat(parts, axis=1).mean(axis=1, skipna=False)
    found = pd.DataFrame(rows).T.dropna(axis=1, how="all")
    found.index.names = ["tower", "head"]
    return found


def choose(found: pd.DataFrame) -> str:
    """The candidate of the least mean shortfall; heads of a tower count alike, and so do towers."""
    return str(found.groupby(level="tower").mean().mean().idxmin())


@dataclass(frozen=True)
class LeftOut:
    """What was chosen without a head, and what it loses there.

    Args:
        tower: Of the head.
        head: That took no part.
        others: Who chose: "other heads" or "other tower".
        chosen: The candidate of the least shortfall there.
        best: The candidate that is best on the head left out, in the purpose's first table.
        missed: Shortfall of the chosen one on the head left out.
        loss: The best one compared with the chosen one there, not corrected; None where they are the same.
        beaten: Candidates that are significantly better there than the chosen one, with the tables; Holm over
            candidates and tables.
        decidable: Whether the sources are enough for any of these tests to be significant.
        sources: Of the head left out.
        images: Of the head left out.
    """

    tower: str
    head: str
    others: str
    chosen: str
    best: str
    missed: float
    loss: Comparison | None
    beaten: dict[str, list[Table]]
    decidable: bool
    sources: int
    images: int


def leave_one_out(towers: dict[str, Scores], purpose: Purpose) -> list[LeftOut]:
    """Choose on all heads but one, and on the other tower's alone, and measure on the one."""
    found, left = shortfall(towers, purpose), []
    for tower, head in found.index:
        scores = towers[tower]
        of_tower = found.index.get_level_values("tower") == tower
        here = of_tower & (found.index.get_level_values("head") == head)
        for others, part in (("other heads", found[~here]), ("other tower", found[~of_tower])):
            if not len(part):
                continue
            chosen, table = choose(part), scores.table(purpose.tables[0], head)
            means = table.groupby(level="source").mean().mean()[list(found.columns)]
            best = str(means.idxmax() if higher(purpose.tables[0][0]) else means.idxmin())
            tested = scores.against(chosen, [str(name) for name in found.columns], purpose.tables, head)
            left.append(
                LeftOut(
                    tower,
                    head,
                    others,
                    chosen,
                    best,
                    float(found.loc[(tower, head), chosen]),
                    None if best == chosen else scores.interval(purpose.tables[0], best, chosen, head),
                    ahead(tested),
                    decidable(tested),
                    len(set(table.index.get_level_values("source"))),
                    len(table),
                )
            )
    return left


def precision(lower: Scores, exact: Scores) -> dict[Table, dict[str, float]]:
    """How far scores in bfloat16 lie from those of the same rows and images in float32.

    Returns:
        Per table: `pairs`, `median` and `largest` absolute difference, mean difference `bias`, the standard
        deviation `spread` of the exact scores and Spearman's `rank` correlation.
    """
    keys = [*INDEX, "method", "metric", "protocol"]
    both = exact.frame.merge(lower.frame, on=keys, suffixes=("", "_low"), validate="one_to_one")
    found = {}
    for (metric, protocol), part in both.groupby(["metric", "protocol"]):
        off = part["value_low"] - part["value"]
        found[metric, protocol] = {
            "pairs": len(part),
            "median": float(off.abs().median()),
            "largest": float(off.abs().max()),
            "bias": float(off.mean()),
            "spread": float(part["value"].std()),
            "rank": float(np.nan if len(part) < 3 else part["value"].corr(part["value_low"], "spearman")),
        }
    return found
