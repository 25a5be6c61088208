"""What the runs of `clip_forgery.py` show: rankings, the four points of the first trial, the default's place.

    python benchmarks/clip_findings.py attention_results/clip-forgery clip-vit-b16 dinov2-small

Reads the runs' `summary.json` and each tower's `tuning.json`; writes `findings.json` and `findings.md` beside
them. Two rows differ where the summary's paired tests say so (Holm over all pairs of a metric).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.clip_tables import HEADLINE, Columns, Run, by_kind, compare, line, ranking
from xai.stats import adjust

SIGNED = (("gwa_signed", "gwa_clamp_heads"), ("gwa_all_layers_signed", "gwa_all_layers_clamp_heads"))
MASK_GRADIENTS = ("integrated_mask_gradient", "mask_gradient")
SIDE_RUNS = {
    "operators": (
        "Other ways of removing evidence, and randomised weights",
        (
            *(("srg", name) for name in ("token-3", "mean-3", "blur-3", "black-3", "road-3")),
            ("randomization", ""),
        ),
    ),
    "saco": ("Does relevance grow with effect?", (("saco", "token-3"),)),
    "pristine": (
        "The answer on the pristine twins",
        (("srg", "token-4"), ("srg", "mean-3"), ("deletion", "token-4"), ("insertion", "token-4")),
    ),
    "costly": (
        "Methods of many passes",
        tuple(column for column in HEADLINE if column[1] != "mean-3"),
    ),
    "reference": (
        "Orders that were searched for with the metric",
        (("srg", "token-4"), ("deletion", "token-4"), ("insertion", "token-4")),
    ),
}
"""Runs that are shown as they are where they were made: title and columns."""
LOCATED = ("pointing_game", "average_precision")
QUESTIONS = {
    "faithfulness": tuple(
        (metric, protocol)
        for protocol in ("token-4", "mean-3")
        for metric in ("srg", "deletion", "insertion")
    ),
    "localisation": tuple((metric, "") for metric in (*LOCATED, "mass_accuracy", "rank_accuracy")),
}
"""Tables of a tower in which a row may be beaten."""
SHOWN_BY_KIND = (
    *("gwa_last_4_clamped", "gwa_all_layers_signed", "gwa_all_layers_clamp_heads", "chefer", "legrad"),
    *("integrated_mask_gradient", "attn_lrp", "center_prior", "sobel"),
)
COMPARED = ["| | first | second | first − second | p (Holm) |", "|---|---|---|---:|---:|"]
BEFORE = "gwa_last_4_clamped"
"""The options of gradient-weighted attention before this benchmark."""


def four_points(forged: Run, operators: Run) -> dict[str, Any]:
    """The four points of the first trial, on one tower; p by Holm over the comparisons of the first two."""
    place = [
        ("pointing game", "pointing_game", "", name, "center_prior")
        for name in (BEFORE, "gwa_all_layers_signed", "saliency", "attention_rollout")
    ]
    sign = [
        (label, metric, protocol, signed, clamped)
        for signed, clamped in SIGNED
        for label, metric, protocol in (
            ("SRG, token-4", "srg", "token-4"),
            ("SRG, mean-3", "srg", "mean-3"),
            ("pointing game", "pointing_game", ""),
            ("average precision", "average_precision", ""),
        )
    ]
    tested = adjust([compare(forged, *asked) for _, *asked in (*place, *sign)])
    named = [(label, found) for (label, *_), found in zip((*place, *sign), tested, strict=True)]
    answers = dict(operators.summary["answers"]) | dict(forged.summary["answers"])
    family = {}
    for name in MASK_GRADIENTS:
        family[name] = {
            f"{run.summary['name']}, {protocol}": {
                "place": table.order().index(name) + 1,
                "of": len(table.order()),
                "better": table.better(name),
            }
            for run in (forged, operators)
            for (metric, protocol), table in run.tables.items()
            if metric == "srg"
        }
    place_found, sign_found = named[: len(place)], named[len(place) :]
    return {"place": place_found, "sign": sign_found, "saturation": answers, "mask_gradients": family}


def points_text(found: dict[str, Any]) -> list[str]:
    """The four points as tables."""
    lines = ["### 1. Pointing into the mask, against the centre", "", *COMPARED]
    lines += [line(label, one) for label, one in found["place"]]
    lines += ["", "### 2. Signed against clamped", "", *COMPARED]
    lines += [line(label, one) for label, one in found["sign"]]
    lines += ["", "### 3. The answer with all evidence removed", ""]
    lines += [
        "| protocol | images | margin, whole | margin, all removed | class kept |",
        "|---|---:|---:|---:|---:|",
    ]
    for protocol, one in found["saturation"].items():
        cells = (protocol, one["images"], f"{one['clean']:.2f}", f"{one['baseline']:.2f}", one["kept"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        "### 4. Mask gradients by SRG",
        "",
        "| row | run and protocol | place | significantly better |",
    ]
    lines += ["|---|---|---:|---|"]
    for name, tables in found["mask_gradients"].items():
        for label, one in tables.items():
            lines.append(f"| {name} | {label} | {one['place']} of {one['of']} | {', '.join(one['better'])} |")
    return lines


def standing(runs: dict[str, Run], columns: Columns) -> dict[str, dict[str, list[str]]]:
    """For every row: in which tables, of all towers, some attribution is significantly better, and which."""
    tables = {
        f"{tower}: {metric} {protocol}".strip(): run.table(metric, protocol)
        for tower, run in runs.items()
        for metric, protocol in columns
    }
    names = [name for name, row in next(iter(tables.values())).rows.items() if not row["control"]]
    return {
        name: {label: table.better(name) for label, table in tables.items() if table.better(name)}
        for name in names
    }


def standing_text(found: dict[str, dict[str, list[str]]], tables: int) -> list[str]:
    """The rows that are beaten least."""
    lines = [
        f"| row | beaten in, of {tables} tables | where (by how many rows) |",
        "|---|---:|---|",
    ]
    for name, beaten in sorted(found.items(), key=lambda one: len(one[1])):
        where = "; ".join(f"{label} ({len(ahead)})" for label, ahead in beaten.items())
        lines.append(f"| {name} | {len(beaten)} | {where} |")
    return lines


def precision(lower: Run, exact: Run) -> dict[str, dict[str, float]]:
    """How far the scores of a run in bfloat16 lie from those of the same rows and images in float32.

    Returns:
        Per metric and protocol: `pairs`, the `median` and `largest` absolute difference, the standard
        deviation `spread` of the exact scores, and Spearman's `rank` correlation over all pairs.
    """
    keys = ["image", "method", "control", "seed", "metric", "protocol"]
    low, high = (run.records[[*keys, "value"]] for run in (lower, exact))
    both = high.merge(low, on=keys, suffixes=("", "_low"), validate="one_to_one")
    return {
        f"{metric}, {protocol}": {
            "pairs": len(part),
            "median": float((part.value_low - part.value).abs().median()),
            "largest": float((part.value_low - part.value).abs().max()),
            "spread": float(part.value.std()),
            "rank": float(part.value.corr(part.value_low, method="spearman")),
        }
        for (metric, protocol), part in both.groupby(["metric", "protocol"])
    }


def precision_text(found: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Differences beside the spread of the scores."""
    lines = [
        "| tower | score | pairs | median difference | largest | spread of scores | rank correlation |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for tower, tables in found.items():
        for label, one in tables.items():
            numbers = f"{one['median']:.3f} | {one['largest']:.3f} | {one['spread']:.2f} | {one['rank']:.4f}"
            lines.append(f"| {tower} | {label} | {one['pairs']} | {numbers} |")
    return lines


def tuning(folder: Path) -> dict[str, Any]:
    """What was chosen, and the gain on kinds that took no part in the choice."""
    found = json.loads((folder / "tuning.json").read_text("utf-8"))
    gain = found["gain"]
    kept = {key: gain[key] for key in ("difference", "low", "high", "verdict")}
    return {"best": found["best"], "images": found["images"], "gain": kept, "optimism": found["optimism"]}


def tuning_text(tuned: dict[str, dict[str, Any]], runs: dict[str, Run]) -> list[str]:
    """Choices, gains on unseen kinds, and how each choice does on the other tower's held-out forgeries."""
    lines = ["| tuned on | options | gain on unseen kinds | verdict |", "|---|---|---|---|"]
    for tower, one in tuned.items():
        gain = one["gain"]
        options = ", ".join(f"{key} {str(value).lower()}" for key, value in one["best"].items())
        interval = f"{gain['difference']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]"
        lines.append(f"| {tower} | {options} | {interval} | {gain['verdict']} |")
    asked = [
        (f"{tower}, {protocol}", run, protocol, name)
        for tower, run in runs.items()
        for protocol in ("token-4", "mean-3")
        for name in run.table("srg", protocol).rows
        if name.startswith("gwa_tuned")
    ]
    tested = adjust([compare(run, "srg", protocol, name, BEFORE) for _, run, protocol, name in asked])
    lines += ["", "SRG on held-out forgeries, against the last four layers, clamped:", "", *COMPARED]
    return lines + [line(label, one) for (label, *_), one in zip(asked, tested, strict=True)]


def side_text(folder: Path, tower: str, forged: Run) -> list[str]:
    """Localisation by kind, and the smaller runs as they are."""
    lines = []
    for metric in LOCATED:
        lines += ["", f"## {tower}: {metric.replace('_', ' ')} by kind of forgery", ""]
        lines += by_kind(forged, metric, SHOWN_BY_KIND)
    for name, (title, columns) in SIDE_RUNS.items():
        if (folder / name / "summary.json").is_file():
            run = Run(folder / name)
            images = run.table(*columns[0]).part["analysis"]["images"]  # so far, of a run that goes on
            lines += ["", f"## {tower}: {title} ({images} images)", "", *ranking(run, columns)]
            lines += between_protocols(run) if name == "operators" else []
    return lines


def between_protocols(run: Run) -> list[str]:
    """How far the ways of removing evidence agree in how they rank the methods, by each metric."""
    lines = []
    for metric, found in run.summary["stability"].items():
        names = found["names"]
        lines += ["", f"Kendall's τ of the rankings by {metric}, controls left out:", ""]
        lines += [f"| | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
        for name, row in zip(names, found["tau"], strict=True):
            cells = ("" if tau is None else f"{tau:.2f}" for tau in row)
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="--out of clip_forgery.py")
    parser.add_argument("towers", nargs="+")
    options = parser.parse_args()
    runs = {tower: Run(options.folder / tower / "forged") for tower in options.towers}
    points = {
        tower: four_points(run, Run(options.folder / tower / "operators")) for tower, run in runs.items()
    }
    tuned = {tower: tuning(options.folder / tower) for tower in options.towers}
    after = {tower: Run(options.folder / tower / "tuned") for tower in options.towers}
    exact = {tower: precision(run, Run(options.folder / tower / "precision")) for tower, run in runs.items()}
    places = {question: standing(runs, columns) for question, columns in QUESTIONS.items()}
    lines = [
        "# Findings on real weights",
        "",
        "Written by `python benchmarks/clip_findings.py`. Means with 95 %",
    ]
    lines += [
        "intervals. **Bold**: no attribution is significantly better (paired tests, Holm over all pairs);"
    ]
    lines += ["*italic*: controls."]
    for tower, run in runs.items():
        lines += ["", f"## {tower}: {run.summary['images']} held-out forgeries", "", *ranking(run)]
        lines += ["", f"## {tower}: the four points of the first trial", "", *points_text(points[tower])]
        lines += side_text(options.folder / tower, tower, run)
    for question, columns in QUESTIONS.items():
        lines += ["", f"## Which row is beaten least in {question}", ""]
        lines += standing_text(places[question], len(runs) * len(columns))
    lines += ["", "## Tuned gradient-weighted attention", "", *tuning_text(tuned, after)]
    lines += ["", "## What bfloat16 changes", "", *precision_text(exact)]
    content = {"points": points, "standing": places, "tuning": tuned, "precision": exact}
    text = json.dumps(content, indent=1, default=asdict) + "\n"
    (options.folder / "findings.json").write_text(text, encoding="utf-8")
    (options.folder / "findings.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
