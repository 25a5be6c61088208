"""What explains models without global attention: a small Swin and a small ResNet, masks known.

    python benchmarks/small_detectors.py --photos /    # once: fits both models
    python benchmarks/without_attention.py --publish reports/without-attention

On forgeries of the photographs that ship with the package, which the models have not seen: integrated
gradients from several baselines along two paths, class activation maps, methods that perturb the image.
Evidence is removed in three ways (mean colour, blur, black), and maps are compared with the masks. Also: in
how many points the integral comes out. Runs go on where they were killed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.clip_findings import COMPARED, standing, standing_text
from benchmarks.clip_forgery import call, copy
from benchmarks.clip_tables import Run, compare, line, ranking
from benchmarks.small_detectors import KINDS, MODELS, SIDE, STRENGTH, make_pairs, read_photos, to_input
from xai import load
from xai.attr import IntegratedGradients, find_capabilities
from xai.core import Margin
from xai.stats import adjust

STEPS = 16
"""Points of the path of each integrated gradients: what an interactive default may cost on a CPU."""
BASELINES: dict[str, Any] = {
    "constant": "constant",
    "black": {"name": "constant", "value": 0.0, "space": "pixel"},
    "mean": "mean",
    "blur": {"name": "blur", "kernel": 31, "sigma": 5.0},
    "region_mean": "region_mean",
}
PATHS = ("uniform", "logarithmic")
OTHERS: tuple[dict[str, Any], ...] = (
    *({"method": name} for name in ("grad_cam", "layer_cam", "hires_cam", "grad_cam_plus_plus")),
    *({"method": name} for name in ("eigen_cam", "score_cam", "occlusion")),
    {"method": "rise", "options": {"n_masks": 300}},
    {"method": "lime", "options": {"n_samples": 300}},
    {"method": "smoothgrad", "options": {"nt_samples": STEPS}},
    {"method": "expected_gradients", "options": {"n_samples": STEPS}},
    *({"method": name} for name in ("saliency", "input_x_gradient", "gradient_weighted_attention")),
)
PROTOCOLS: tuple[dict[str, Any], ...] = (
    {"base": "vit-mean", "name": "mean", "steps": 4, "target": "label"},
    {"base": "vit-mean", "name": "blur", "operator": BASELINES["blur"], "steps": 4, "target": "label"},
    {"base": "vit-mean", "name": "black", "operator": BASELINES["black"], "steps": 4, "target": "label"},
)
FAITHFUL = tuple((metric, one["name"]) for one in PROTOCOLS for metric in ("srg", "deletion", "insertion"))
LOCATED = (("average_precision", ""), ("pointing_game", ""))
COLUMNS = (*((metric, protocol) for metric, protocol in FAITHFUL if metric == "srg"), *LOCATED)


def rows() -> list[dict[str, Any]]:
    """The integrated gradients, and the others."""
    variants = [
        {
            "name": f"ig_{baseline}" + ("" if path == "uniform" else "_log"),
            "method": "integrated_gradients",
            "options": {"baseline": operator, "path": path, "n_steps": STEPS},
        }
        for baseline, operator in BASELINES.items()
        for path in PATHS
    ]
    return [*variants, *({"name": one["method"], **one} for one in OTHERS)]


def run(model: Path, out: Path, images: int, seed: int) -> list[str]:
    """Benchmark a model; returns the methods that it offers too little for."""
    known = find_capabilities(load(f"local:{model}"), torch.zeros(1, 3, SIDE, SIDE)).methods
    forgeries = {
        "photos": "shipped",
        "count": images,
        "kinds": list(KINDS),
        "size": SIDE,
        "strength": STRENGTH,
    }
    config = {
        "name": f"without_attention_{model.name}",
        "model": f"local:{model}",
        "data": {"forgeries": forgeries | {"pristine": False, "seed": seed}},
        "methods": [row for row in rows() if row["method"] in known],
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
    return [row["name"] for row in rows() if row["method"] not in known]


def convergence(model: Path, images: int, steps: Sequence[int], seed: int) -> list[str]:
    """How far the sum of relevance is off the change of the score, by baseline, path and points."""
    classifier = load(f"local:{model}")
    pixels = to_input(make_pairs(read_photos([], held_out=True), images, seed)[0][:, 1])
    lines = [f"| baseline | path | {' | '.join(map(str, steps))} |", f"|---|---|{'---:|' * len(steps)}"]
    for baseline, operator in BASELINES.items():
        for path in PATHS:
            cells = []
            for count in steps:
                method = IntegratedGradients(classifier, count, operator, path=path)
                spread, delta = method.attribute(pixels, target=Margin(1, 0), return_convergence_delta=True)
                off = (delta / (spread.flatten(1).sum(1) - delta)).abs()
                cells.append(f"{off.median():.1%} ({off.max():.0%})")
            lines.append(f"| {baseline} | {path} | {' | '.join(cells)} |")
    return lines


def against_best(found: Run, columns: Sequence[tuple[str, str]]) -> list[str]:
    """The best mean of each column against every other attribution; Holm over all these comparisons."""
    asked = []
    for metric, protocol in columns:
        table = found.table(metric, protocol)
        best, *others = (name for name in table.order() if not table.rows[name]["control"])
        asked += [(f"{metric} {protocol}".strip(), metric, protocol, best, other) for other in others]
    tested = adjust([compare(found, *one) for _, *one in asked])
    return [*COMPARED, *(line(label, one) for (label, *_), one in zip(asked, tested, strict=True))]


def accuracy(folder: Path) -> str:
    """Of a model on held-out photographs, in a sentence."""
    found = json.loads((folder / "evaluation.json").read_text("utf-8"))
    trained = found["training"]
    cells = [
        f"{key} {one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        for key, one in found.items()
        if key in ("accuracy", "auc")
    ]
    return (
        f"{trained['parameters']:,} parameters, fitted from scratch in {trained['steps']} steps of "
        f"{trained['batch']} pairs. On {found['pairs']} held-out pairs of {found['photographs']} "
        f"photographs: "
        f"{', '.join(cells)}; fake found {found['fake_found']:.2f}, real passed {found['real_passed']:.2f}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument(
        "--steps", type=int, nargs="*", default=(4, 8, 16, 32), help="of the table of convergence"
    )
    parser.add_argument("--out", type=Path, default=Path("attention_results/without-attention"))
    parser.add_argument("--publish", type=Path, help="folder for what is worth keeping")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    lines = [
        "# Models without global attention: what was measured",
        "",
        "Written by `python benchmarks/without_attention.py`. Means with 95 % intervals. **Bold**: no",
        "attribution is significantly better (paired tests, Holm over all pairs); *italic*: controls.",
        f"`ig_…`: integrated gradients with {STEPS} points from the named baseline, `_log` along the",
        "logarithmic path.",
    ]
    options.out = options.out.absolute()
    runs: dict[str, Run] = {}
    for name in options.models:
        folder, out = options.out / name, options.out / f"{name}-run"
        refused = run(folder, out, options.images, options.seed)
        runs[name] = found = Run(out / "run")
        lines += ["", f"## {name}: {found.summary['images']} held-out forgeries", "", accuracy(folder)]
        lines += [f"It offers too little for: {', '.join(refused)}."] if refused else []
        lines += ["", *ranking(found, COLUMNS)]
        lines += ["", f"### {name}: the best of each column against the others", ""]
        lines += against_best(found, COLUMNS[:-1])
        lines += ["", f"### {name}: how far the sum is off, by points: median (worst) of 8 images", ""]
        lines += convergence(folder, 8, options.steps, options.seed)
    shared = set.intersection(*(set(one.table(*FAITHFUL[0]).rows) for one in runs.values()))
    for question, columns in (("faithfulness", FAITHFUL), ("localisation", LOCATED)):
        places = standing(runs, columns)
        places = {name: beaten for name, beaten in places.items() if name in shared}
        lines += ["", f"## Which row is beaten least in {question}", ""]
        lines += standing_text(places, len(columns) * len(runs))
    (options.out / "findings.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if options.publish:
        for part in (
            "findings.md",
            *(f"{name}-run/run/{file}" for name in runs for file in ("summary.md", "run.json")),
        ):
            copy(options.out / part, options.publish / part.replace("-run/run", ""), options.out)
        for name in runs:
            copy(
                options.out / name / "evaluation.json",
                options.publish / name / "evaluation.json",
                options.out,
            )


if __name__ == "__main__":
    main()
