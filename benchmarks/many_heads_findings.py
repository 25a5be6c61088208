"""What the finished blocks of `many_heads.py` show: rankings over heads, and presets on heads left out.

    python benchmarks/many_heads_findings.py attention_results/many-heads --publish reports/many-heads

Writes `findings.md` beside the runs; with `--publish` also what it rests on and goes on from elsewhere:
`records.parquet` and `heads.json`. The rule by which presets are chosen is `many_heads_tables.choose`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import without_attention
from benchmarks.clip_findings import QUESTIONS
from benchmarks.many_heads_plan import HEADS, HEADS_FILE, LEADING, SMALL, TOWERS, head_of, read_heads
from benchmarks.many_heads_tables import (
    LeftOut,
    Purpose,
    Scores,
    Table,
    ahead,
    decidable,
    gather,
    leave_one_out,
    precision,
    read_records,
    scores_of,
    shortfall,
    write_records,
)
from xai.stats import Outcome

FAITHFUL = QUESTIONS["faithfulness"]
LOCATED = (("average_precision", "maps"), ("pointing_game", "maps"))
ONE_PASS = tuple(name for name in LEADING if name != "integrated_mask_gradient")
PURPOSES = (
    Purpose("faithful", "integrated_mask_gradient", LEADING, FAITHFUL),
    Purpose("one_pass", "gwa_all_layers_signed", ONE_PASS, FAITHFUL),
    Purpose("localisation", "gwa_clamp_heads", LEADING, LOCATED),
)
"""Of models with attention over all patches."""
SMALL_TABLES = without_attention.FAITHFUL
SMALL_CANDIDATES = tuple(row["name"] for row in without_attention.named(without_attention.CANDIDATES))
SMALL_PURPOSES = (
    Purpose("default without attention", without_attention.IN_FORCE, SMALL_CANDIDATES, SMALL_TABLES),
)
RUNS = ("all", "leading", "suite", "costly")
MARKS = {Outcome.BETTER: " ▲", Outcome.WORSE: " ▽"}


def named(table: Table) -> str:
    """A table in words."""
    metric, protocol = table
    return metric.replace("_", " ") + (f", {protocol}" if protocol != "maps" else "")


def detectors(fitted: dict[str, Any], towers: dict[str, Scores]) -> list[str]:
    """The heads: what they are for, how well they tell, and on how much maps were measured."""
    lines = [
        "| detector | head | kinds of forgery | strength | AUC held out | pairs, sources | explained |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for tower, scores in towers.items():
        for head in HEADS:
            if f"{tower}/{head}" not in fitted:
                continue
            found, mine = fitted[f"{tower}/{head}"], scores.frame
            images = mine.loc[mine["head"] == head, "image"].nunique()
            auc = f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
            one = head_of(tower, head)
            cells = [tower, head, ", ".join(one.kinds), f"{one.strength:g}", auc]
            cells += [f"{found['pairs']}, {found['sources']}", str(images)]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def ranking(scores: Scores, columns: Sequence[tuple[Table, str]]) -> list[str]:
    """All rows; marks say what tests say of a row beside the one of the column."""
    marks: dict[tuple[str, Table], str] = {}
    for reference in {row for _, row in columns}:
        tables = [table for table, row in columns if row == reference]
        tested = scores.against(reference, [*scores.rows, *scores.controls], tables)
        marks |= {key: MARKS.get(one.verdict.outcome, "") for key, one in tested.items()}
    first = columns[0][0]
    rows = {name: scores.means(first, name) for name in (*scores.rows, *sorted(scores.controls))}
    lines = [f"| row | images | {' | '.join(named(table) for table, _ in columns)} |"]
    lines += [f"|---|---:|{'---:|' * len(columns)}"]
    for name, shown in sorted(rows.items(), key=lambda one: -one[1].mean[0]):
        cells = []
        for table, _ in columns:
            one = scores.means(table, name)
            low, high = one.low[0], one.high[0]
            interval = f" [{low:.2f}, {high:.2f}]" if low == low else ""
            cells.append(f"{one.mean[0]:.2f}{interval}{marks.get((name, table), '')}")
        label = f"*{name}*" if name in scores.controls else name
        lines.append(f"| {label} | {shown.images} | {' | '.join(cells)} |")
    return lines


def beating(rows: dict[str, list[Table]], told: bool) -> str:
    """Which rows are significantly better, if so many sources can tell."""
    said = "; ".join(f"{row} ({', '.join(map(named, tables))})" for row, tables in rows.items())
    return said or ("none" if told else "too few sources to tell")


def retested(scores: Scores, purpose: Purpose) -> list[str]:
    """A preset as it is against all other attributions: all heads, then head by head."""
    lines = ["| heads | rows significantly better, in any table | worse in any table | tests |"]
    lines += ["|---|---|---:|---:|"]
    for label, head in [("all", None), *((name, name) for name in scores.heads)]:
        found = scores.against(purpose.row, scores.rows, purpose.tables, head)
        better, worse = ahead(found), ahead(found, Outcome.WORSE)
        said = beating(better, decidable(found))
        lines.append(f"| {label} | {said} | {len(worse)} | {len(found)} |")
    return lines


def differences(scores: Scores, purpose: Purpose) -> list[str]:
    """The preset less every candidate, in the first table: over heads, and on each head."""
    table = purpose.tables[0]
    lines = [f"| {purpose.row} less … | {named(table)} | {' | '.join(scores.heads)} |"]
    lines += [f"|---|---:|{'---:|' * len(scores.heads)}"]
    means = {
        row: scores.means(table, purpose.row, row)
        for row in purpose.candidates
        if row != purpose.row and row in scores.rows
    }
    for row, one in sorted(means.items(), key=lambda item: item[1].mean[0]):
        both = scores.table(table)[[purpose.row, row]].dropna()
        gaps = (both[purpose.row] - both[row]).groupby(level=["head", "source"]).mean()
        cells = [f"{gap:+.2f}" for gap in gaps.groupby(level="head").mean()]
        interval = f" [{one.low[0]:+.2f}, {one.high[0]:+.2f}]" if one.models > 1 else ""
        lines.append(f"| {row} | {one.mean[0]:+.2f}{interval} | {' | '.join(cells)} |")
    return lines


def left_out(purpose: Purpose, found: Sequence[LeftOut]) -> list[str]:
    """Choices and their losses."""
    lines = [
        "| left out | chosen on | chosen | misses of the best's lead "
        f"| best there ({named(purpose.tables[0])}) | best less chosen | p | significantly better there |",
        "|---|---|---|---:|---|---:|---:|---|",
    ]
    for one in found:
        loss, p = "0", ""
        if one.loss is not None:
            loss = f"{one.loss.difference:+.2f} [{one.loss.low:+.2f}, {one.loss.high:+.2f}]"
            p = f"{one.loss.p:.3f}"
        said = beating(one.beaten, one.decidable)
        cells = [
            f"{one.tower}, {one.head} (n = {one.images} of {one.sources} sources)",
            one.others,
            one.chosen,
        ]
        cells += [f"{one.missed:.0%}", one.best, loss, p, said]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def chosen(towers: dict[str, Scores], purpose: Purpose) -> list[str]:
    """The shortfall of every candidate on every head."""
    found = shortfall(towers, purpose)
    order = found.groupby(level="tower").mean().mean().sort_values()
    heads = [f"{tower}, {head}" for tower, head in found.index]
    lines = [f"| candidate | mean | worst | {' | '.join(heads)} |", f"|---|---:|---:|{'---:|' * len(heads)}"]
    for row, mean in order.items():
        cells = [f"{value:.0%}" for value in found[row]]
        lines.append(f"| {row} | {mean:.0%} | {found[row].max():.0%} | {' | '.join(cells)} |")
    return lines


def summary(towers: dict[str, Scores], purpose: Purpose) -> list[str]:
    """What becomes of a preset, in sentences that follow from the tables."""
    found = shortfall(towers, purpose)
    means = found.groupby(level="tower").mean().mean()
    best, count = str(means.idxmin()), len(found)
    tested = {
        f"{tower}, {head}": scores.against(purpose.row, scores.rows, purpose.tables, head)
        for tower, scores in towers.items()
        for head in scores.heads
    }
    where = [label for label, rows in tested.items() if ahead(rows)]
    told = sum(decidable(rows) for rows in tested.values())
    pooled = {
        tower: ahead(scores.against(purpose.row, scores.rows, purpose.tables))
        for tower, scores in towers.items()
    }
    together = "; ".join(f"{tower}: {beating(rows, True)}" for tower, rows in pooled.items())
    out = [one for one in leave_one_out(towers, purpose) if one.others == "other heads"]
    lost = [f"{one.tower}, {one.head}" for one in out if one.beaten]
    could = sum(one.decidable for one in out)
    rules = ", ".join(sorted({one.chosen for one in out}))
    return [
        f"- **{purpose.preset}**, now {purpose.row}, misses {means[purpose.row]:.0%} of the best's lead on",
        f"  average, {found[purpose.row].max():.0%} at worst. Significantly better, all heads together:",
        f"  {together}.",
        f"  Head by head it is beaten on {len(where)} of the {told} with enough sources to tell, of {count}",
        f"  heads{of(where)}. The rule takes {best} ({means[best]:.0%}) over all heads. Without the head",
        f"  that it is measured on it takes {rules}; that is beaten on {len(lost)} of the {could}",
        f"  heads left out that can tell, of {len(out)}{of(lost)}.",
    ]


def of(labels: Sequence[str]) -> str:
    """Which ones, in brackets, if any."""
    return f" ({'; '.join(labels)})" if labels else ""


def bfloat16(records: pd.DataFrame, towers: dict[str, Scores]) -> list[str]:
    """What the lower precision changes."""
    lines = [
        "| detector | score | pairs | median difference | largest | bias | spread of scores | rank |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for tower, scores in towers.items():
        exact = scores_of(records, tower, ["exact"])
        for table, one in precision(scores, exact).items() if exact else ():
            numbers = (
                f"{one['median']:.4f} | {one['largest']:.3f} | {one['bias']:+.4f} | {one['spread']:.2f} | "
            )
            lines.append(f"| {tower} | {named(table)} | {one['pairs']} | {numbers}{one['rank']:.4f} |")
    return lines if len(lines) > 2 else ["Not measured yet."]


def findings(records: pd.DataFrame, fitted: dict[str, Any]) -> list[str]:
    """Everything that is said.

    Args:
        records: Of all finished blocks.
        fitted: Tower and head → how well the head tells on portraits that it has held out.
    """
    found = {tower: scores_of(records, tower, RUNS) for tower in TOWERS}
    towers = {tower: scores for tower, scores in found.items() if scores is not None}
    whole = {tower: scores for tower, scores in towers.items() if tower != SMALL}
    groups = [(whole, PURPOSES), ({SMALL: towers[SMALL]} if SMALL in towers else {}, SMALL_PURPOSES)]
    lines = [
        "# Several heads of each detector: findings",
        "",
        "Written by `python benchmarks/many_heads.py --findings`. Means over heads of means over sources;",
        "95 % intervals by bootstrap over heads and over sources within heads. Three heads are few: such an",
        "interval is a lower bound of the doubt. Tests are paired, sources are the units, Holm over all rows",
        "and tables of one question.",
        "",
        "## The heads",
        "",
        *detectors(fitted, towers),
        "",
        "Every head has another third of the portraits held out; AUC and forgeries are of these alone.",
        "",
        "## In short",
        "",
    ]
    for some, purposes in groups:
        lines += [text for purpose in purposes if some for text in summary(some, purpose)]
    for some, purposes in groups:
        for tower, scores in some.items():
            columns = [(table, purposes[0].row) for table in purposes[0].tables[:4]]
            columns += [(table, purposes[-1].row) for table in LOCATED]
            counts = (
                f"{scores.frame['image'].nunique()} forgeries, {scores.frame['source'].nunique()} sources"
            )
            lines += ["", f"## {tower}: {counts}, {len(scores.heads)} heads", ""]
            lines += ["▲ significantly better, ▽ worse, than"]
            lines += [f"{purposes[0].row}; in the last two columns, than {purposes[-1].row}. *Controls*.", ""]
            lines += ranking(scores, columns)
            for purpose in purposes:
                lines += ["", f"### {tower}: {purpose.preset} ({purpose.row}) against the others", ""]
                lines += [*retested(scores, purpose), "", *differences(scores, purpose)]
    for some, purposes in groups:
        for purpose in purposes if some else ():
            lines += [
                "",
                f"## {purpose.preset}: what each candidate misses of the best's lead over random",
                "",
            ]
            lines += [*chosen(some, purpose), "", f"### {purpose.preset}: chosen without the head", ""]
            lines += left_out(purpose, leave_one_out(some, purpose))
    return [*lines, "", "## What bfloat16 changes", "", *bfloat16(records, towers)]


def heads_below(out: Path) -> dict[str, Any]:
    """Tower and head → how well each head that was fitted below a folder of runs tells."""
    return {
        "/".join(path.parts[-4:-2]): json.loads(path.read_text("utf-8"))["held out"]
        for path in sorted(out.glob("*/*/detector/evaluation.json"))
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="--out of many_heads.py")
    parser.add_argument(
        "--publish", type=Path, help="folder for findings and records, which go on from there"
    )
    options = parser.parse_args()
    published: Path | None = options.publish
    records = gather(options.folder, read_records(published))
    fitted = heads_below(options.folder) | read_heads(published)
    text = "\n".join(findings(records, fitted)) + "\n"
    for folder in (options.folder, *([published] if published else [])):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "findings.md").write_text(text, encoding="utf-8")
    if published:
        write_records(records, published)
        (published / HEADS_FILE).write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
