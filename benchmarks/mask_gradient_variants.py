"""Variants of the integrated mask gradient: do they localise better, and what does it cost in faithfulness?

    python benchmarks/mask_gradient_variants.py

Forgeries with known masks (upsampling and noise, on the fly from the shipped photographs) and the shipped
detector; explained is the margin fake − real. Every other photograph, by name, serves to choose a variant,
the others to report on it: none of their figures was used to choose. Rule, written before this run and
after trials on photographs of the first half: of the changes that keep the mean SRG of the plain integrated
mask gradient under both protocols, the one with the highest average precision. SRG is LeRF area − MoRF area
in logits. Intervals are BCa bootstraps over photographs, p is Wilcoxon's over photographs, by Holm over the
metrics. Writes Markdown and JSON under reports/.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

import xai
from xai.attention import mask_patches
from xai.attr import IntegratedMaskGradient, create
from xai.core import Margin
from xai.data.forgeries import forged_samples
from xai.metrics import average_precision, evaluate, mass_accuracy, pointing_game
from xai.stats import adjust, analyse, compare_paired, to_json

TARGET = Margin(1, 0)
KINDS = ("upsampling", "noise")
PLAIN = "integrated_mask_gradient"
PROTOCOLS = {"SRG, vit-token": ("vit-token", 6), "SRG, vit-mean": ("vit-mean", 3)}
MAPS = {
    "pointing game": pointing_game,
    "mass accuracy": mass_accuracy,
    "average precision": average_precision,
}
METRICS = [*PROTOCOLS, *MAPS]
EACH = 8  # images per batch of maps


def smoothed(maps: Tensor) -> Tensor:
    """Every patch gives 1 : 2 : 1 of its relevance, in rows and in columns, to itself and its neighbours."""
    weights = torch.tensor([1.0, 2.0, 1.0], dtype=maps.dtype)
    kernel = (weights[:, None] * weights)[None, None]
    taken = F.conv2d(torch.ones_like(maps[:1, None]), kernel, padding=1)
    return F.conv2d(maps[:, None] / taken, kernel, padding=1)[:, 0]


def share(maps: Tensor) -> Tensor:
    return maps / maps.abs().sum((1, 2), keepdim=True)


def variants(heads: Tensor, rivals: dict[str, Tensor]) -> dict[str, Tensor]:
    """From the shares of layers and heads (B, layers, heads, rows, cols), one change at a time."""
    plain, layers, chefer = heads.sum((1, 2)), heads.sum(2), rivals["chefer"]
    positive = plain.clamp_min(0)
    return {
        PLAIN: plain,
        "clamped at the end": positive,
        "clamped per layer": layers.clamp_min(0).sum(1),
        "clamped per head": heads.clamp_min(0).sum((1, 2)),
        "smoothed 3 × 3": smoothed(plain),
        "last layer's share": layers[:, -1],
        "geometric mean with chefer": (positive * chefer).sqrt(),
        "times √chefer": plain * chefer.clamp_min(0).sqrt(),
        "times gradient-weighted attention": plain * rivals["gradient_weighted_attention"],
        "mean with chefer": share(plain) + share(chefer),
    }


def measure(model: xai.Classifier, pixels: Tensor, masks: Tensor, maps: dict[str, Tensor]) -> dict:
    """Metric → row → a number per image."""
    stacked = torch.stack(list(maps.values())).to(pixels.dtype)
    label = torch.ones(len(pixels), dtype=torch.long)
    found: dict[str, dict[str, np.ndarray]] = {}
    for metric, (base, steps) in PROTOCOLS.items():
        said = {"base": base, "name": f"{base}-{steps}", "steps": steps, "target": "label"}
        value = evaluate(model, ["srg"], pixels, stacked, label, said)["srg"].value
        found[metric] = dict(zip(maps, value.numpy(), strict=True))
    for metric, function in MAPS.items():
        found[metric] = {name: function(one, masks).numpy() for name, one in maps.items()}
    return found


def summarise(found: dict, groups: list[str]) -> dict:
    """Row → metric → mean and interval."""
    rows: dict[str, dict] = {}
    for metric, values in found.items():
        table = np.stack(list(values.values()), axis=1)
        for one in analyse(table, list(values), groups=groups, reference=None).methods:
            rows.setdefault(one.name, {})[metric] = {"mean": one.mean, "low": one.low, "high": one.high}
    return rows


def choose(rows: dict) -> str:
    faithful = [
        name for name in rows if all(rows[name][p]["mean"] >= rows[PLAIN][p]["mean"] for p in PROTOCOLS)
    ]
    return max(faithful, key=lambda name: rows[name]["average precision"]["mean"])


def completeness(model: xai.Classifier, pixels: Tensor, maps: Tensor) -> dict:
    """|sum − (y(x) − y(all masked))| / |y(x) − y(all masked)| over the images."""
    grid = create("mask_gradient", model)._grid(pixels)
    nothing = torch.zeros(1, grid.patches, dtype=torch.bool)
    with torch.no_grad():
        present = model(pixels)
        with mask_patches(model, nothing, grid):
            rise = (present - model(pixels)) @ torch.tensor([-1.0, 1.0])
    error = ((maps.sum((1, 2)) - rise) / rise).abs()
    return {"median": float(error.median()), "max": float(error.max())}


def in_batches(pixels: Tensor, explain) -> Tensor:
    return torch.cat([explain(batch) for batch in pixels.split(EACH)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=128, help="a multiple of the 16 photographs")
    parser.add_argument("--steps", type=int, default=16, help="points of the integral (of each layer's, too)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("reports"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    start = time.perf_counter()

    def say(what: str) -> None:
        print(f"{time.perf_counter() - start:6.0f} s  {what}", flush=True)

    model = xai.load("demo")
    samples = list(forged_samples(count=options.images, kinds=KINDS))
    pixels = torch.stack([model.preprocess(s.image) for s in samples])
    masks = torch.stack([torch.as_tensor(s.mask) for s in samples])
    groups = [str(s.group) for s in samples]
    chosen_on = sorted(set(groups))[::2]
    parts = {
        "choice": [i for i, g in enumerate(groups) if g in chosen_on],
        "report": [i for i, g in enumerate(groups) if g not in chosen_on],
    }
    rivals = {
        "chefer": create("chefer", model),
        "gradient_weighted_attention": create(
            "gradient_weighted_attention", model, layers="all_layers", clamp="heads"
        ),
        "legrad": create("legrad", model),
        "mask_gradient": create("mask_gradient", model),
    }
    found = {n: in_batches(pixels, lambda x, m=m: m.attribute_patches(x, TARGET)) for n, m in rivals.items()}
    raw = create("raw_attention", model)
    found["raw attention, last layer (control)"] = in_batches(pixels, raw.attribute_patches)
    say("maps of the others")
    plain = IntegratedMaskGradient(model, options.steps, internal_batch_size=32)
    heads = in_batches(pixels, lambda x: plain.attribute_layers(x, TARGET))
    tried = variants(heads, found)
    say("integrated mask gradient")

    def part(maps: dict[str, Tensor], indices: list[int]) -> dict:
        of_part = {name: one[indices] for name, one in maps.items()}
        scored = measure(model, pixels[indices], masks[indices], of_part)
        return {"scores": scored, "groups": [groups[i] for i in indices]}

    choice = part(tried, parts["choice"])
    choice["rows"] = summarise(choice["scores"], choice["groups"])
    winner = choose(choice["rows"])
    say(f"chosen: {winner}")

    control = "raw attention, last layer (control)"
    held_out = {**tried, **found}
    held_out |= {f"{name}, smoothed": smoothed(found[name]) for name in ("chefer", control)}
    complete = {
        "all_layers": completeness(model, pixels[parts["report"]], heads.sum((1, 2))[parts["report"]])
    }
    for over in ("layers_up", "layers_down"):
        method = IntegratedMaskGradient(model, options.steps, internal_batch_size=32, path_over=over)
        maps = in_batches(pixels[parts["report"]], lambda x, m=method: m.attribute_patches(x, TARGET))
        complete[over] = completeness(model, pixels[parts["report"]], maps)
        held_out[f"path_over {over}"] = torch.zeros_like(tried[PLAIN]).index_copy(
            0, torch.tensor(parts["report"]), maps
        )
        say(over)
    report = part(held_out, parts["report"])
    report["rows"] = summarise(report["scores"], report["groups"])
    against = {}
    for name in [n for n in held_out if n != PLAIN]:
        compared = [
            compare_paired(values[name], values[PLAIN], report["groups"], names=(name, PLAIN))
            for values in report["scores"].values()
        ]
        against[name] = {metric: to_json(one) for metric, one in zip(METRICS, adjust(compared), strict=True)}
    say("done")
    result = {
        "header": {
            "device": f"CPU {platform.machine()}",
            "threads": options.threads,
            "images": options.images,
            "photographs": len(set(groups)),
            "steps": options.steps,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "photographs": {
            "choice": chosen_on,
            "report": sorted(set(groups) - set(chosen_on)),
        },
        "chosen": winner,
        "choice": choice["rows"],
        "report": report["rows"],
        "against_plain": against,
        "completeness": complete,
    }
    options.out.mkdir(exist_ok=True)
    stem = options.out / "mask_gradient_variants"
    stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(result))
    print(markdown(result))


def markdown(result: dict) -> str:
    lines = ["# Variants of the integrated mask gradient", ""]
    lines += [
        "Written by `python benchmarks/mask_gradient_variants.py`; the raw figures are in the JSON that "
        "it writes beside it, which is not kept here. " + " ".join(__doc__.split("\n\n")[2].split()),
        "",
        ", ".join(f"{k} {v}" for k, v in result["header"].items()) + ".",
    ]
    count = {part: len(names) for part, names in result["photographs"].items()}
    lines += ["", f"## Choice, on {count['choice']} photographs", ""]
    lines += [f"Chosen by the rule: **{result['chosen']}**.", "", *table(result["choice"])]
    lines += ["", f"## Report, on the other {count['report']} photographs", "", *table(result["report"])]
    lines += ["", f"Difference from {PLAIN}, mean with its interval; * p < 0.05.", ""]
    lines += ["| row | " + " | ".join(METRICS) + " |", "|---|" + "---:|" * len(METRICS)]
    for name, metrics in result["against_plain"].items():
        cells = [
            f"{c['difference']:+.3f} ({c['low']:+.3f} … {c['high']:+.3f}){' *' if c['p'] < 0.05 else ''}"
            for c in (metrics[m] for m in METRICS)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "## Completeness of the paths, on the same photographs", ""]
    lines += ["Off y(x) − y(all patches masked), in % of it.", "", "| path_over | median | largest |"]
    lines += ["|---|---:|---:|"]
    lines += [
        f"| {k} | {100 * v['median']:.2f} | {100 * v['max']:.2f} |" for k, v in result["completeness"].items()
    ]
    return "\n".join(lines) + "\n"


def table(rows: dict) -> list[str]:
    lines = ["| row | " + " | ".join(METRICS) + " |", "|---|" + "---:|" * len(METRICS)]
    for name, metrics in rows.items():
        cells = [f"{c['mean']:.3f} ({c['low']:.3f} … {c['high']:.3f})" for c in (metrics[m] for m in METRICS)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
