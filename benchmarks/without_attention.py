"""What explains models without global attention: a small Swin and a small ResNet, masks known.

    python benchmarks/small_detectors.py --photos / --portraits DIR    # once: fits both models
    python benchmarks/without_attention.py --photos / --portraits DIR --publish reports/without-attention

On forgeries of sources that the models have not seen, in two halves of other sources each: integrated
gradients from several baselines, other gradients of pixels, class activation maps, methods that perturb the
image. Evidence is removed in three ways: mean colour, blur, and ROAD's imputation, which is no baseline of
any row. Maps are compared with the masks. Runs go on where they were killed.

The default of models with gradients but without attention over all patches is decided on the *choosing* half
by `decide`, and is asked about again on the *confirmation* half, which had no part in the decision.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.clip_findings import COMPARED, standing, standing_text
from benchmarks.clip_forgery import call, copy
from benchmarks.clip_tables import Columns, Run, compare, line, ranking
from benchmarks.small_detectors import (
    HALVES,
    KINDS,
    SIDE,
    STRENGTH,
    make_pairs,
    parse,
    read_sources,
    to_input,
)
from xai import load
from xai.attr import IntegratedGradients, create
from xai.core import Margin, ModelError
from xai.explanation.explainer import noise
from xai.models import Classifier
from xai.stats import Comparison, Outcome, adjust

GRID = "8x8"
"""Regions, each as large as a position of the models' last feature maps."""
POINTS = 16
"""Passes of each method that averages gradients: what an interactive default may cost on a CPU."""
BASELINES: dict[str, Any] = {
    "constant": "constant",
    "black": {"name": "constant", "value": 0.0, "space": "pixel"},
    "mean": "mean",
    "blur": {"name": "blur", "kernel": 31, "sigma": 5.0},
    "region_mean": "region_mean",
}
PATHS = ("uniform", "logarithmic")
IN_FORCE = "ig_mean"
"""The row that is the default before this benchmark."""
CANDIDATES: tuple[dict[str, Any], ...] = (
    *(
        {
            "name": f"ig_{name}",
            "method": "integrated_gradients",
            "options": {"baseline": baseline, "n_steps": POINTS},
        }
        for name, baseline in BASELINES.items()
    ),
    {"method": "smoothgrad", "options": {"nt_samples": POINTS}},
    {"method": "expected_gradients", "options": {"n_samples": POINTS}},
    {"method": "gradient_shap", "options": {"n_samples": POINTS}},
    *({"method": name} for name in ("saliency", "input_x_gradient")),
    *({"method": name} for name in ("grad_cam", "layer_cam", "hires_cam", "grad_cam_plus_plus")),
)
"""Rows that may become the default: at most `POINTS` forward and backward passes a map, on either model."""
OTHERS: tuple[dict[str, Any], ...] = (
    {
        "name": "ig_mean_log",
        "method": "integrated_gradients",
        "options": {"baseline": "mean", "path": "logarithmic", "n_steps": POINTS},
    },
    *({"method": name} for name in ("eigen_cam", "score_cam", "occlusion", "attn_lrp")),
    {"method": "rise", "options": {"n_masks": 200}},
    {"method": "lime", "options": {"n_samples": 200}},
    {"method": "gradient_weighted_attention"},
    {
        "name": "gradient_weighted_attention_clamped",
        "method": "gradient_weighted_attention",
        "options": {"layers": "last_4_layers", "clamp": "heads"},
    },
)
PROTOCOLS: tuple[dict[str, Any], ...] = tuple(
    {"base": "vit-mean", "name": name, "operator": operator, "steps": 4, "target": "label"}
    for name, operator in (("mean", "mean"), ("blur", BASELINES["blur"]), ("road", "road"))
)
FAITHFUL = tuple((metric, one["name"]) for one in PROTOCOLS for metric in ("srg", "deletion", "insertion"))
LOCATED = (("average_precision", ""), ("pointing_game", ""))
COLUMNS = (*((metric, protocol) for metric, protocol in FAITHFUL if metric == "srg"), *LOCATED)


def named(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of which each has a name."""
    return [{"name": one["method"], **one} for one in rows]


def write_sources(options: argparse.Namespace, half: str) -> Path:
    """The pristine sources of one half as files."""
    folder = options.out / "sources" / half
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for name, photo in read_sources(options.photos, options.portraits, half).items():
            Image.fromarray(photo).save(folder / f"{name.replace('/', '_')}.png", compress_level=1)
        (folder / "done").touch()
    return folder


def run(model: Path, sources: Path, out: Path, each: int, seed: int) -> list[str]:
    """Benchmark a model on forgeries of some sources; returns the rows that it offers too little for."""
    classifier = load(f"local:{model}", grid=GRID)
    rows = named([*CANDIDATES, *OTHERS])
    refused = [row["name"] for row in rows if not works(row, classifier)]
    forgeries = {
        "photos": str(sources),
        "count": each * len(list(sources.glob("*.png"))),
        "kinds": list(KINDS),
        "size": SIDE,
        "strength": STRENGTH,
    }
    config = {
        "name": out.name,
        "model": {"spec": f"local:{model}", "grid": GRID},
        "data": {"forgeries": forgeries | {"pristine": False, "seed": seed}},
        "methods": [row for row in rows if row["name"] not in refused],
        "controls": {"random_seeds": 2, "raw_attention": False, "greedy_images": 0},
        "protocols": list(PROTOCOLS),
        "metrics": ["srg", "deletion", "insertion", "pointing_game", "average_precision"],
        "explain": "margin",
        "shard_size": 8,
        "keep_images": 0,
        "device": "cpu",
        "seed": seed,
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    call("-m", "xai", "benchmark", "run", path, "--out", out / "run")
    call("-m", "xai", "benchmark", "export", out / "run", "--out", out / "run" / "records.parquet")
    return refused


def works(row: dict[str, Any], classifier: Classifier) -> bool:
    """Whether a row explains the model, tried on noise."""
    try:
        create(row["method"], classifier, **row.get("options", {})).attribute_patches(noise(classifier), 1)
    except ModelError:
        return False
    return True


def decide(runs: dict[str, Run]) -> tuple[str, list[tuple[str, Comparison]]]:
    """The default, by a rule that was fixed before any map of the confirmation half was made.

    The tables are SRG, deletion and insertion under every removal on every model. Candidates are asked in the
    order of `in_order`. The first that is significantly better than the default in force in one of these
    tables or in average precision, and significantly worse in none, replaces it (paired tests, Holm over the
    tables); the default in force stays where none ahead of it is.

    Returns:
        The row to be the default, and the comparisons with the default in force of those that were asked.
    """
    compared = []
    for name in in_order(runs):
        if name == IN_FORCE:
            break
        found = against(runs, name, [IN_FORCE], (*FAITHFUL, LOCATED[0]))
        compared += found
        if count(found, Outcome.BETTER) and not count(found, Outcome.WORSE):
            return name, compared
    return IN_FORCE, compared


def in_order(runs: dict[str, Run]) -> list[str]:
    """The candidates by the tables in which another is significantly ahead, then by average precision."""
    found = standing_among(runs, [row["name"] for row in named(CANDIDATES)])

    def precision(name: str) -> float:
        return sum(one.table(*LOCATED[0]).rows[name]["mean"] for one in runs.values())

    return sorted(found, key=lambda name: (len(found[name]), -precision(name)))


def standing_among(runs: dict[str, Run], names: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """In which tables of faithfulness another of these rows is significantly better, and which."""
    found = {}
    for name in names:
        tables = {
            f"{model}: {metric} {protocol}": [
                one for one in run.table(metric, protocol).better(name) if one in names
            ]
            for model, run in runs.items()
            for metric, protocol in FAITHFUL
        }
        found[name] = {label: ahead for label, ahead in tables.items() if ahead}
    return found


def against(
    runs: dict[str, Run], first: str, others: Sequence[str], columns: Columns
) -> list[tuple[str, Comparison]]:
    """A row against others in every table; Holm over all these comparisons."""
    asked = [
        (f"{model}: {metric} {protocol}".strip(), compare(run, metric, protocol, first, other))
        for other in others
        if other != first
        for model, run in runs.items()
        for metric, protocol in columns
    ]
    labels, compared = zip(*asked, strict=True)
    return list(zip(labels, adjust(compared), strict=True))


def count(compared: Sequence[tuple[str, Comparison]], outcome: Outcome) -> int:
    """In how many comparisons the first of the two came out so."""
    return sum(one.verdict.outcome == outcome for _, one in compared)


def convergence(model: Path, options: argparse.Namespace) -> list[str]:
    """How far the sum of relevance is off the change of the score, by baseline, path and points."""
    classifier = load(f"local:{model}", grid=GRID)
    photos = read_sources(options.photos, options.portraits, HALVES[0])
    pixels = to_input(make_pairs(photos, options.images, (options.seed,))[0][:, 1])
    lines = [f"| baseline | path | {' | '.join(map(str, options.points))} |"]
    lines += [f"|---|---|{'---:|' * len(options.points)}"]
    for baseline, operator in BASELINES.items():
        for path in PATHS:
            cells = []
            for count in options.points:
                method = IntegratedGradients(classifier, count, operator, path=path)
                spread, delta = method.attribute(pixels, target=Margin(1, 0), return_convergence_delta=True)
                off = (delta / (spread.flatten(1).sum(1) - delta)).abs()
                cells.append(f"{off.median():.1%} ({off.max():.0%})")
            lines.append(f"| {baseline} | {path} | {' | '.join(cells)} |")
    return lines


def accuracy(folder: Path) -> list[str]:
    """Of a model on held-out sources, in sentences."""
    found = json.loads((folder / "evaluation.json").read_text("utf-8"))
    trained = found["training"]
    lines = [
        f"{trained['parameters']:,} parameters, fitted from scratch in {trained['steps']} steps of "
        f"{trained['batch']} new pairs from {trained['sources']} sources. Held out:",
        "",
    ]
    for half in HALVES:
        one = found[half]
        cells = [
            f"{key} {one[key]['value']:.3f} ({one[key]['low']:.3f} to {one[key]['high']:.3f})"
            for key in ("accuracy", "auc")
        ]
        lines.append(
            f"- {half}: {one['pairs']} pairs of {one['sources']} sources, {', '.join(cells)}; fake found "
            f"{one['fake_found']:.2f}, real passed {one['real_passed']:.2f}."
        )
    return lines


def findings(options: argparse.Namespace, refused: dict[str, list[str]]) -> list[str]:
    """Everything that is said."""
    halves = {
        half: {name: Run(options.out / f"{name}-{half}" / "run") for name in options.models}
        for half in HALVES
    }
    lines = [
        "# Models without global attention: what was measured",
        "",
        "Written by `python benchmarks/without_attention.py`. Means with 95 % intervals, over sources.",
        "**Bold**: no attribution is significantly better (paired tests, Holm over all pairs); *italic*:",
        "controls.",
        f"`ig_…`: integrated gradients with {POINTS} points from the named baseline, `_log` along the",
        "logarithmic path.",
    ]
    for name in options.models:
        lines += ["", f"## {name}", "", *accuracy(options.out / name), ""]
        lines += [f"It offers too little for: {', '.join(refused[name])}."] if refused[name] else []
        for half, runs in halves.items():
            lines += ["", f"### {name}, {half}: {runs[name].summary['images']} forgeries", ""]
            lines += ranking(runs[name], COLUMNS)
        lines += ["", f"### {name}: how far the sum is off, by points", ""]
        lines += [
            f"Median (worst) of {options.images} forgeries.",
            "",
            *convergence(options.out / name, options),
        ]
    chosen, compared = decide(halves[HALVES[0]])
    candidates = [row["name"] for row in named(CANDIDATES)]
    tables = len(FAITHFUL) * len(options.models)
    for half, runs in halves.items():
        lines += ["", f"## {half}: which candidate for the default is beaten least in faithfulness", ""]
        lines += standing_text(standing_among(runs, candidates), tables)
    lines += ["", "## The default", ""]
    lines += [f"By the rule of `decide` the default is **{chosen}** (before: {IN_FORCE}). Those asked:", ""]
    lines += [*COMPARED, *(line(label, one) for label, one in compared)]
    lines += ["", f"## confirmation: {chosen} against every other candidate", ""]
    found = against(halves[HALVES[1]], chosen, candidates, COLUMNS[:-1])
    ahead, behind = (count(found, outcome) for outcome in (Outcome.BETTER, Outcome.WORSE))
    lines += [f"Significantly ahead in {ahead} of {len(found)} comparisons, behind in {behind}.", ""]
    lines += [*COMPARED, *(line(label, one) for label, one in found)]
    everywhere = set.intersection(*(set(one.table(*FAITHFUL[0]).rows) for one in halves[HALVES[1]].values()))
    for question, columns in (("faithfulness", FAITHFUL), ("localisation", LOCATED)):
        for half, runs in halves.items():
            places = standing(runs, columns)
            places = {name: beaten for name, beaten in places.items() if name in everywhere}
            lines += ["", f"## {half}: which of all rows is beaten least in {question}", ""]
            lines += standing_text(places, len(columns) * len(runs))
    return lines


def main() -> None:
    parser = parse(__doc__)
    parser.add_argument("--each", type=int, default=1, help="forgeries of each source")
    parser.add_argument("--images", type=int, default=8, help="of the tables of convergence")
    parser.add_argument("--points", type=int, nargs="*", default=(8, 16, 32), help="of these tables")
    parser.add_argument("--publish", type=Path, help="folder for what is worth keeping")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.out = options.out.absolute()
    refused = {}
    for half in HALVES:
        sources = write_sources(options, half)
        for name in options.models:
            out = options.out / f"{name}-{half}"
            refused[name] = run(options.out / name, sources, out, options.each, options.seed)
    text = "\n".join(findings(options, refused)) + "\n"
    (options.out / "findings.md").write_text(text, encoding="utf-8")
    if options.publish:
        parts = ["findings.md", *(f"{name}/evaluation.json" for name in options.models)]
        parts += [
            f"{name}-{HALVES[1]}/run/{file}" for name in options.models for file in ("summary.md", "run.json")
        ]
        for part in parts:
            copy(options.out / part, options.publish / part.replace("/run/", "/"), options.out)


if __name__ == "__main__":
    main()
